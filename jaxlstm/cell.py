"""The LSTM cell: one step, written from its equations.

Hochreiter & Schmidhuber (1997), with the forget gate of Gers, Schmidhuber & Cummins (2000).
From the input x_t and the previous state (h_{t-1}, c_{t-1}), where sigma(z) = 1 / (1 + exp(-z)):

    z_t = x_t W_x + h_{t-1} W_h + b          four blocks: z_i, z_f, z_g, z_o
    i_t = sigma(z_i)                         input gate
    f_t = sigma(z_f)                         forget gate
    g_t = tanh(z_g)                          candidate
    o_t = sigma(z_o)                         output gate
    c_t = f_t * c_{t-1} + i_t * g_t          cell state
    h_t = o_t * tanh(c_t)                    hidden state, which is also the output y_t

D is the input size, H the hidden size. The gate order i, f, g, o is that of Keras, PyTorch and cuDNN.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn.initializers import Initializer, glorot_uniform, orthogonal
from jax.typing import DTypeLike

from jaxlstm.checks import check_input, check_key, check_params, check_sizes, check_state, check_weights, dtype_of

Activation = Callable[[Array], Array]


class LSTMParams(NamedTuple):
    """The weights of one layer, all of one dtype."""

    w_x: Array  # [D, 4H]
    w_h: Array  # [H, 4H]
    b: Array  # [4H]


class LSTMState(NamedTuple):
    """What a step hands to the next."""

    h: Array  # [..., H]
    c: Array  # [..., H]; float32 where h is in half precision


class Gates(NamedTuple):
    """Input gate, forget gate, candidate and output gate of one step."""

    i: Array  # [..., H]
    f: Array  # [..., H]
    g: Array  # [..., H]
    o: Array  # [..., H]


def gates(z: Array, activation: Activation = jnp.tanh) -> Gates:
    """z [..., 4H] -> the gates, [..., H] each."""
    # sigma(z) = (1 + tanh(z / 2)) / 2. One tanh over the whole block, before it is split into gates,
    # takes half the time of four activations after the split (measured on a CPU). A gate comes out as a multiple of
    # 2^-25 in float32: what is below that, at z < -17, is 0.
    halve = np.repeat([0.5, 0.5, 1.0, 0.5], z.shape[-1] // 4).astype(z.dtype)
    i, f, g, o = jnp.split(jnp.tanh(z * jnp.broadcast_to(halve, z.shape)), 4, axis=-1)
    if activation is not jnp.tanh:
        g = activation(jnp.split(z, 4, axis=-1)[2])
    return Gates((1 + i) / 2, (1 + f) / 2, g, (1 + o) / 2)


def advance(gates: Gates, state: LSTMState, activation: Activation = jnp.tanh) -> LSTMState:
    """The next state, from the gates and the previous state."""
    c = gates.f * state.c + gates.i * gates.g
    h = gates.o * activation(c)
    return LSTMState(h.astype(state.h.dtype), c)


def preactivations(params: LSTMParams, state: LSTMState, x: Array) -> Array:
    """z [..., 4H], from the input x [..., D] and the previous state."""
    z = product(x, params.w_x) + product(state.h, params.w_h)
    return z + jnp.broadcast_to(params.b.astype(z.dtype), z.shape)


def lstm_cell(
    params: LSTMParams, state: LSTMState, x: Array, *, activation: Activation = jnp.tanh
) -> tuple[LSTMState, Array]:
    """One step: x [..., D] -> the next state and the output y [..., H].

    It has the form that `jax.lax.scan` expects: `scan(partial(lstm_cell, params), state, xs)`.

    Raises:
      ValueError: an argument that does not fit, by name, with what was expected and what came.
    """
    _check_step(params, state, x)
    state = advance(gates(preactivations(params, state, x), activation), state, activation)
    return state, state.h


def product(x: Array, w: Array) -> Array:
    """x @ w, accumulated and returned in the dtype of the cell state."""
    return jnp.matmul(x, w, preferred_element_type=cell_dtype(x.dtype))


def cell_dtype(dtype: DTypeLike) -> jnp.dtype:
    """The dtype of gates and cell state beside a hidden state of `dtype`: at least float32."""
    return jnp.dtype(jnp.float64 if jax.dtypes.canonicalize_dtype(dtype) == jnp.float64 else jnp.float32)


def zero_state(batch_shape: tuple[int, ...], hidden_size: int, dtype: DTypeLike = jnp.float32) -> LSTMState:
    """h and c of zeros, `[*batch_shape, H]`; `()` for a single sequence.

    Raises:
      ValueError: a number for `batch_shape`.
    """
    if not isinstance(batch_shape, tuple | list):
        raise ValueError(f"batch_shape: expected a tuple such as (32,), got {batch_shape!r}")
    shape = (*batch_shape, hidden_size)
    return LSTMState(jnp.zeros(shape, dtype), jnp.zeros(shape, cell_dtype(dtype)))


def state_like(shape: tuple[int, ...], dtype: DTypeLike) -> LSTMState:
    """The shapes, `[..., H]`, and dtypes of a state beside inputs of `dtype`, without values."""
    return LSTMState._make(jax.ShapeDtypeStruct(shape, each) for each in (dtype, cell_dtype(dtype)))


def init_lstm(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    forget_bias: float = 1.0,
    chrono: int | None = None,
    dtype: DTypeLike = jnp.float32,
) -> LSTMParams:
    """Fresh parameters: w_x Glorot uniform, w_h orthogonal, b zero but for the forget gate.

    Args:
      key: a JAX random key.
      input_size: D, at least 1.
      hidden_size: H, at least 1.
      forget_bias: b_f; 1 lets a new network remember (Gers et al. 2000; Jozefowicz et al. 2015).
      chrono: L > 2 draws b_f = log U(1, L - 1) and b_i = -b_f instead, for dependencies of up to L
        steps (Tallec & Ollivier 2018, equation 16).
      dtype: of every parameter.

    Raises:
      ValueError: no random key, a size below 1, a dtype that is not floating, or `chrono` of 2 or less.
    """
    check_key(key)
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    if chrono is not None and chrono <= 2:
        raise ValueError(f"chrono: expected a number of steps above 2, got {chrono}")
    key_x, key_h, key_b = jax.random.split(key, 3)
    w_x = draw_weight(glorot_uniform(), key_x, (input_size, 4 * hidden_size), dtype)
    w_h = draw_weight(orthogonal(), key_h, (hidden_size, 4 * hidden_size), dtype)
    zeros = jnp.zeros(hidden_size, cell_dtype(dtype))
    if chrono is None:
        b_i, b_f = zeros, zeros + forget_bias
    else:
        b_f = jnp.log(jax.random.uniform(key_b, (hidden_size,), zeros.dtype, 1, chrono - 1))
        b_i = -b_f
    return LSTMParams(w_x, w_h, jnp.concatenate([b_i, b_f, zeros, zeros]).astype(dtype))


def draw_weight(initializer: Initializer, key: Array, shape: tuple[int, int], dtype: DTypeLike) -> Array:
    """A fresh weight, drawn in at least float32: the QR decomposition behind `orthogonal` knows no bfloat16.

    Raises:
      ValueError: a dtype that is not floating.
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype: expected a floating one such as float32, got {jnp.dtype(dtype)}")
    return initializer(key, shape, cell_dtype(dtype)).astype(dtype)


def _check_step(params: LSTMParams, state: LSTMState, x: Array) -> None:
    check_weights(params, LSTMParams)
    check_input(x)
    check_params(params, x, "x")
    check_state(state, state_like((*x.shape[:-1], params.w_h.shape[0]), dtype_of(x)), dtype_of(x))
