"""`scan_cell`: any cell over whole sequences, with the semantics of `lstm`, which runs `cells.LSTM` where it can.

A new sequence may start within a row (`resets`), and a long one may be computed twice instead of kept
(`checkpoint_every`).
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cells.interface import Cell
from jaxlstm.cells.standard import LSTM
from jaxlstm.checks import (
    check_at_least,
    check_flag,
    check_inputs,
    check_kind,
    check_params,
    check_shape,
    check_state,
    dtype_of,
)
from jaxlstm.implementations import current_platform
from jaxlstm.layout import (
    Layout,
    checked_masking,
    checked_steps,
    flat_inputs,
    flat_mask,
    flat_rows,
    flat_steps,
    layout_of,
    outputs_in_place,
    rows_in_place,
    select_rows,
)
from jaxlstm.loop import loop
from jaxlstm.noise import Noise, check_noise, zoned_out
from jaxlstm.schedule import WHOLE_BYTES_OF_A_LOOP, chunk_of, unroll_of
from jaxlstm.segments import in_segments
from jaxlstm.sequence import lstm
from jaxlstm.sharding import on_each_device, varying_like


def scan_cell(
    cell: Cell,
    params: Any,
    xs: Array,
    state: Any = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reverse: bool = False,
    time_major: bool = False,
    resets: ArrayLike | None = None,
    noise: Noise | None = None,
    checkpoint_every: int | None = None,
    unroll: int | None = None,
) -> tuple[Any, Array]:
    """Runs a cell over whole sequences.

    A masked step carries the state through unchanged, gives an output of zeros and passes no
    gradient, whatever its input holds (NaN included).

    Args:
      cell: one of `jaxlstm.cells`, or your own `Cell`.
      params: the cell's weights, as `cell.init` makes them.
      xs: [..., T, D] inputs with any number of batch dimensions, in the dtype of the parameters.
      state: before the first step; `cell.zero_state` by default.
      lengths: integers [...], the number of valid steps of each sequence, at the left; 0 to T.
      mask: booleans [..., T], True where a step is valid. Give `lengths` or `mask`, not both.
      reverse: walks from the last valid step back to the first. Outputs stay in place.
      time_major: xs is [T, ..., D], the outputs [T, ..., H], mask and resets [T, ...].
      resets: booleans [..., T], True where a new sequence starts, valid there or not: the walk enters it,
        from whichever end, with `cell.zero_state`. Sequences packed into one row
        give the outputs of separate rows. One that starts in the padding leaves its zeros in the state.
        Walking back, the last sequence of a row is entered with `state`, and a start at step 0 changes nothing.
      noise: what `jaxlstm.regularise.draw_noise` draws.
      checkpoint_every: k, keeps the state at every k-th step alone and computes the steps between once
        more in the backward pass. Memory is least near the square root of T.
      unroll: steps in one iteration of the loop. None: all of a sequence of up to 8 steps, else 1, or on a GPU 4 or 2
        if they divide T.

    Returns:
      The state after the last valid step walked, and the outputs ys [..., T, H].

    Raises:
      ValueError: names the argument, what was expected and what came.
    """
    check_flag("reverse", reverse)
    check_flag("time_major", time_major)
    check_inputs(xs)
    check_kind(params, cell.params_type)
    check_params(params, xs)
    check_at_least("unroll", unroll, 1)
    check_at_least("checkpoint_every", checkpoint_every, 1)
    layout, dtype = layout_of(xs, time_major), dtype_of(xs)
    if state is None:
        state = cell.zero_state(params, layout.batch_shape, dtype)
    else:
        expected = jax.eval_shape(lambda params: cell.zero_state(params, layout.batch_shape, dtype), params)
        check_state(state, expected, dtype)
    check_noise(noise)
    noise = Noise() if noise is None else noise
    if noise.h_scale is not None:
        check_shape("noise.h_scale", noise.h_scale, state.h.shape)
    xs, noise = _apply_to_inputs(noise, xs, layout)
    between_steps = (resets, noise.keep_h, noise.keep_c, checkpoint_every)
    if cell == LSTM and all(each is None for each in between_steps):
        return lstm(
            params,
            xs,
            state,
            lengths=lengths,
            mask=mask,
            reverse=reverse,
            time_major=time_major,
            unroll=unroll,
            h_scale=noise.h_scale,
        )
    lengths, mask = checked_masking(layout, lengths, mask)
    if resets is not None:
        resets = checked_steps("resets", resets, layout, "True where a new sequence starts")
    return _run(
        cell,
        params,
        xs,
        state,
        lengths=lengths,
        mask=mask,
        resets=resets,
        noise=noise,
        layout=layout,
        reverse=reverse,
        unroll=unroll,
        checkpoint_every=checkpoint_every,
    )


@partial(jax.jit, static_argnames=("cell", "layout", "reverse", "unroll", "checkpoint_every"))
def _run(
    cell: Cell,
    params: Any,
    xs: Array,
    state: Any,
    *,
    lengths: Array | None,
    mask: Array | None,
    resets: Array | None,
    noise: Noise,
    layout: Layout,
    reverse: bool,
    unroll: int | None,
    checkpoint_every: int | None,
) -> tuple[Any, Array]:
    platform = current_platform()
    unroll = unroll_of(unroll, layout, platform, checkpoint_every or 0)
    mask = flat_mask(layout, lengths, mask)
    xs = flat_inputs(layout, xs, mask)
    if resets is not None:
        resets = flat_steps(layout, resets)
        if reverse:  # the walk enters a sequence at its last step, the one before another starts
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])

    def walk(params, over_steps, per_sequence):
        state, h_scale = per_sequence
        state = varying_like(state, (params, over_steps, h_scale))

        def chunk(state, over_steps):
            xs, *rest = over_steps
            zs = project_steps(cell, params, xs)
            ahead = cell.ahead and platform == "cpu"
            return loop(partial(_step, cell), reverse, unroll, ahead, (params, h_scale), state, (zs, *rest))

        def segment_of(state, over_steps):
            xs = over_steps[0]
            zs = jax.tree.leaves(jax.eval_shape(partial(project_steps, cell), params, xs))
            row_bytes = sum(math.prod(z.shape[2:]) * z.dtype.itemsize for z in zs)
            size = chunk_of(xs, row_bytes, platform, WHOLE_BYTES_OF_A_LOOP)
            return in_segments(chunk, state, over_steps, size, reverse)

        if checkpoint_every is None:
            return segment_of(state, over_steps)
        return in_segments(jax.checkpoint(segment_of, prevent_cse=False), state, over_steps, checkpoint_every, reverse)

    over_steps = (xs, mask, resets, (noise.keep_h, noise.keep_c))
    state, ys = on_each_device(walk, params, over_steps, flat_rows(layout, (state, noise.h_scale)))
    return rows_in_place(layout, state), outputs_in_place(layout, ys, mask)


def _step(cell: Cell, constants: Any, state: Any, inputs: Any) -> tuple[Any, Array]:
    """One step of all rows [B, ...]: reset, cell, zoneout, mask."""
    params, h_scale = constants
    z, valid, reset, keep = inputs
    if reset is not None:
        zero = cell.zero_state(params, reset.shape, jnp.float32)
        zero = jax.tree.map(lambda zero, leaf: zero.astype(leaf.dtype), zero, state)
        state = select_rows(reset, zero, state)
    stepped, y = cell.step(params, state, z) if h_scale is None else cell.step(params, state, z, h_scale)
    new = zoned_out(stepped, state, *keep)
    if valid is not None:
        new = select_rows(valid, new, state)
    return new, _output_of(y, stepped, new)


def _output_of(y: Array, stepped: Any, new: Any) -> Array:
    """y, or where it is a leaf of the state that the step gave, the leaf that zoneout and mask made of it."""
    leaves = zip(jax.tree.leaves(stepped), jax.tree.leaves(new), strict=True)
    return next((after for before, after in leaves if before is y), y)


def project_steps(cell: Cell, params: Any, xs: Array) -> Any:
    """xs [T, B, D] -> z, arrays [T, B, ...]; computed as one over [T * B, D], the form in which gradients are fast."""
    steps, batch, size = xs.shape
    zs = cell.project(params, xs.reshape(steps * batch, size))
    return jax.tree.map(lambda leaf: leaf.reshape(steps, batch, *leaf.shape[1:]), zs)


def _apply_to_inputs(noise: Noise, xs: Array, layout: Layout) -> tuple[Array, Noise]:
    """The scaled inputs, and what of the noise is left for the loop, [T, B, ...] where it has steps."""
    if noise.x_scale is not None:
        check_shape("noise.x_scale", noise.x_scale, (*layout.batch_shape, xs.shape[-1]))
        xs = xs * jnp.expand_dims(noise.x_scale, layout.time_axis).astype(dtype_of(xs))

    def flat(name: str) -> Array | None:
        keep = getattr(noise, name)
        if keep is None:
            return None
        check_shape(f"noise.{name}", keep[..., 0], xs.shape[:-1])
        return flat_steps(layout, keep)

    h_scale = None if noise.h_scale is None else noise.h_scale.astype(dtype_of(xs))
    return xs, Noise(None, h_scale, flat("keep_h"), flat("keep_c"))
