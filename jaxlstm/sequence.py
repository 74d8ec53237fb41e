"""`lstm`: a whole sequence through the cell, with its checks, masks and directions.

Whatever the caller's layout, the recurrence sees [T, B, ...]: the batch dimensions are flattened
into one and time comes first. A masked step is one that the recurrence does not take.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import Activation, LSTMParams, LSTMState, cell_dtype, product, zero_state
from jaxlstm.recurrence import recurrence

IMPLEMENTATIONS = ("scan",)

# Up to this many steps a loop costs more than it saves: at (batch 128, steps 5, inputs 44, hidden 128)
# a training step takes 1.2 times as long with one. At 50 steps and more, unrolling by 5 loses or is even.
UNROLLED_STEPS = 8


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
        of up to 8 steps, else 1.
      h_scale: [..., H]; h_{t-1} is multiplied by it before the recurrent product, at every step:
        the mask of variational recurrent dropout (Gal & Ghahramani 2016).
      implementation: "scan", or None for the fastest that can run.

    Returns:
      The state after the last valid step walked, and the outputs ys [..., T, H]: carry first, as in
      `jax.lax.scan`.

    Raises:
      ValueError: names the argument, what was expected and what came.
    """
    _check(params, xs, state, unroll, implementation)
    time_axis = 0 if time_major else xs.ndim - 2
    steps = xs.shape[time_axis]
    batch_shape = tuple(np.delete(xs.shape[:-1], time_axis).tolist())
    hidden_size = params.w_h.shape[0]
    if state is None:
        state = zero_state(batch_shape, hidden_size, xs.dtype)
    _check_shape("state.h", state.h, (*batch_shape, hidden_size))
    _check_shape("state.c", state.c, (*batch_shape, hidden_size))
    if h_scale is not None:
        _check_shape("h_scale", h_scale, (*batch_shape, hidden_size))
        h_scale = h_scale.astype(xs.dtype)
    if unroll is None:
        # A length that `jax.export` keeps symbolic is no int.
        unroll = steps if isinstance(steps, int) and 1 <= steps <= UNROLLED_STEPS else 1
    if lengths is not None:
        if mask is not None:
            raise ValueError("lengths and mask: expected at most one of them, got both")
        lengths = _checked_lengths(lengths, batch_shape, steps)
    elif mask is not None:
        mask = _checked_mask(mask, xs.shape[:-1])
    return _run(params, xs, state, lengths, mask, h_scale, reverse, time_axis, activation, unroll)


# Compiled here, so that a call outside of any `jit` does not trace and compile its scan anew.
@partial(jax.jit, static_argnums=(6, 7, 8, 9))
def _run(params, xs, state, lengths, mask, h_scale, reverse, time_axis, activation, unroll):
    xs = jnp.moveaxis(xs, time_axis, 0)
    steps, *batch_shape, input_size = xs.shape
    batch = math.prod(batch_shape)  # named, because -1 cannot stand for a size where another is 0
    if lengths is not None:
        mask = jnp.arange(steps).reshape(-1, *[1] * len(batch_shape)) < lengths[None]
    elif mask is not None:
        mask = jnp.moveaxis(mask, time_axis, 0)
    if mask is not None:
        # A NaN in the padding would reach the weights through 0 * NaN in their gradient.
        xs = jnp.where(mask[..., None], xs, 0)
        mask = mask.reshape(steps, batch)

    flat_state, flat_scale = jax.tree.map(lambda leaf: leaf.reshape(batch, leaf.shape[-1]), (state, h_scale))
    z_x = product(xs.reshape(steps * batch, input_size), params.w_x).reshape(steps, batch, params.w_x.shape[1])
    flat_state, hs = recurrence(activation, reverse, unroll, z_x, params.w_h, params.b, flat_state, mask, flat_scale)

    ys = hs if mask is None else jnp.where(mask[..., None], hs, 0)
    ys = jnp.moveaxis(ys.reshape(steps, *batch_shape, ys.shape[-1]), 0, time_axis)
    return jax.tree.map(lambda leaf, like: leaf.reshape(like.shape), flat_state, state), ys


def _check(
    params: LSTMParams, xs: Array, state: LSTMState | None, unroll: int | None, implementation: str | None
) -> None:
    if implementation is not None and implementation not in IMPLEMENTATIONS:
        names = ", ".join(map(repr, IMPLEMENTATIONS))
        raise ValueError(f"implementation: expected one of {names}, or None, got {implementation!r}")
    if unroll is not None and unroll < 1:
        raise ValueError(f"unroll: expected at least 1, got {unroll}")
    if params.w_h.ndim != 2 or params.w_h.shape[1] != 4 * params.w_h.shape[0]:
        raise ValueError(f"params.w_h: expected shape [H, 4H], got {list(params.w_h.shape)}")
    width = params.w_h.shape[1]
    if params.w_x.ndim != 2 or params.w_x.shape[1] != width:
        raise ValueError(f"params.w_x: expected shape [D, {width}], got {list(params.w_x.shape)}")
    _check_shape("params.b", params.b, (width,))
    if xs.ndim < 2:
        raise ValueError(f"xs: expected shape [..., T, D] with at least 2 dimensions, got {list(xs.shape)}")
    if xs.shape[-1] != params.w_x.shape[0]:
        raise ValueError(
            f"xs: expected {params.w_x.shape[0]} features (params.w_x is {list(params.w_x.shape)}), "
            f"got {xs.shape[-1]} (xs is {list(xs.shape)})"
        )
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        raise ValueError(f"xs: expected a floating dtype, got {xs.dtype}; embed or one-hot encode symbols first")
    for name, leaf in zip(params._fields, params, strict=True):
        if leaf.dtype != xs.dtype:
            raise ValueError(f"params.{name}: expected the dtype of xs, {xs.dtype}, got {leaf.dtype}")
    if state is not None:
        if state.h.dtype != xs.dtype:
            raise ValueError(f"state.h: expected the dtype of xs, {xs.dtype}, got {state.h.dtype}")
        if state.c.dtype != cell_dtype(xs.dtype):
            raise ValueError(f"state.c: expected {cell_dtype(xs.dtype)} beside {xs.dtype} inputs, got {state.c.dtype}")


def _check_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {list(shape)}, got {list(array.shape)}")


def _checked_lengths(lengths: ArrayLike, batch_shape: tuple[int, ...], steps: int) -> Array:
    lengths = jnp.asarray(lengths)
    _check_shape("lengths", lengths, batch_shape)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(f"lengths: expected integers, got {lengths.dtype}")
    if not isinstance(lengths, jax.core.Tracer) and lengths.size:
        values = np.asarray(lengths)  # NumPy's own min and max: under `jit` those of JAX would be traced
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > steps:
            raise ValueError(f"lengths: expected 0 to {steps}, the steps of xs, got {low if low < 0 else high}")
    return lengths


def _checked_mask(mask: ArrayLike, shape: tuple[int, ...]) -> Array:
    mask = jnp.asarray(mask)
    _check_shape("mask", mask, shape)
    if mask.dtype != jnp.bool_:
        raise ValueError(f"mask: expected booleans, True where a step is valid, got {mask.dtype}")
    return mask
