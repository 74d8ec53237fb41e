"""What is demanded of arrays: each check raises ValueError naming the argument, what was expected and what came."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def check_at_least(name: str, value: int | None, least: int) -> None:
    """Raises ValueError unless `value` is None or a whole number of at least `least`."""
    if value is None:
        return
    if not isinstance(value, int | np.integer):
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")


def check_sizes(**sizes: int) -> None:
    """For numbers of inputs, units, heads: at least 1 of each."""
    for name, size in sizes.items():
        check_at_least(name, size, 1)


def check_rates(**rates: float) -> None:
    """For shares of what is dropped."""
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(f"{name}: expected 0 or more and less than 1, got {rate}")


def check_number(name: str, number: Any, holds: Callable[[Any], bool], expected: str) -> None:
    """For a number that may be traced, and then cannot be looked at."""
    if not isinstance(number, jax.core.Tracer) and not holds(number):
        raise ValueError(f"{name}: expected {expected}, got {number}")


def is_key(value: Any) -> bool:
    """Whether it is a random key, or several, of `jax.random.key`."""
    return hasattr(value, "dtype") and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)


def check_key(key: Any) -> None:
    """For a random key, new-style or old."""
    if not (is_key(key) or getattr(key, "dtype", None) == jnp.uint32):
        raise ValueError(f"key: expected a random key such as jax.random.key(0), got {type(key).__name__}")


def check_array(name: str, array: Any) -> None:
    """For an array, of NumPy or JAX, or what has its shape and dtype."""
    if not (hasattr(array, "shape") and hasattr(array, "dtype")):
        raise ValueError(f"{name}: expected an array, got {type(array).__name__}")


def check_flag(name: str, value: Any) -> None:
    """For what is known before anything is computed, and so cannot be an argument that `jax.jit` traces."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: expected True or False (static under jit), got {type(value).__name__}")


def dtype_of(array: Any) -> jnp.dtype:
    """What JAX computes it in: an array of NumPy's, float64 as it is made, in float32 but with jax_enable_x64."""
    return jnp.dtype(jax.dtypes.canonicalize_dtype(array.dtype))


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


def check_kind(params: Any, kind: type) -> None:
    """For the weights of any cell, whose type tells whether they are its own."""
    if not isinstance(params, kind):
        got = type(params).__name__
        raise ValueError(f"params: expected {kind.__name__}, as the cell's init makes them, got {got}")


def check_params(params: Any, xs: Array, name: str = "xs") -> None:
    """For the weights of any cell: the dtype of xs [..., D] in all of them, and D rows in w_x where there is one."""
    w_x = getattr(params, "w_x", None)
    if w_x is not None and xs.shape[-1] != w_x.shape[0]:
        raise ValueError(
            f"{name}: expected {w_x.shape[0]} features (params.w_x is {list(w_x.shape)}), "
            f"got {xs.shape[-1]} ({name} is {list(xs.shape)})"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        weight = f"params.{jax.tree_util.keystr(path, simple=True, separator='.')}".rstrip(".")
        check_array(weight, leaf)
        if dtype_of(leaf) != dtype_of(xs):
            raise ValueError(f"{weight}: expected the dtype of {name}, {dtype_of(xs)}, got {dtype_of(leaf)}")


def check_state(state: Any, expected: Any, dtype: np.dtype) -> None:
    """For a state beside inputs of a dtype: the structure, shapes and dtypes of `expected`, which needs no values."""
    structure: Any = jax.tree.structure(state)
    if structure != jax.tree.structure(expected):
        wanted, got = type(expected).__name__, type(state).__name__
        if got == wanted:
            wanted, got = f"{wanted} of arrays", str(structure)
        raise ValueError(f"state: expected {wanted}, as zero_state makes it, got {got}")
    for (path, leaf), want in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(expected), strict=True):
        name = "state." + jax.tree_util.keystr(path, simple=True, separator=".")
        check_shape(name, leaf, want.shape)
        if dtype_of(leaf) != want.dtype:
            raise ValueError(f"{name}: expected {want.dtype} beside {dtype} inputs, got {leaf.dtype}")
