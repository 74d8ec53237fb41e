"""Seeing inside: every gate and state of an LSTM over time, and the states of any cell."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlstm.cell import Activation, LSTMParams, LSTMState, advance, gates, preactivations, state_like, zero_state
from jaxlstm.cells.interface import Cell
from jaxlstm.checks import check_inputs, check_kind, check_params, check_state, check_weights
from jaxlstm.layout import flat_rows, flat_steps, layout_of, outputs_in_place
from jaxlstm.scan import project_steps


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
    """Runs xs [..., T, D] through the cell and keeps everything; for looking at, not for training.

    Raises:
      ValueError: names the argument, what was expected and what came.
    """
    check_inputs(xs)
    check_weights(params, LSTMParams)
    check_params(params, xs)
    shape = (*xs.shape[:-2], params.w_h.shape[0])
    if state is None:
        state = zero_state(shape[:-1], shape[-1], xs.dtype)
    else:
        check_state(state, state_like(shape, xs.dtype), xs.dtype)

    def step(state: LSTMState, x: Array):
        gate = gates(preactivations(params, state, x), activation)
        state = advance(gate, state, activation)
        return state, Trace(*gate, c=state.c, h=state.h)

    _, steps = jax.lax.scan(step, state, jnp.moveaxis(xs, -2, 0))
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -2), steps)


@partial(jax.jit, static_argnums=0)
def states(cell: Cell, params: Any, xs: Array, state: Any = None) -> Any:
    """Runs xs [..., T, D] through a cell and keeps its state after every step: its leaves [..., T, N].

    Raises:
      ValueError: names the argument, what was expected and what came.
    """
    check_inputs(xs)
    check_kind(params, cell.params_type)
    check_params(params, xs)
    layout = layout_of(xs, time_major=False)
    zero = cell.zero_state(params, layout.batch_shape, xs.dtype)
    if state is None:
        state = zero
    else:
        check_state(state, zero, xs.dtype)

    def step(state: Any, z: Any):
        state, _ = cell.step(params, state, z)
        return state, state

    zs = project_steps(cell, params, flat_steps(layout, xs))
    _, steps = jax.lax.scan(step, flat_rows(layout, state), zs)
    return jax.tree.map(lambda leaf: outputs_in_place(layout, leaf, None), steps)
