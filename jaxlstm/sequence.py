"""`lstm`: a whole sequence through the cell, with its checks, masks and directions.

Where a mesh of devices with the axis "batch" is in force, each of them runs its own sequences (`jaxlstm.parallel`).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import Activation, LSTMParams, LSTMState, cell_dtype, zero_state
from jaxlstm.implementations import Call, Choice, choose, current_platform, module_of
from jaxlstm.implementations.choice import current_capability
from jaxlstm.layout import (
    Layout,
    check_inputs,
    check_shape,
    checked_masking,
    flat_inputs,
    flat_mask,
    flat_rows,
    layout_of,
    outputs_in_place,
    rows_in_place,
)
from jaxlstm.parallel import on_each_device
from jaxlstm.recurrence import Walk, recurrence

# Up to this many steps a loop costs more than it saves: at (batch 128, steps 5, inputs 44, hidden 128)
# a training step takes 1.2 times as long with one. At 50 steps and more, unrolling by 5 loses or is even.
UNROLLED_STEPS = 8

# On a CPU the projected inputs of a long sequence cost more than their product: memory that is new at each
# call (a page fault for each 4 kB), written and read once. From 4 MiB on they are made for some 640 rows at
# a time. Measured: a forward pass at (64, 128, 256, 256) takes 0.6 times as long as with one product, at
# (16, 1024, 256, 256) 0.68 times; a training step 0.96 and 0.94 times, in 0.7 times the memory. At
# (32, 80, 128, 128) time is even within 3%, and the memory falls below Flax's. Fewer than 4 chunks, or chunks
# of fewer than 8 steps, do not pay.
WHOLE_BYTES = 2**22
CHUNK_ROWS = 640
CHUNK_STEPS = 8
CHUNKS = 4

# On a GPU a loop over thin steps takes as long as its launches do, a few microseconds each, whatever they compute, and
# each array that the loop saves is one. So there the coefficients of the derivative are computed after it, for one
# large product more; and four steps in a turn share a counter and what is saved. At (32, 80, 128, 128) a step of
# training takes 7.5 launches instead of 14.2, counted (`python -m benchmarks.gpu_compile`), not timed. Eight steps
# would take twice as long to compile. Only where they divide T: a rest is a loop of its own, and its arrays are
# copied. On a CPU, where the loop is bound by memory, the coefficients are better computed from what the cache still
# holds, and more steps in a turn do not pay.
GPUS = ("cuda", "rocm")
GPU_STEPS_IN_A_TURN = 4


def lstm(
    params: LSTMParams,
    xs: Array,
    state: LSTMState | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reverse: bool = False,
    time_major: bool = False,
    activation: Activation = jnp.tanh,
    unroll: int | None = None,
    h_scale: Array | None = None,
    implementation: str | None = None,
) -> tuple[LSTMState, Array]:
    """Runs an LSTM over whole sequences.

    A masked step carries the state through unchanged, gives an output of zeros and passes no
    gradient, whatever its input holds (NaN included).

    Args:
      params: the layer's weights, as `init_lstm` makes them.
      xs: [..., T, D] inputs with any number of batch dimensions (none, one or several), in the
        dtype of the parameters: float32, bfloat16 or float64.
      state: h and c [..., H] before the first step; zeros by default.
      lengths: integers [...], the number of valid steps of each sequence, at the left (padding at
        the right); 0 to T. Under `jit` the values cannot be checked; a larger one counts as T.
      mask: booleans [..., T], True where a step is valid: padding on the left, holes, anything.
        Give `lengths` or `mask`, not both.
      reverse: walks from the last valid step back to the first. Outputs stay in place.
      time_major: xs is [T, ..., D], the outputs [T, ..., H] and the mask [T, ...].
      activation: of the candidate and of the cell state; elementwise and differentiable. Name a
        function: a fresh `lambda` at each call compiles each time.
      unroll: steps in one turn of the loop; more may help very small layers. None: all of a sequence
        of up to 8 steps, else 1, or on a GPU 4 or 2 if they divide T.
      h_scale: [..., H]; h_{t-1} is multiplied by it before the recurrent product, at every step:
        the mask of variational recurrent dropout (Gal & Ghahramani 2016).
      implementation: "scan", "cudnn" or "pallas" (`jaxlstm.implementations`), or None for the fastest
        that can run; `which_implementation` tells it.

    Returns:
      The state after the last valid step walked, and the outputs ys [..., T, H]: carry first, as in
      `jax.lax.scan`.

    Raises:
      ValueError: names the argument, what was expected and what came; or the implementation that was
        asked for, and why it cannot run.
    """
    _check(params, xs, state, unroll)
    layout = layout_of(xs, time_major)
    state_shape = (*layout.batch_shape, params.w_h.shape[0])
    if state is None:
        state = zero_state(layout.batch_shape, params.w_h.shape[0], xs.dtype)
    check_shape("state.h", state.h, state_shape)
    check_shape("state.c", state.c, state_shape)
    if h_scale is not None:
        check_shape("h_scale", h_scale, state_shape)
        h_scale = h_scale.astype(xs.dtype)
    call = _call(params, xs, layout, lengths, mask, reverse, activation, h_scale, unroll, platform=None)
    name = choose(call, implementation).name
    lengths, mask = checked_masking(layout, lengths, mask)
    unroll = steps_in_a_turn(unroll, layout, call.platform)
    return _run(params, xs, state, lengths, mask, h_scale, layout, call, name, unroll)


def which_implementation(
    params: LSTMParams,
    xs: Array,
    state: LSTMState | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reverse: bool = False,
    time_major: bool = False,
    activation: Activation = jnp.tanh,
    unroll: int | None = None,
    h_scale: Array | None = None,
    implementation: str | None = None,
    platform: str | None = None,
) -> Choice:
    """The implementation that `lstm` takes with the same arguments, and the reason: `Choice(name, reason)`.

    Nothing is computed: shapes and dtypes decide, so that `jax.ShapeDtypeStruct` serves for every array.

    Args:
      platform: "cpu", "cuda", "rocm" or "tpu"; that of JAX's default device by default.

    Raises:
      ValueError: as `lstm`.
    """
    _check(params, xs, state, unroll)
    layout = layout_of(xs, time_major)
    call = _call(params, xs, layout, lengths, mask, reverse, activation, h_scale, unroll, platform)
    return choose(call, implementation)


def _call(params, xs, layout: Layout, lengths, mask, reverse, activation, h_scale, unroll, platform) -> Call:
    return Call(
        platform=platform or current_platform(),
        capability=current_capability(),
        devices=jax.sharding.get_abstract_mesh().size,
        dtype=xs.dtype,
        batch=layout.batch,
        steps=layout.steps,
        inputs=xs.shape[-1],
        hidden=params.w_h.shape[0],
        masking="lengths" if lengths is not None else None if mask is None else "mask",
        reverse=reverse,
        activation=activation,
        scaled=h_scale is not None,
        unroll=unroll,
    )


# Compiled here, so that a call outside of any `jit` does not trace and compile its scan anew.
@partial(jax.jit, static_argnums=(6, 7, 8, 9))
def _run(params, xs, state, lengths, mask, h_scale, layout, call, name, unroll):
    if lengths is not None:
        lengths = lengths.reshape(layout.batch)
    mask = flat_mask(layout, lengths, mask)
    xs = flat_inputs(layout, xs, mask)

    def walk(params, over_steps, per_sequence):
        xs, mask = over_steps
        state, h_scale, lengths = per_sequence
        if name == "scan":
            chunk = steps_projected_at_once(call.platform, xs, params)
            how = Walk(call.activation, call.reverse, unroll, chunk, linearised_after=call.platform in GPUS)
            return recurrence(how, params, xs, state, mask, h_scale)
        return module_of(name).run(call, params, xs, state, lengths, mask)

    per_sequence = (*flat_rows(layout, (state, h_scale)), None if name == "scan" else lengths)
    state, hs = on_each_device(walk, params, (xs, mask), per_sequence)
    return rows_in_place(layout, state), outputs_in_place(layout, hs, mask)


def _check(params: LSTMParams, xs: Array, state: LSTMState | None, unroll: int | None) -> None:
    if unroll is not None and unroll < 1:
        raise ValueError(f"unroll: expected at least 1, got {unroll}")
    if params.w_h.ndim != 2 or params.w_h.shape[1] != 4 * params.w_h.shape[0]:
        raise ValueError(f"params.w_h: expected shape [H, 4H], got {list(params.w_h.shape)}")
    width = params.w_h.shape[1]
    if params.w_x.ndim != 2 or params.w_x.shape[1] != width:
        raise ValueError(f"params.w_x: expected shape [D, {width}], got {list(params.w_x.shape)}")
    check_shape("params.b", params.b, (width,))
    check_inputs(xs)
    if xs.shape[-1] != params.w_x.shape[0]:
        raise ValueError(
            f"xs: expected {params.w_x.shape[0]} features (params.w_x is {list(params.w_x.shape)}), "
            f"got {xs.shape[-1]} (xs is {list(xs.shape)})"
        )
    for name, leaf in zip(params._fields, params, strict=True):
        if leaf.dtype != xs.dtype:
            raise ValueError(f"params.{name}: expected the dtype of xs, {xs.dtype}, got {leaf.dtype}")
    if state is not None:
        if state.h.dtype != xs.dtype:
            raise ValueError(f"state.h: expected the dtype of xs, {xs.dtype}, got {state.h.dtype}")
        if state.c.dtype != cell_dtype(xs.dtype):
            raise ValueError(f"state.c: expected {cell_dtype(xs.dtype)} beside {xs.dtype} inputs, got {state.c.dtype}")


def steps_in_a_turn(unroll: int | None, layout: Layout, platform: str, segment: int = 0) -> int:
    """The steps that one turn of the loop takes: what was asked for, or by default all of a short sequence.

    `segment` is the number of steps after which the loop begins anew; 0 where it does not.
    """
    if unroll is not None:
        return unroll
    if not isinstance(layout.steps, int):  # kept symbolic by `jax.export`
        return 1
    if 1 <= layout.steps <= UNROLLED_STEPS:
        return layout.steps
    return math.gcd(GPU_STEPS_IN_A_TURN, layout.steps, segment) if platform in GPUS else 1


def steps_projected_at_once(platform: str, xs: Array, params: LSTMParams) -> int:
    """The steps in a chunk of xs [T, B, D]: on a CPU a divisor of T if there is one of about that size, else all."""
    steps, batch, _ = xs.shape
    if not (isinstance(steps, int) and isinstance(batch, int)):  # kept symbolic by `jax.export`
        return steps
    projected = steps * batch * params.b.size * cell_dtype(xs.dtype).itemsize  # bytes
    most = max(CHUNK_STEPS, CHUNK_ROWS // max(batch, 1))
    if platform != "cpu" or projected < WHOLE_BYTES or steps < CHUNKS * most:
        return steps
    divisors = (chunk for chunk in range(most, most // 2, -1) if steps % chunk == 0)
    return next(divisors, most)
