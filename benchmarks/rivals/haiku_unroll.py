"""Haiku: `hk.dynamic_unroll` over `hk.LSTM`."""

import haiku as hk

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm.interop import to_haiku


def prepare(problem: Problem, which: str) -> Program:
    """One pass, compiled."""

    def unroll(xs):
        core = hk.LSTM(problem.params.w_h.shape[0])
        ys, _ = hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[0]), time_major=False)
        return ys

    transformed = hk.transform(unroll)

    def apply(weights, xs):
        return transformed.apply(weights, None, xs)  # it draws nothing at random

    return compile_jax(Adapter(to_haiku, apply), problem, which)
