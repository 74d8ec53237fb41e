"""Whole sequences, whatever the cell: where time and batch are in an array, which steps are masked.

Whatever the caller's layout, a recurrence sees [T, B, ...]: the batch dimensions are flattened into
one and time comes first. A masked step is one that the recurrence does not take.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.checks import check_shape


class Layout(NamedTuple):
    """The caller's layout of xs [..., T, D], or [T, ..., D] where time is the major axis; hashable."""

    time_axis: int
    steps: int  # T
    batch_shape: tuple[int, ...]

    @property
    def batch(self) -> int:
        """B, all batch dimensions in one; named, because -1 cannot stand for a size where another is 0."""
        return math.prod(self.batch_shape)


def layout_of(xs: Array, time_major: bool) -> Layout:
    """The layout of inputs that `check_inputs` has passed."""
    time_axis = 0 if time_major else xs.ndim - 2
    batch_shape = tuple(np.delete(xs.shape[:-1], time_axis).tolist())
    return Layout(time_axis, xs.shape[time_axis], batch_shape)


def masking_of(lengths: ArrayLike | None, mask: ArrayLike | None) -> str | None:
    """Which of them is given, "lengths" or "mask", or None; raises ValueError where both are."""
    if lengths is not None and mask is not None:
        raise ValueError("lengths and mask: expected at most one of them, got both")
    if lengths is not None:
        return "lengths"
    return None if mask is None else "mask"


def checked_masking(
    layout: Layout, lengths: ArrayLike | None, mask: ArrayLike | None
) -> tuple[Array | None, Array | None]:
    """Lengths and mask as arrays, at most one of them.

    Raises:
      ValueError: both are given, or one of another shape or dtype, or lengths outside 0 to T.
    """
    masking_of(lengths, mask)
    if lengths is not None:
        return _checked_lengths(lengths, layout), None
    return None, None if mask is None else checked_steps("mask", mask, layout, "True where a step is valid")


def checked_steps(name: str, flags: ArrayLike, layout: Layout, meaning: str) -> Array:
    """Booleans for every step in the caller's layout; raises ValueError for anything else."""
    flags = jnp.asarray(flags)
    shape = list(layout.batch_shape)
    shape.insert(layout.time_axis, layout.steps)
    check_shape(name, flags, tuple(shape))
    if flags.dtype != jnp.bool_:
        raise ValueError(f"{name}: expected booleans, {meaning}, got {flags.dtype}")
    return flags


def _checked_lengths(lengths: ArrayLike, layout: Layout) -> Array:
    lengths = jnp.asarray(lengths)
    check_shape("lengths", lengths, layout.batch_shape)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(f"lengths: expected integers, got {lengths.dtype}")
    if not isinstance(lengths, jax.core.Tracer) and lengths.size:
        values = np.asarray(lengths)  # NumPy's own min and max: under `jit` those of JAX would be traced
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > layout.steps:
            raise ValueError(f"lengths: expected 0 to {layout.steps}, the steps of xs, got {low if low < 0 else high}")
    return lengths


def flat_mask(layout: Layout, lengths: Array | None, mask: Array | None) -> Array | None:
    """[T, B], True where a step is valid; None where every step is."""
    if lengths is not None:
        lengths = lengths.reshape(layout.batch).astype(jnp.int32)
        return jnp.arange(layout.steps, dtype=jnp.int32)[:, None] < lengths[None]
    return None if mask is None else flat_steps(layout, mask)


def flat_steps(layout: Layout, array: Array) -> Array:
    """Something for every step, in the caller's layout [..., T] or [..., T, N] -> [T, B] or [T, B, N]."""
    rest = array.shape[len(layout.batch_shape) + 1 :]
    return jnp.moveaxis(array, layout.time_axis, 0).reshape(layout.steps, layout.batch, *rest)


def select_rows(condition: Array, new: Any, old: Any) -> Any:
    """Leaves [B, N], the rows of `new` where the condition [B] holds, else those of `old`."""
    return jax.tree.map(partial(jnp.where, condition[:, None]), new, old)


def flipped(xs: Array, lengths: ArrayLike | None = None) -> Array:
    """The first `lengths` [...] steps of xs [..., T, N] in the opposite order, the others in place; None: all."""
    if lengths is None:
        return jnp.flip(xs, axis=-2)
    steps = jnp.arange(xs.shape[-2], dtype=jnp.int32)
    lengths = jnp.clip(jnp.asarray(lengths).astype(jnp.int32), 0, xs.shape[-2])[..., None]
    source = jnp.where(steps < lengths, lengths - 1 - steps, steps)
    # Said to be a permutation, so that its transpose need not add.
    permuted = jnp.vectorize(
        lambda xs, source: xs.at[source].get(unique_indices=True, mode="promise_in_bounds"),
        signature="(t,n),(t)->(t,n)",
    )
    return permuted(xs, source)


def flat_inputs(layout: Layout, xs: Array, mask: Array | None) -> Array:
    """xs in the caller's layout -> [T, B, D], zero where a step is masked [T, B]."""
    flat = flat_steps(layout, xs)
    # A NaN in the padding would reach the weights through 0 * NaN in their gradient.
    return flat if mask is None else jnp.where(mask[..., None], flat, 0)


def outputs_in_place(layout: Layout, hs: Array, mask: Array | None) -> Array:
    """hs [T, B, H] -> the caller's layout [..., T, H], zero where a step is masked."""
    ys = hs if mask is None else jnp.where(mask[..., None], hs, 0)
    return jnp.moveaxis(ys.reshape(layout.steps, *layout.batch_shape, ys.shape[-1]), 0, layout.time_axis)


def flat_rows(layout: Layout, tree: Any) -> Any:
    """Leaves [..., N] -> [B, N]: a state, or whatever else has one row for each sequence."""
    return jax.tree.map(lambda leaf: leaf.reshape(layout.batch, leaf.shape[-1]), tree)


def rows_in_place(layout: Layout, tree: Any) -> Any:
    """Leaves [B, N] -> [..., N]."""
    return jax.tree.map(lambda leaf: leaf.reshape(*layout.batch_shape, leaf.shape[-1]), tree)
