"""The LSTM of `jaxlstm.cell`, with its equations and functions, as a `Cell`.

Hochreiter & Schmidhuber (1997), with the forget gate of Gers, Schmidhuber & Cummins (2000). As a cell
it can be put where any other stands; over whole sequences `scan_cell` runs it by `lstm` where it can.
"""

from jax import Array
from jax.typing import DTypeLike

from jaxlstm.cell import LSTMParams, LSTMState, advance, gates, init_lstm, product
from jaxlstm.cell import zero_state as zeros
from jaxlstm.cells.interface import Cell
from jaxlstm.products import recurrent_product


def project(params: LSTMParams, xs: Array) -> Array:
    """x W_x, [..., 4H]."""
    return product(xs, params.w_x)


def step(params: LSTMParams, state: LSTMState, z: Array, h_scale: Array | None = None) -> tuple[LSTMState, Array]:
    """One step from the projected input."""
    state = advance(gates(recurrent_product(state.h, params.w_h, h_scale, (z, params.b))), state)
    return state, state.h


def zero_state(params: LSTMParams, batch_shape: tuple[int, ...], dtype: DTypeLike) -> LSTMState:
    """h and c of zeros."""
    return zeros(batch_shape, params.w_h.shape[0], dtype)


LSTM = Cell(init_lstm, project, step, zero_state, LSTMParams, ahead=False)
