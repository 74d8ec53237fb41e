"""Equinox: `eqx.nn.LSTMCell` in a `jax.lax.scan`, mapped over the batch."""

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm import LSTMParams


def prepare(problem: Problem, which: str) -> Program:
    """One pass, compiled."""
    inputs, hidden = problem.params.w_x.shape[0], problem.params.w_h.shape[0]
    empty = eqx.nn.LSTMCell(inputs, hidden, key=jax.random.key(0))

    def convert(params: LSTMParams) -> eqx.nn.LSTMCell:
        weights = (params.w_x.T, params.w_h.T, params.b)
        return eqx.tree_at(lambda cell: (cell.weight_ih, cell.weight_hh, cell.bias), empty, weights)

    def apply(cell, xs):
        def unroll(xs):
            def step(state, x):
                h, c = cell(x, state)
                return (h, c), h

            zeros = jnp.zeros(hidden, xs.dtype)
            return jax.lax.scan(step, (zeros, zeros), xs)[1]

        return jax.vmap(unroll)(xs)

    return compile_jax(Adapter(convert, apply), problem, which)
