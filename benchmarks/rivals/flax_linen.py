"""Flax linen: `nn.RNN(nn.OptimizedLSTMCell(H))`."""

import jax.numpy as jnp
from flax import linen as nn

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm import LSTMParams


def convert(params: LSTMParams) -> dict:
    """One kernel for each gate and source; the biases are those of the recurrent kernels."""
    cell = {}
    arrays = (jnp.split(leaf, 4, axis=-1) for leaf in params)
    for gate, w_x, w_h, b in zip("ifgo", *arrays, strict=True):
        cell[f"i{gate}"] = {"kernel": w_x}
        cell[f"h{gate}"] = {"kernel": w_h, "bias": b}
    return {"params": {"cell": cell}}


def prepare(problem: Problem, which: str) -> Program:
    """One pass, compiled."""
    layer = nn.RNN(nn.OptimizedLSTMCell(problem.params.w_h.shape[0]))

    def apply(weights, xs):
        return layer.apply(weights, xs)

    return compile_jax(Adapter(convert, apply), problem, which)
