"""What is demanded of arrays: each check raises ValueError naming the argument, what was expected and what came."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def check_at_least(name: str, value: int | None, least: int) -> None:
    """For a number that is given, not None."""
    if value is not None and value < least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")


def check_array(name: str, array: Any) -> None:
    """For an array, of NumPy or JAX, or what has its shape and dtype."""
    if not (hasattr(array, "shape") and hasattr(array, "dtype")):
        raise ValueError(f"{name}: expected an array, got {type(array).__name__}")


def check_flag(name: str, value: Any) -> None:
    """For what is known before anything is computed, and so cannot be an argument that `jax.jit` traces."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: expected True or False (static under jit), got {type(value).__name__}")


def check_shape(name: str, array: Array | np.ndarray, shape: tuple[int, ...]) -> None:
    """For an array of a known shape."""
    check_array(name, array)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {list(shape)}, got {list(array.shape)}")


def check_inputs(xs: Array) -> None:
    """For the inputs of whole sequences: two dimensions or more, and a floating dtype."""
    check_array("xs", xs)
    if len(xs.shape) < 2:
        raise ValueError(f"xs: expected shape [..., T, D] with at least 2 dimensions, got {list(xs.shape)}")
    _check_floating("xs", xs)


def check_input(x: Array) -> None:
    """For the input of one step: one dimension or more, and a floating dtype."""
    check_array("x", x)
    if not x.shape:
        raise ValueError("x: expected shape [..., D], got []")
    _check_floating("x", x)


def _check_floating(name: str, array: Array) -> None:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name}: expected a floating dtype, got {array.dtype}; embed or one-hot encode symbols first")


def check_weights(params: Any, kind: Any) -> None:
    """For the weights of an LSTM, a `kind` of named tuple: arrays whose shapes fit together."""
    if not isinstance(params, kind):
        raise ValueError(f"params: expected {kind.__name__}, as init_lstm makes them, got {type(params).__name__}")
    for name, leaf in params._asdict().items():
        check_array(f"params.{name}", leaf)
    if params.w_h.ndim != 2 or params.w_h.shape[1] != 4 * params.w_h.shape[0]:
        raise ValueError(f"params.w_h: expected shape [H, 4H], got {list(params.w_h.shape)}")
    width = params.w_h.shape[1]
    if params.w_x.ndim != 2 or params.w_x.shape[1] != width:
        raise ValueError(f"params.w_x: expected shape [D, {width}], got {list(params.w_x.shape)}")
    check_shape("params.b", params.b, (width,))


def check_params(params: Any, xs: Array, name: str = "xs") -> None:
    """For the weights of any cell: the dtype of xs [..., D] in all of them, and D rows in w_x where there is one."""
    w_x = getattr(params, "w_x", None)
    if w_x is not None and xs.shape[-1] != w_x.shape[0]:
        raise ValueError(
            f"{name}: expected {w_x.shape[0]} features (params.w_x is {list(w_x.shape)}), "
            f"got {xs.shape[-1]} ({name} is {list(xs.shape)})"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if leaf.dtype != xs.dtype:
            weight = jax.tree_util.keystr(path, simple=True, separator=".")
            raise ValueError(f"params.{weight}: expected the dtype of {name}, {xs.dtype}, got {leaf.dtype}")


def check_state(state: Any, expected: Any, dtype: np.dtype) -> None:
    """For a state beside inputs of a dtype: the structure, shapes and dtypes of `expected`, which needs no values."""
    structure: Any = jax.tree.structure(state)
    if structure != jax.tree.structure(expected):
        raise ValueError(
            f"state: expected {type(expected).__name__}, as zero_state makes it, got {type(state).__name__}"
        )
    for (path, leaf), want in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(expected), strict=True):
        name = "state." + jax.tree_util.keystr(path, simple=True, separator=".")
        check_shape(name, leaf, want.shape)
        if leaf.dtype != want.dtype:
            raise ValueError(f"{name}: expected {want.dtype} beside {dtype} inputs, got {leaf.dtype}")
