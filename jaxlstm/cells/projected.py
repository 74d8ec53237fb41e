"""The LSTM whose hidden state is projected to fewer numbers.

Sak, Senior & Beaufays (2014), "Long short-term memory recurrent neural network architectures for large scale
acoustic modeling", the recurrent projection, as in PyTorch (`proj_size`):

    z_t = x_t W_x + h_{t-1} W_h + b          W_h [P, 4H]
    i_t, f_t, o_t = sigma(z_i), sigma(z_f), sigma(z_o);  g_t = tanh(z_g)
    c_t = f_t * c_{t-1} + i_t * g_t          [H]
    h_t = (o_t * tanh(c_t)) W_p              [P], which is also the output
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn.initializers import glorot_uniform
from jax.typing import DTypeLike

from jaxlstm.cell import LSTMState, cell_dtype, draw_weight, gates
from jaxlstm.cells.interface import Cell, bias, draw_weights
from jaxlstm.cells.standard import project
from jaxlstm.checks import check_key, check_sizes
from jaxlstm.products import recurrent_product


class ProjectedLSTMParams(NamedTuple):
    """An LSTM whose hidden state is projected to P numbers."""

    w_x: Array  # [D, 4H]
    w_h: Array  # [P, 4H]
    b: Array  # [4H]
    w_p: Array  # [H, P]


def init(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    projection_size: int | None = None,
    forget_bias: float = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> ProjectedLSTMParams:
    """Fresh parameters; P is `projection_size`, by default half of H.

    Raises:
      ValueError: no random key, a size below 1, or a dtype that is not floating.
    """
    if projection_size is None:
        projection_size = (hidden_size + 1) // 2
    check_key(key)
    check_sizes(input_size=input_size, hidden_size=hidden_size, projection_size=projection_size)
    key, key_p = jax.random.split(key)
    w_x, w_h = draw_weights(key, input_size, projection_size, 4 * hidden_size, dtype)
    w_p = draw_weight(glorot_uniform(), key_p, (hidden_size, projection_size), dtype)
    return ProjectedLSTMParams(w_x, w_h, bias(hidden_size, 0, forget_bias, 0, 0, dtype=dtype), w_p)


def step(
    params: ProjectedLSTMParams, state: LSTMState, z: Array, h_scale: Array | None = None
) -> tuple[LSTMState, Array]:
    """One step from the projected input [..., 4H]."""
    i, f, g, o = gates(recurrent_product(state.h, params.w_h, h_scale, (z, params.b)))
    c = f * state.c + i * g
    h = recurrent_product((o * jnp.tanh(c)).astype(state.h.dtype), params.w_p).astype(state.h.dtype)
    return LSTMState(h, c), h


def zero_state(params: ProjectedLSTMParams, batch_shape: tuple[int, ...], dtype: DTypeLike) -> LSTMState:
    """h [..., P] and c [..., H] of zeros."""
    hidden_size, projection_size = params.w_p.shape
    h = jnp.zeros((*batch_shape, projection_size), dtype)
    return LSTMState(h, jnp.zeros((*batch_shape, hidden_size), cell_dtype(dtype)))


PROJECTED = Cell(init, project, step, zero_state, ProjectedLSTMParams, ahead=False)
