"""jaxlstm itself, through the same door as its rivals."""

from functools import partial

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm import lstm


def prepare(problem: Problem, which: str, implementation: str | None = None) -> Program:
    """One pass of `lstm`, compiled."""

    def apply(params, xs, implementation):
        return lstm(params, xs, implementation=implementation)[1]

    adapter = Adapter(lambda params: params, partial(apply, implementation=implementation))
    return compile_jax(adapter, problem, which)
