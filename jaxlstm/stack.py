"""Layers of recurrent cells: stacks and two directions, as plain functions over parameter pytrees.

A layer's parameters are those of its cell, or `BidirectionalParams` of two; a stack is a tuple with one entry for
each layer, the lowest first. The keyword arguments that these functions do not know go to `scan_cell`: lengths,
mask, resets, time_major, checkpoint_every and unroll.
"""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxlstm.cells.interface import Cell
from jaxlstm.checks import check_rates
from jaxlstm.layers import dropout_scale
from jaxlstm.scan import scan_cell


class BidirectionalParams(NamedTuple):
    """The weights of two cells over one sequence; where outputs are concatenated, the forward ones come first."""

    forward: Any
    backward: Any


class BidirectionalState(NamedTuple):
    """The state of each direction after the last step that it walked."""

    forward: Any
    backward: Any


MERGES: dict[str | None, Callable[[Array, Array], Any]] = {  # what becomes of the outputs of two directions
    "concat": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": operator.add,
    "mean": lambda forward, backward: (forward + backward) / 2,
    "product": operator.mul,
    None: lambda forward, backward: (forward, backward),
}


def init_stack(
    key: Array,
    cell: Cell,
    input_size: int,
    hidden_sizes: Sequence[int],
    *,
    bidirectional: bool = False,
    merge: str | None = "concat",
    dtype: DTypeLike = jnp.float32,
    **options: Any,
) -> tuple[Any, ...]:
    """Fresh parameters of a layer for each hidden size, the lowest first.

    Args:
      key: a JAX random key.
      cell: of every layer.
      input_size: D of the lowest layer; each other one reads the outputs of that below.
      hidden_sizes: H of each layer.
      bidirectional: two directions in each layer.
      merge: how their outputs will be merged.
      dtype: of every parameter.
      **options: for `cell.init`.

    Raises:
      ValueError: no layers, hidden sizes that are no sequence, a size below 1, or a merge that there is not.
    """
    if not isinstance(hidden_sizes, Sequence):
        raise ValueError(f"hidden_sizes: expected a sequence, one for each layer, got {hidden_sizes}")
    if not hidden_sizes:
        raise ValueError("hidden_sizes: expected at least one, got none")
    _check_merge(merge, len(hidden_sizes))
    layers: list[Any] = []
    for layer_key, hidden_size in zip(jax.random.split(key, len(hidden_sizes)), hidden_sizes, strict=True):
        init = partial(cell.init, input_size=input_size, hidden_size=hidden_size, dtype=dtype, **options)
        if bidirectional:
            layers.append(BidirectionalParams(*map(init, jax.random.split(layer_key))))
        else:
            layers.append(init(layer_key))
        input_size = _output_size(partial(layer, cell, merge=merge), layers[-1], input_size, dtype)
    return tuple(layers)


def stack(
    cell: Cell,
    params: tuple[Any, ...],
    xs: Array,
    state: tuple[Any, ...] | None = None,
    *,
    dropout: float = 0.0,
    key: Array | None = None,
    noise: Sequence[Any] | None = None,
    merge: str | None = "concat",
    **options: Any,
) -> tuple[tuple[Any, ...], Any]:
    """Runs xs through every layer, each reading the outputs of the one below.

    Args:
      cell: of every layer.
      params: as `init_stack` makes them.
      xs: [..., T, D].
      state: of each layer before the first step; `cell.zero_state` by default.
      dropout: the rate at which outputs are dropped between layers, each step by itself; not after the last one.
      key: for dropout.
      noise: for each layer what `jaxlstm.regularise.draw_noise` draws.
      merge: "concat", "sum", "mean" or "product" of the outputs of two directions; None gives them as a pair,
        from a stack of one layer.
      **options: for `scan_cell`.

    Returns:
      The state of each layer, and the outputs of the last [..., T, N].

    Raises:
      ValueError: no layers, another number of states or of noise than of layers, dropout without a key, and all
        that `scan_cell` raises.
    """
    if not _is_of_layers(params):
        raise ValueError(f"params: expected a tuple of layers, as init_stack makes it, got {type(params).__name__}")
    if not params:
        raise ValueError("params: expected at least one layer, got none")
    _check_merge(merge, len(params))
    for name, given in (("state", state), ("noise", noise)):
        if given is not None and not (_is_of_layers(given) and len(given) == len(params)):
            got = len(given) if _is_of_layers(given) else type(given).__name__
            raise ValueError(f"{name}: expected one for each of {len(params)} layers, got {got}")
    check_rates(dropout=dropout)
    if dropout and key is None:
        raise ValueError("key: expected one for dropout, got None")
    nothing = (None,) * len(params)
    states = []
    for depth, (p, s, n) in enumerate(zip(params, state or nothing, noise or nothing, strict=True)):
        if depth and dropout:
            assert key is not None
            xs = xs * dropout_scale(jax.random.fold_in(key, depth), dropout, xs.shape, xs.dtype)
        new, xs = layer(cell, p, xs, s, noise=n, merge=merge, **options)
        states.append(new)
    return tuple(states), xs


