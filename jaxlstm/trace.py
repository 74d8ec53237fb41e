"""Seeing inside: every gate and state of an LSTM over time."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlstm.cell import Activation, LSTMParams, LSTMState, advance, gates, preactivations, zero_state


class Trace(NamedTuple):
    """What each step computed."""

    i: Array  # [..., T, H] input gate
    f: Array  # [..., T, H] forget gate
    g: Array  # [..., T, H] candidate
    o: Array  # [..., T, H] output gate
    c: Array  # [..., T, H] cell state
    h: Array  # [..., T, H] hidden state


@partial(jax.jit, static_argnames="activation")
def trace(params: LSTMParams, xs: Array, state: LSTMState | None = None, *, activation: Activation = jnp.tanh) -> Trace:
    """Runs xs [..., T, D] through the cell and keeps everything; for looking at, not for training."""
    if state is None:
        state = zero_state(xs.shape[:-2], params.w_h.shape[0], xs.dtype)

    def step(state: LSTMState, x: Array):
        gate = gates(preactivations(params, state, x), activation)
        state = advance(gate, state, activation)
        return state, Trace(*gate, c=state.c, h=state.h)

    _, steps = jax.lax.scan(step, state, jnp.moveaxis(xs, -2, 0))
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -2), steps)
