"""Equinox: the weights of `eqx.nn.LSTMCell`.

weight_ih   [4H, D]   W_x transposed; the gates in the same order i, f, g, o
weight_hh   [4H, H]   W_h transposed
bias        [4H]      b; None with use_bias=False
"""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxlstm.cell import LSTMParams
from jaxlstm.interop.checks import checked, plain

if TYPE_CHECKING:
    import equinox


def from_equinox(cell: "equinox.nn.LSTMCell") -> LSTMParams:
    """The weights of a cell.

    Raises:
      ValueError: another kind of module, or a wrong shape.
    """
    import equinox

    if not isinstance(cell, equinox.nn.LSTMCell):
        raise ValueError(f"cell: expected an equinox.nn.LSTMCell, got {type(cell).__name__}")
    hidden = cell.hidden_size
    w_x = checked("weight_ih", cell.weight_ih, (4 * hidden, cell.input_size)).T
    w_h = checked("weight_hh", cell.weight_hh, (4 * hidden, hidden)).T
    b = jnp.zeros(4 * hidden, w_x.dtype) if cell.bias is None else checked("bias", cell.bias, (4 * hidden,))
    return LSTMParams(w_x, w_h, b)


def to_equinox(params: LSTMParams) -> "equinox.nn.LSTMCell":
    """A cell with these weights. It can be differentiated.

    Raises:
      ValueError: anything but LSTMParams.
    """
    params = plain("params", params)
    import equinox

    sizes = params.w_x.shape[0], params.w_h.shape[0]
    empty = equinox.filter_eval_shape(equinox.nn.LSTMCell, *sizes, key=jax.random.key(0))
    weights = params.w_x.T, params.w_h.T, params.b
    return equinox.tree_at(lambda cell: (cell.weight_ih, cell.weight_hh, cell.bias), empty, weights)
