"""The LSTM with layer normalisation.

Ba, Kiros & Hinton (2016), "Layer normalization", equations 20 to 22. LN(v) is v less its mean over the entries,
divided by their standard deviation; a gain and a bias of its own follow each of the three:

    z_t = gain_x * LN(x_t W_x) + gain_h * LN(h_{t-1} W_h) + b          b holds both biases
    i_t, f_t, o_t = sigma(z_i), sigma(z_f), sigma(z_o);  g_t = tanh(z_g)
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(gain_c * LN(c_t) + b_c)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxlstm.cell import LSTMState, gates, product
from jaxlstm.cells.interface import Cell, bias, draw_weights
from jaxlstm.cells.standard import zero_state
from jaxlstm.products import recurrent_product, total

EPSILON = 1e-6  # beside the variance, as in Flax


class LayerNormParams(NamedTuple):
    """The weights of one layer, all of one dtype."""

    w_x: Array  # [D, 4H]
    w_h: Array  # [H, 4H]
    b: Array  # [4H]
    gain_x: Array  # [4H]
    gain_h: Array  # [4H]
    gain_c: Array  # [H]
    b_c: Array  # [H]


def init(
    key: Array, input_size: int, hidden_size: int, *, forget_bias: float = 1.0, dtype: DTypeLike = jnp.float32
) -> LayerNormParams:
    """Fresh parameters, every gain 1.

    Raises:
      ValueError: no random key, a size below 1, or a dtype that is not floating.
    """
    w_x, w_h = draw_weights(key, input_size, hidden_size, 4 * hidden_size, dtype)
    b = bias(hidden_size, 0, forget_bias, 0, 0, dtype=dtype)
    # Arrays of their own, not one twice: what shares a buffer cannot be donated.
    gain_x, gain_h = jnp.ones(4 * hidden_size, dtype), jnp.ones(4 * hidden_size, dtype)
    return LayerNormParams(w_x, w_h, b, gain_x, gain_h, jnp.ones(hidden_size, dtype), bias(hidden_size, 0, dtype=dtype))


def normalised(v: Array, gain: Array) -> Array:
    """gain * LN(v), over the last axis."""
    v -= v.mean(axis=-1, keepdims=True)
    variance = jnp.mean(v * v, axis=-1, keepdims=True)
    return v * jax.lax.rsqrt(variance + EPSILON) * jnp.broadcast_to(gain, v.shape).astype(v.dtype)


def project(params: LayerNormParams, xs: Array) -> Array:
    """gain_x * LN(x W_x) + b, [..., 4H]."""
    return total(normalised(product(xs, params.w_x), params.gain_x), params.b)


def step(params: LayerNormParams, state: LSTMState, z: Array, h_scale: Array | None = None) -> tuple[LSTMState, Array]:
    """One step from the projected input."""
    i, f, g, o = gates(z + normalised(recurrent_product(state.h, params.w_h, h_scale), params.gain_h))
    c = f * state.c + i * g
    h = (o * jnp.tanh(total(normalised(c, params.gain_c), params.b_c))).astype(state.h.dtype)
    return LSTMState(h, c), h


LAYER_NORM = Cell(init, project, step, zero_state, LayerNormParams, ahead=False)
