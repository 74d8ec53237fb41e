"""Haiku: the weights of `hk.LSTM`.

    w   [D + H, 4H]   W_x above W_h
    b   [4H]

The gates stand in the order i, g, f, o, and Haiku adds 1 to the forget gate's preactivation. Here that 1
is part of the bias.

Adding 1 rounds the forget bias to half a unit in the last place of 1, 6e-8 in float32, as it does when
Haiku computes. All other weights go both ways to the bit; what has been through Haiku once does so too.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxlstm.cell import LSTMParams
from jaxlstm.interop.checks import plain, taken

_FORGET_OFFSET = 1


def from_haiku(params: Mapping[str, Mapping[str, Any]], name: str = "lstm/linear") -> LSTMParams:
    """The LSTM of that name in the parameters of a transformed function.

    Raises:
      ValueError: a missing key or a wrong shape.
    """
    if name not in params:
        raise ValueError(f"{name}: expected this key, got {', '.join(map(repr, params)) or 'none'}")
    module = {f"{name}/{key}": value for key, value in params[name].items()}
    b = taken(module, f"{name}/b", (None,))
    hidden = b.shape[0] // 4
    w = taken(module, f"{name}/w", (None, 4 * hidden))
    if b.shape[0] % 4 or w.shape[0] <= hidden:
        raise ValueError(f"{name}: expected w [D + H, 4H] and b [4H], got {list(w.shape)} and {list(b.shape)}")
    w, b = _reordered(w), _reordered(b)
    i, f, g, o = jnp.split(b, 4)
    return LSTMParams(w[:-hidden], w[-hidden:], jnp.concatenate([i, f + _FORGET_OFFSET, g, o]))


def to_haiku(params: LSTMParams, name: str = "lstm/linear") -> dict[str, dict[str, Array]]:
    """The parameters under which a transformed function finds an `hk.LSTM` of that name. It can be differentiated.

    Raises:
      ValueError: anything but LSTMParams.
    """
    params = plain("params", params)
    i, f, g, o = jnp.split(params.b, 4)
    b = jnp.concatenate([i, f - _FORGET_OFFSET, g, o])
    return {name: {"w": _reordered(jnp.concatenate([params.w_x, params.w_h])), "b": _reordered(b)}}


def _reordered(leaf: Array) -> Array:
    """Swaps the two blocks in the middle: i, f, g, o and i, g, f, o become each other."""
    first, second, third, fourth = jnp.split(leaf, 4, axis=-1)
    return jnp.concatenate([first, third, second, fourth], axis=-1)
