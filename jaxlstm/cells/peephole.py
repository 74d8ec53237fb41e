"""The LSTM whose gates see the cell state.

Gers & Schmidhuber (2000), "Recurrent nets that time and count". With p_i, p_f and p_o [H] for the peepholes,
which act unit by unit:

    z_t = x_t W_x + h_{t-1} W_h + b
    i_t = sigma(z_i + p_i * c_{t-1})
    f_t = sigma(z_f + p_f * c_{t-1})
    g_t = tanh(z_g)
    c_t = f_t * c_{t-1} + i_t * g_t
    o_t = sigma(z_o + p_o * c_t)             the cell state of this step
    h_t = o_t * tanh(c_t)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxlstm.cell import LSTMState
from jaxlstm.cells.interface import Cell, bias, draw_weights
from jaxlstm.cells.standard import project, zero_state
from jaxlstm.products import recurrent_product


class PeepholeParams(NamedTuple):
    """The weights of one layer, all of one dtype."""

    w_x: Array  # [D, 4H]
    w_h: Array  # [H, 4H]
    b: Array  # [4H]
    p: Array  # [3H], p_i, p_f and p_o


def init(
    key: Array, input_size: int, hidden_size: int, *, forget_bias: float = 1.0, dtype: DTypeLike = jnp.float32
) -> PeepholeParams:
    """Fresh parameters, without peepholes at first: p zero.

    Raises:
      ValueError: no random key, a size below 1, or a dtype that is not floating.
    """
    w_x, w_h = draw_weights(key, input_size, hidden_size, 4 * hidden_size, dtype)
    b = bias(hidden_size, 0, forget_bias, 0, 0, dtype=dtype)
    return PeepholeParams(w_x, w_h, b, jnp.zeros(3 * hidden_size, dtype))


def step(params: PeepholeParams, state: LSTMState, z: Array, h_scale: Array | None = None) -> tuple[LSTMState, Array]:
    """One step from the projected input [..., 4H]."""
    z_i, z_f, z_g, z_o = jnp.split(recurrent_product(state.h, params.w_h, h_scale, (z, params.b)), 4, axis=-1)
    p_i, p_f, p_o = (jnp.broadcast_to(p, state.c.shape) for p in jnp.split(params.p.astype(state.c.dtype), 3))
    i = jax.nn.sigmoid(z_i + p_i * state.c)
    f = jax.nn.sigmoid(z_f + p_f * state.c)
    c = f * state.c + i * jnp.tanh(z_g)
    o = jax.nn.sigmoid(z_o + p_o * c)
    h = (o * jnp.tanh(c)).astype(state.h.dtype)
    return LSTMState(h, c), h


PEEPHOLE = Cell(init, project, step, zero_state, PeepholeParams)
