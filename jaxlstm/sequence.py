"""`lstm`: a whole sequence through the cell, with its checks, masks and directions.

Where a mesh of devices with the axis "batch" is in force, each of them runs its own sequences (`jaxlstm.sharding`).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import Activation, LSTMParams, LSTMState, state_like, zero_state
from jaxlstm.checks import (
    check_at_least,
    check_flag,
    check_inputs,
    check_params,
    check_shape,
    check_state,
    check_weights,
    dtype_of,
)
from jaxlstm.dispatch import Chosen, walk
from jaxlstm.implementations import PLATFORMS, Call, Choice, choose, current_capability, current_platform
from jaxlstm.layout import (
    Layout,
    checked_masking,
    flat_inputs,
    flat_mask,
    flat_rows,
    layout_of,
    masking_of,
    outputs_in_place,
    rows_in_place,
)
from jaxlstm.schedule import unroll_of
from jaxlstm.sharding import on_each_device


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
        dtype of the parameters: float32, float64, bfloat16 or float16.
      state: h and c [..., H] before the first step; zeros by default.
      lengths: integers [...], the number of valid steps of each sequence, at the left (padding at
        the right); 0 to T. Under `jit` the values cannot be checked; a larger one counts as T.
      mask: booleans [..., T], True where a step is valid: padding on the left, holes, anything.
        Give `lengths` or `mask`, not both.
      reverse: walks from the last valid step back to the first. Outputs stay in place.
      time_major: xs is [T, ..., D], the outputs [T, ..., H] and the mask [T, ...].
      activation: of the candidate and of the cell state; elementwise and differentiable (in forward mode, so
        that a `jax.custom_vjp` is none), and a function of its argument alone: it may not close over a value
        that JAX traces. Name a function: a fresh `lambda` at each call compiles each time.
      unroll: steps in one iteration of the loop; more may help very small layers. None: all of a sequence
        of up to 8 steps, else 1, or on a GPU 4 or 2 if they divide T.
      h_scale: [..., H]; h_{t-1} is multiplied by it before the recurrent product, at every step:
        the mask of variational recurrent dropout (Gal & Ghahramani 2016).
      implementation: "scan", "cudnn" or "pallas" (`jaxlstm.implementations`), or None for the fastest
        that can run, or the one preferred (`jaxlstm.implementations.preferring`); `which_implementation` tells it.

    Returns:
      The state after the last valid step walked, and the outputs ys [..., T, H]: carry first, as in
      `jax.lax.scan`.

    Raises:
      ValueError: names the argument, what was expected and what came; or the implementation that was
        asked for, and why it cannot run.
    """
    layout, call = _checked_call(
        params,
        xs,
        state,
        lengths=lengths,
        mask=mask,
        reverse=reverse,
        time_major=time_major,
        activation=activation,
        unroll=unroll,
        h_scale=h_scale,
    )
    if state is None:
        state = zero_state(layout.batch_shape, call.hidden, call.dtype)
    lengths, mask = checked_masking(layout, lengths, mask)
    return _run(
        params,
        xs,
        state,
        lengths=lengths,
        mask=mask,
        h_scale=None if h_scale is None else h_scale.astype(call.dtype),
        layout=layout,
        chosen=Chosen(
            call,
            choose(call, implementation).name,
            named=implementation is not None,
            unroll=unroll_of(unroll, layout, call.platform),
        ),
    )


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
      platform: one of `jaxlstm.implementations.PLATFORMS`; that of JAX's default device by default.

    Raises:
      ValueError: as `lstm`, but for what depends on the values or shapes of lengths and mask; or a platform
        that there is not.
    """
    if platform not in (None, *PLATFORMS):
        raise ValueError(f"platform: expected one of {', '.join(map(repr, PLATFORMS))}, or None, got {platform!r}")
    _, call = _checked_call(
        params,
        xs,
        state,
        lengths=lengths,
        mask=mask,
        reverse=reverse,
        time_major=time_major,
        activation=activation,
        unroll=unroll,
        h_scale=h_scale,
        platform=platform,
    )
    return choose(call, implementation)


def _checked_call(
    params: LSTMParams,
    xs: Array,
    state: LSTMState | None,
    *,
    lengths: ArrayLike | None,
    mask: ArrayLike | None,
    reverse: bool,
    time_major: bool,
    activation: Activation,
    unroll: int | None,
    h_scale: Array | None,
    platform: str | None = None,
) -> tuple[Layout, Call]:
    """How the arguments lie, and what of them decides between implementations; the masking's values are unchecked."""
    check_at_least("unroll", unroll, 1)
    check_flag("reverse", reverse)
    check_flag("time_major", time_major)
    if not callable(activation):
        raise ValueError(f"activation: expected a function such as jnp.tanh, got {activation!r}")
    masking = masking_of(lengths, mask)
    check_weights(params, LSTMParams)
    check_inputs(xs)
    check_params(params, xs)
    layout, hidden, dtype = layout_of(xs, time_major), params.w_h.shape[0], dtype_of(xs)
    shape = (*layout.batch_shape, hidden)
    if state is not None:
        check_state(state, state_like(shape, dtype), dtype)
    if h_scale is not None:
        check_shape("h_scale", h_scale, shape)
    return layout, Call(
        platform=platform or current_platform(),
        capability=current_capability(),
        devices=jax.sharding.get_abstract_mesh().size,
        dtype=dtype,
        batch=layout.batch,
        steps=layout.steps,
        inputs=xs.shape[-1],
        hidden=hidden,
        masking=masking,
        reverse=reverse,
        activation=activation,
        scaled=h_scale is not None,
        unroll=unroll,
    )


# Compiled here, so that a call outside of any `jit` does not trace and compile its scan anew.
@partial(jax.jit, static_argnames=("layout", "chosen"))
def _run(
    params: LSTMParams,
    xs: Array,
    state: LSTMState,
    *,
    lengths: Array | None,
    mask: Array | None,
    h_scale: Array | None,
    layout: Layout,
    chosen: Chosen,
) -> tuple[LSTMState, Array]:
    if lengths is not None:
        lengths = lengths.reshape(layout.batch)
    mask = flat_mask(layout, lengths, mask)
    xs = flat_inputs(layout, xs, mask)

    def run(params, over_steps, per_sequence):
        xs, mask = over_steps
        state, h_scale, lengths = per_sequence
        return walk(chosen, (params, xs, state, h_scale), (lengths, mask))

    per_sequence = (*flat_rows(layout, (state, h_scale)), None if chosen.name == "scan" else lengths)
    state, hs = on_each_device(run, params, (xs, mask), per_sequence)
    return rows_in_place(layout, state), outputs_in_place(layout, hs, mask)
