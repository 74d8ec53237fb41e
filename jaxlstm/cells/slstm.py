"""The sLSTM: an exponential input gate, with a normaliser that divides it out and a stabiliser against overflow.

Beck, Poeppel, Spanring, Auer, Prudnikova, Kopp, Klambauer, Brandstetter & Hochreiter (2024), "xLSTM: extended long
short-term memory", equations 8 to 17. The recurrent product is blockwise: the H units are in heads of H / heads
units each, and W_h joins those of one head alone.

    z_t = x_t W_x + h_{t-1} W_h + b          four blocks: z_i, z_f, z_g, z_o
    f_t = sigma(z_f);  o_t = sigma(z_o);  g_t = tanh(z_g)
    m_t = max(log f_t + m_{t-1}, z_i)        stabiliser
    i'_t = exp(z_i - m_t)                    input gate exp(z_i), stabilised
    f'_t = exp(log f_t + m_{t-1} - m_t)      forget gate, stabilised
    c_t = f'_t * c_{t-1} + i'_t * g_t        cell state
    n_t = f'_t * n_{t-1} + i'_t              normaliser, at least 1 after the first step
    h_t = o_t * c_t / n_t

c_t and n_t are held divided by exp(m_t), which h_t does not depend on. Before the first step m is minus
infinity: nothing has been written.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn.initializers import glorot_uniform, orthogonal
from jax.typing import DTypeLike

from jaxlstm.cell import LSTMParams, cell_dtype, draw_weight
from jaxlstm.cells.interface import Cell, bias
from jaxlstm.cells.standard import project
from jaxlstm.checks import check_key, check_sizes
from jaxlstm.products import recurrent_product, total


class SLSTMState(NamedTuple):
    """What a step hands to the next."""

    h: Array  # [..., H]
    c: Array  # [..., H]; this and all below float32 where h is in half precision
    n: Array  # [..., H]
    m: Array  # [..., H]


def init(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    heads: int = 1,
    forget_bias: float = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> LSTMParams:
    """Fresh parameters, w_x [D, 4H], w_h [heads, H / heads, 4 H / heads] and b [4H].

    Raises:
      ValueError: no random key, a size below 1, a dtype that is not floating, or heads that do not divide H.
    """
    check_key(key)
    check_sizes(input_size=input_size, hidden_size=hidden_size, heads=heads)
    if hidden_size % heads:
        raise ValueError(f"heads: expected a divisor of hidden_size {hidden_size}, got {heads}")
    units = hidden_size // heads
    key_x, *keys = jax.random.split(key, heads + 1)
    w_x = draw_weight(glorot_uniform(), key_x, (input_size, 4 * hidden_size), dtype)
    w_h = jnp.stack([draw_weight(orthogonal(), key_h, (units, 4 * units), dtype) for key_h in keys])
    return LSTMParams(w_x, w_h, bias(hidden_size, 0, forget_bias, 0, 0, dtype=dtype))


def by_gate(v: Array, heads: int) -> Array:
    """The blockwise product, [..., heads, 4, H / heads] in one axis -> [..., 4, H], in one axis too."""
    shape = v.shape
    v = v.reshape(*shape[:-1], heads, 4, shape[-1] // (4 * heads))
    return jnp.swapaxes(v, -3, -2).reshape(shape)


# Both derivatives keep what the step computes in any case, or one array [..., H] more, and no part of z. With those
# that JAX makes all of z is kept, and more: 16 arrays [T, B, H] for the backward pass of a sequence instead of 8.


@jax.custom_jvp
def log_sigmoid(z: Array) -> Array:
    """log sigma(z)."""
    return jax.nn.log_sigmoid(z)


log_sigmoid.defjvps(lambda d_z, _, z: d_z * jax.nn.sigmoid(-z))


@jax.custom_jvp
def stabilised(log_f: Array, log_i: Array) -> tuple[Array, Array, Array]:
    """m_t, f'_t and i'_t from log f_t + m_{t-1} and z_i."""
    m = jnp.maximum(log_f, log_i)
    return m, jnp.exp(log_f - m), jnp.exp(log_i - m)


@stabilised.defjvp
def _stabilised_jvp(primals, tangents):
    m, f, i = stabilised(*primals)
    d_log_f, d_log_i = tangents
    d_m = jnp.where(f >= i, d_log_f, d_log_i)  # the larger of them is m
    return (m, f, i), (d_m, f * (d_log_f - d_m), i * (d_log_i - d_m))


def step(params: LSTMParams, state: SLSTMState, z: Array, h_scale: Array | None = None) -> tuple[SLSTMState, Array]:
    """One step from the projected input [..., 4H]."""
    heads, known = params.w_h.shape[0], (z, params.b)
    if heads == 1:
        z = recurrent_product(state.h, params.w_h, h_scale, known)
    else:
        z = total(by_gate(recurrent_product(state.h, params.w_h, h_scale), heads), *known)
    z_i, z_f, z_g, z_o = jnp.split(z, 4, axis=-1)
    m, f, i = stabilised(log_sigmoid(z_f) + state.m, z_i)
    c = f * state.c + i * jnp.tanh(z_g)
    n = f * state.n + i
    h = (jax.nn.sigmoid(z_o) * c / n).astype(state.h.dtype)
    return SLSTMState(h, c, n, m), h


def zero_state(params: LSTMParams, batch_shape: tuple[int, ...], dtype: DTypeLike) -> SLSTMState:
    """h, c and n of zeros, m of minus infinity.

    Raises:
      ValueError: weights without an axis of heads, an LSTM's for instance.
    """
    if params.w_h.ndim != 3:
        raise ValueError(f"params.w_h: expected shape [heads, H / heads, 4H / heads], got {list(params.w_h.shape)}")
    shape = (*batch_shape, params.b.size // 4)
    wide = cell_dtype(dtype)
    c, n, m = jnp.zeros(shape, wide), jnp.zeros(shape, wide), jnp.full(shape, -jnp.inf, wide)
    return SLSTMState(jnp.zeros(shape, dtype), c, n, m)


SLSTM = Cell(init, project, step, zero_state, LSTMParams, ahead=False)
