"""Regularisation of recurrent layers, for every cell; what is random is drawn once, outside of the loop.

`draw_noise` draws masks that `scan_cell`, `bidirectional` and `stack` take as `noise`:

    inputs, recurrent       variational dropout (Gal & Ghahramani 2016): one mask for all steps of a sequence, on
                            the inputs and on h_{t-1} in the recurrent product
    zoneout_h, zoneout_c    zoneout (Krueger et al. 2017): a unit keeps its h, or all else of its state, from the
                            step before; at evaluation `mean_noise` takes the mean over masks instead

`weight_drop` (Merity, Keskar & Socher 2018) transforms the parameters: it drops recurrent connections.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import keystr, tree_flatten_with_path

from jaxlstm.cell import cell_dtype
from jaxlstm.cells.interface import Cell
from jaxlstm.checks import check_key, check_rates
from jaxlstm.layers import dropout_scale
from jaxlstm.noise import Noise
from jaxlstm.stack import BidirectionalParams


def draw_noise(
    key: Array,
    cell: Cell,
    params: Any,
    batch_shape: tuple[int, ...],
    steps: int,
    *,
    inputs: float = 0.0,
    recurrent: float = 0.0,
    zoneout_h: float = 0.0,
    zoneout_c: float = 0.0,
    time_major: bool = False,
) -> Any:
    """The masks of one layer; for two directions or a stack, a tuple with those of each.

    Args:
      key: a JAX random key.
      cell: the layer's.
      params: the layer's; where `inputs` is not 0 they must have a w_x [D, ...].
      batch_shape: of the sequences; each has masks of its own.
      steps: T.
      inputs: the rate at which inputs are dropped.
      recurrent: the rate at which units of h are dropped from the recurrent product.
      zoneout_h: the rate at which a unit keeps its h, to the nearest 2^-16.
      zoneout_c: the rate at which it keeps all else: c, and where the cell has them its normaliser and so on.
      time_major: for inputs [T, ..., D].

    Raises:
      ValueError: no random key, a rate outside [0, 1), or `zoneout_c` for a cell that has nothing but h.
    """
    rates = {"inputs": inputs, "recurrent": recurrent, "zoneout_h": zoneout_h, "zoneout_c": zoneout_c}
    check_rates(**rates)
    check_key(key)
    parts = _parts(params)
    if parts is not None:
        keys = jax.random.split(key, len(parts))
        return tuple(
            draw_noise(k, cell, part, batch_shape, steps, **rates, time_major=time_major)
            for k, part in zip(keys, parts, strict=True)
        )
    state, dtype = _state_like(cell, params, batch_shape, zoneout_c)
    key_x, key_h, key_keep = jax.random.split(key, 3)
    sizes = state.h.shape[-1], jax.tree.leaves(state)[-1].shape[-1]
    keep_h = keep_c = None
    if zoneout_h or zoneout_c:
        # Drawing is most of what zoneout costs: 16 bits each, from one draw of 32.
        bits = jax.random.bits(key_keep, _over_steps(batch_shape, steps, max(sizes), time_major), jnp.uint32)
        keep_h = (bits & 0xFFFF)[..., : sizes[0]] < round(zoneout_h * 2**16) if zoneout_h else None
        keep_c = (bits >> 16)[..., : sizes[1]] < round(zoneout_c * 2**16) if zoneout_c else None
    return Noise(
        x_scale=dropout_scale(key_x, inputs, (*batch_shape, params.w_x.shape[0]), dtype) if inputs else None,
        h_scale=dropout_scale(key_h, recurrent, state.h.shape, dtype) if recurrent else None,
        keep_h=keep_h,
        keep_c=keep_c,
    )


def mean_noise(
    cell: Cell,
    params: Any,
    batch_shape: tuple[int, ...],
    steps: int,
    *,
    zoneout_h: float = 0.0,
    zoneout_c: float = 0.0,
    time_major: bool = False,
) -> Any:
    """Zoneout at evaluation: every unit moves by its mean, rate * old + (1 - rate) * new. In the form of `draw_noise`.

    Raises:
      ValueError: a rate outside [0, 1), or `zoneout_c` for a cell that has nothing but h, or whose memory is more
        than c: no mean of a stabilised state is one.
    """
    rates = {"zoneout_h": zoneout_h, "zoneout_c": zoneout_c}
    check_rates(**rates)
    parts = _parts(params)
    if parts is not None:
        return tuple(mean_noise(cell, part, batch_shape, steps, **rates, time_major=time_major) for part in parts)
    state, dtype = _state_like(cell, params, batch_shape, zoneout_c)
    if zoneout_c and set(state._fields) - {"h", "c"}:
        raise ValueError(f"zoneout_c: expected 0 at evaluation for {type(state).__name__}, got {zoneout_c}")

    def keep(rate: float) -> Array | None:
        return jnp.full(_over_steps(batch_shape, steps, 1, time_major), rate, cell_dtype(dtype)) if rate else None

    return Noise(keep_h=keep(zoneout_h), keep_c=keep(zoneout_c))


def weight_drop(key: Array, rate: float, params: Any) -> Any:
    """The parameters, of any cell or layers of them, with entries of every w_h dropped at a rate.

    Raises:
      ValueError: a rate outside [0, 1).
    """

    structure: Any
    leaves, structure = tree_flatten_with_path(params)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        leaf * dropout_scale(leaf_key, rate, leaf.shape, leaf.dtype)
        if keystr(path[-1:], simple=True) == "w_h"
        else leaf
        for leaf_key, (path, leaf) in zip(keys, leaves, strict=True)
    )


def _state_like(cell: Cell, params: Any, batch_shape: tuple[int, ...], zoneout_c: float) -> tuple[Any, Any]:
    """The shapes of a state of the cell, and the dtype of its parameters."""
    dtype = jax.tree.leaves(params)[0].dtype
    state = jax.eval_shape(lambda params: cell.zero_state(params, batch_shape, dtype), params)
    if zoneout_c and len(jax.tree.leaves(state)) == 1:
        raise ValueError(f"zoneout_c: expected 0 for {type(state).__name__}, which has nothing but h, got {zoneout_c}")
    return state, dtype


def _parts(params: Any) -> tuple[Any, ...] | None:
    """The layers of a stack or the directions of a layer; None for the parameters of one cell."""
    return tuple(params) if type(params) in (tuple, list) or isinstance(params, BidirectionalParams) else None


def _over_steps(batch_shape: tuple[int, ...], steps: int, size: int, time_major: bool) -> tuple[int, ...]:
    return (steps, *batch_shape, size) if time_major else (*batch_shape, steps, size)
