"""The LSTM that forgets as much as it writes: input and forget gate coupled.

Greff, Srivastava, Koutnik, Steunebrink & Schmidhuber (2017), "LSTM: a search space odyssey", CIFG:

    z_t = x_t W_x + h_{t-1} W_h + b          three blocks: z_i, z_g, z_o
    i_t = sigma(z_i)
    f_t = 1 - i_t
    g_t = tanh(z_g)
    o_t = sigma(z_o)
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxlstm.cell import Gates, LSTMParams, LSTMState, advance
from jaxlstm.cells.interface import Cell, bias, draw_weights
from jaxlstm.cells.standard import project, zero_state
from jaxlstm.products import recurrent_product


def init(
    key: Array, input_size: int, hidden_size: int, *, forget_bias: float = 1.0, dtype: DTypeLike = jnp.float32
) -> LSTMParams:
    """Fresh parameters, w_x [D, 3H], w_h [H, 3H] and b [3H]; b_i is -forget_bias.

    Raises:
      ValueError: no random key, a size below 1, or a dtype that is not floating.
    """
    w_x, w_h = draw_weights(key, input_size, hidden_size, 3 * hidden_size, dtype)
    return LSTMParams(w_x, w_h, bias(hidden_size, -forget_bias, 0, 0, dtype=dtype))


def step(params: LSTMParams, state: LSTMState, z: Array, h_scale: Array | None = None) -> tuple[LSTMState, Array]:
    """One step from the projected input [..., 3H]."""
    z_i, z_g, z_o = jnp.split(recurrent_product(state.h, params.w_h, h_scale, (z, params.b)), 3, axis=-1)
    i = jax.nn.sigmoid(z_i)
    state = advance(Gates(i, 1 - i, jnp.tanh(z_g), jax.nn.sigmoid(z_o)), state)
    return state, state.h


COUPLED = Cell(init, project, step, zero_state, LSTMParams)
