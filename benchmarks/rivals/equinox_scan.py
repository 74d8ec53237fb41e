"""Equinox: `eqx.nn.LSTMCell` in a `jax.lax.scan`, mapped over the batch."""

import jax
import jax.numpy as jnp

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm.interop import to_equinox


def prepare(problem: Problem, which: str) -> Program:
    """One pass, compiled."""
    hidden = problem.params.w_h.shape[0]

    def apply(cell, xs):
        def unroll(xs):
            def step(state, x):
                h, c = cell(x, state)
                return (h, c), h

            zeros = jnp.zeros(hidden, xs.dtype)
            return jax.lax.scan(step, (zeros, zeros), xs)[1]

        return jax.vmap(unroll)(xs)

    return compile_jax(Adapter(to_equinox, apply), problem, which)
