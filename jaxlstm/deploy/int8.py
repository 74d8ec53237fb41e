"""Weights in eight bits, for serving: a quarter of the size, with one scale for each output.

For a matrix w [..., N] whose outputs are its columns,

    scale_n = max |w_n| / 127        over the column n
    q = round(w / scale)             int8, in -127 .. 127
    w ~ q * scale                    off by half a scale at the most

The product is rounded to the dtype of the weights, which in bfloat16 can take it off by half a scale more.
Biases and other vectors stay as they are. An embedding [V, D] is the matrix of a product with one-hot
symbols, so its outputs are its D columns too.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxlstm.cell import cell_dtype


class Int8(NamedTuple):
    """A matrix in eight bits."""

    q: Array  # [..., N] int8
    scale: Array  # [N], in the dtype that the matrix had


def quantise(params: Any) -> Any:
    """The same pytree with an `Int8` in the place of every floating matrix.

    It can be saved by `jaxlstm.weights` as it is. Parameters that are stacked for `jax.vmap` take `jax.vmap(quantise)`,
    so that each has scales of its own.

    Raises:
      ValueError: weights that are not finite.
    """
    return jax.tree.map_with_path(_quantised, params)


def dequantise(params: Any) -> Any:
    """The parameters that `quantise` took, up to rounding: what a model is called with.

    Inside of `jax.jit` the weights stay in eight bits in memory and are widened at each call; outside,
    once, and the model is as fast as it was.
    """
    return jax.tree.map(_widened, params, is_leaf=lambda leaf: isinstance(leaf, Int8))


def size_in_bytes(params: Any) -> int:
    """What all arrays of a pytree take."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(params))


def _quantised(path: Any, leaf: Array) -> Any:
    if leaf.ndim < 2 or not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    if not isinstance(leaf, jax.core.Tracer) and not jnp.isfinite(leaf).all():
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        raise ValueError(f"{name}: expected finite weights, got some that are not")
    wide = leaf.astype(cell_dtype(leaf.dtype))  # bfloat16 has too few digits to tell 127 steps apart
    scale = (jnp.abs(wide).max(axis=tuple(range(leaf.ndim - 1))) / 127).astype(leaf.dtype)
    scale = jnp.where(scale > 0, scale, 1)
    q = jnp.round(wide / jnp.broadcast_to(scale, leaf.shape).astype(wide.dtype))
    # Beyond 127 only where a scale of float16 is so small that it has lost its digits; int8 would turn that over.
    return Int8(jnp.clip(q, -127, 127).astype(jnp.int8), scale)


def _widened(leaf: Any) -> Array:
    if not isinstance(leaf, Int8):
        return leaf
    dtype: DTypeLike = leaf.scale.dtype
    return leaf.q.astype(dtype) * jnp.broadcast_to(leaf.scale, leaf.q.shape)
