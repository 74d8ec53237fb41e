"""The gated recurrent unit.

Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder", with the reset gate behind the
recurrent product, as in cuDNN, PyTorch, Keras (`reset_after`) and Flax:

    z_t = x_t W_x + b                        three blocks: z_r, z_u, z_n
    v_t = h_{t-1} W_h                        three blocks: v_r, v_u, v_n
    r_t = sigma(z_r + v_r)                   reset gate
    u_t = sigma(z_u + v_u)                   update gate
    n_t = tanh(z_n + r_t * (v_n + b_n))      candidate; its recurrent bias is inside
    h_t = (1 - u_t) * n_t + u_t * h_{t-1}    which is also the output
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxlstm.cell import product
from jaxlstm.cells.interface import Cell, bias, draw_weights
from jaxlstm.products import kept, recurrent_product, total


class GRUParams(NamedTuple):
    """The weights of one layer, all of one dtype."""

    w_x: Array  # [D, 3H]
    w_h: Array  # [H, 3H]
    b: Array  # [3H]
    b_n: Array  # [H]


class GRUState(NamedTuple):
    """What a step hands to the next."""

    h: Array  # [..., H]


def init(key: Array, input_size: int, hidden_size: int, *, dtype: DTypeLike = jnp.float32) -> GRUParams:
    """Fresh parameters, the biases zero.

    Raises:
      ValueError: no random key, a size below 1, or a dtype that is not floating.
    """
    w_x, w_h = draw_weights(key, input_size, hidden_size, 3 * hidden_size, dtype)
    return GRUParams(w_x, w_h, bias(hidden_size, 0, 0, 0, dtype=dtype), bias(hidden_size, 0, dtype=dtype))


def project(params: GRUParams, xs: Array) -> Array:
    """x W_x + b, [..., 3H]."""
    return total(product(xs, params.w_x), params.b)


def step(params: GRUParams, state: GRUState, z: Array, h_scale: Array | None = None) -> tuple[GRUState, Array]:
    """One step from the projected input [..., 3H]."""
    z_r, z_u, z_n = jnp.split(z, 3, axis=-1)
    v_r, v_u, v_n = jnp.split(recurrent_product(state.h, params.w_h, h_scale), 3, axis=-1)
    r, u = jax.nn.sigmoid(z_r + v_r), jax.nn.sigmoid(z_u + v_u)
    n = jnp.tanh(z_n + r * total(kept(v_n), params.b_n))
    h = ((1 - u) * n + u * state.h.astype(u.dtype)).astype(state.h.dtype)
    return GRUState(h), h


def zero_state(params: GRUParams, batch_shape: tuple[int, ...], dtype: DTypeLike) -> GRUState:
    """An h of zeros."""
    return GRUState(jnp.zeros((*batch_shape, params.w_h.shape[0]), dtype))


GRU = Cell(init, project, step, zero_state, GRUParams)
