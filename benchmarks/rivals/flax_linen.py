"""Flax linen: `nn.RNN(nn.OptimizedLSTMCell(H))`."""

from flax import linen as nn

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm import LSTMParams
from jaxlstm.interop import to_flax


def convert(params: LSTMParams) -> dict:
    """The variables of an RNN around the cell."""
    return {"params": {"cell": to_flax(params)}}


def prepare(problem: Problem, which: str) -> Program:
    """One pass, compiled."""
    layer = nn.RNN(nn.OptimizedLSTMCell(problem.params.w_h.shape[0]))

    def apply(weights, xs):
        return layer.apply(weights, xs)

    return compile_jax(Adapter(convert, apply), problem, which)
