"""What every conversion checks: that an array is there, has its shape, and keeps its digits in JAX."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlstm.cell import LSTMParams


def taken(weights: Mapping[str, Any], name: str, shape: tuple[int | None, ...]) -> Array:
    """The array of that name in `weights`.

    Raises:
      ValueError: it is not there, or not what `checked` wants.
    """
    if name not in weights:
        raise ValueError(f"{name}: expected this key, got {', '.join(map(repr, weights)) or 'none'}")
    return checked(name, weights[name], shape)


def checked(name: str, value: Any, shape: tuple[int | None, ...]) -> Array:
    """`value` as a JAX array of that shape; None stands for any size.

    Raises:
      ValueError: another shape, a dtype that is not floating, or float64 where JAX would cut it short.
    """
    if not hasattr(value, "shape"):
        raise ValueError(f"{name}: expected an array, got {type(value).__name__}")
    found = tuple(value.shape)
    if len(found) != len(shape) or any(want not in (None, got) for want, got in zip(shape, found, strict=True)):
        wanted = ", ".join("*" if size is None else str(size) for size in shape)
        raise ValueError(f"{name}: expected shape [{wanted}], got {list(found)}")
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name}: expected a floating dtype, got {array.dtype}")
    converted = jnp.asarray(array)
    if converted.dtype != array.dtype:
        raise ValueError(
            f"{name}: expected at most {converted.dtype}, got {array.dtype}; "
            "enable jax_enable_x64, or convert the weights first"
        )
    return converted


def plain(name: str, params: Any) -> LSTMParams:
    """`params`, where a library holds one LSTM without a projection and nothing else.

    Raises:
      ValueError: anything but an LSTMParams whose shapes fit together.
    """
    if not isinstance(params, LSTMParams):
        raise ValueError(f"{name}: expected LSTMParams, got {type(params).__name__}")
    hidden = params.w_h.shape[0]
    checked(f"{name}.w_x", params.w_x, (None, 4 * hidden))
    checked(f"{name}.w_h", params.w_h, (hidden, 4 * hidden))
    checked(f"{name}.b", params.b, (4 * hidden,))
    return params


def is_function(found: Any, wanted: Any) -> bool:
    """Whether it is that function of one number, or a copy of what `jax.jit` has made of it.

    `copy.deepcopy` of a module makes one, which shares nothing with the original but what it computes.
    """
    if found is wanted or type(found) is not type(wanted):
        return found is wanted
    one, other = (str(jax.make_jaxpr(function)(0.0)) for function in (found, wanted))
    return one == other


def expect(name: str, found: Any, wanted: Any, instead: str) -> None:
    """Raises a ValueError that names an option no weights can hold, and what to do instead."""
    if not (is_function(found, wanted) if callable(wanted) else found == wanted):
        raise ValueError(f"{name}: expected {wanted}, got {found}; {instead}")