def _is_of_layers(value: Any) -> bool:
    """Whether it has an entry for each layer, or direction, and is no named tuple, of one alone."""
    return isinstance(value, Sequence) and not hasattr(value, "_fields")


def layer(
    cell: Cell, params: Any, xs: Array, state: Any = None, *, merge: str | None = "concat", **options: Any
) -> tuple[Any, Any]:
    """One layer of a stack: `bidirectional` where its parameters are of two directions, else `scan_cell`."""
    if isinstance(params, BidirectionalParams):
        return bidirectional(cell, params, xs, state, merge=merge, **options)
    return scan_cell(cell, params, xs, state, **options)


def bidirectional(
    cell: Cell,
    params: BidirectionalParams,
    xs: Array,
    state: BidirectionalState | None = None,
    *,
    merge: str | None = "concat",
    noise: tuple[Any, Any] | None = None,
    **options: Any,
) -> tuple[BidirectionalState, Any]:
    """Runs a cell over xs from the first step on, and another from the last valid step back.

    Args:
      cell: of both directions.
      params: of each.
      xs: [..., T, D].
      state: of each before its first step; `cell.zero_state` by default.
      merge: "concat" (outputs [..., T, 2H]), "sum", "mean", "product" ([..., T, H]), or None for a pair of outputs.
      noise: for each direction what `jaxlstm.regularise.draw_noise` draws.
      **options: for `scan_cell`.

    Returns:
      The state of each direction, and the outputs, every one at its step.

    Raises:
      ValueError: a merge that there is not, `reverse`, noise that is no pair, and all that `scan_cell` raises.
    """
    if "reverse" in options:
        raise ValueError(f"reverse: expected none, both directions are walked, got {options['reverse']}")
    _check_merge(merge)
    for name, given, kind in (("params", params, BidirectionalParams), ("state", state, BidirectionalState)):
        if given is not None and not isinstance(given, kind):
            raise ValueError(f"{name}: expected {kind.__name__}, got {type(given).__name__}")
    if noise is not None and not (_is_of_layers(noise) and len(noise) == 2):
        got = len(noise) if _is_of_layers(noise) else type(noise).__name__
        raise ValueError(f"noise: expected one for each of 2 directions, got {got}")
    nothing = (None, None)
    parts = zip(params, state or nothing, noise or nothing, (False, True), strict=True)
    forward, backward = (scan_cell(cell, p, xs, s, noise=n, reverse=reverse, **options) for p, s, n, reverse in parts)
    return BidirectionalState(forward[0], backward[0]), MERGES[merge](forward[1], backward[1])


def _check_merge(merge: str | None, layers: int = 1) -> None:
    if merge not in MERGES:
        raise ValueError(f"merge: expected one of {', '.join(map(repr, MERGES))}, got {merge!r}")
    if merge is None and layers > 1:
        raise ValueError("merge: expected one that makes one array for the next layer, got None")


def _output_size(run: Callable[..., tuple[Any, Any]], params: Any, input_size: int, dtype: DTypeLike) -> int:
    _, ys = jax.eval_shape(run, params, jax.ShapeDtypeStruct((1, input_size), dtype))
    return jax.tree.leaves(ys)[0].shape[-1]
