"""A walk over flat arrays, [T, B, N] and [B, N], by the implementation that was chosen."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlstm.cell import LSTMState, cell_dtype
from jaxlstm.implementations import Call, module_of
from jaxlstm.recurrence import Walk, recurrence
from jaxlstm.schedule import GPUS, chunk_of
from jaxlstm.sharding import varying_like

Result = tuple[LSTMState, Array]  # the state after the walk, and hs [T, B, H]


class Chosen(NamedTuple):
    """How a call runs; hashable."""

    call: Call
    name: str  # of the implementation
    named: bool  # by the caller, who is told what it cannot do
    unroll: int  # of the scan


def walk(chosen: Chosen, inputs: Any, fixed: Any) -> Result:
    """The walk.

    Args:
      inputs: (params, xs [T, B, D], state [B, H], h_scale [B, H] or None), which have derivatives.
      fixed: (lengths [B], mask [T, B]) or None in their places.
    """
    if chosen.name == "scan":
        return _by_scan(chosen, inputs, fixed)
    # In the interpreter a kernel has effects, which `kernel_or_scan` does not carry.
    if chosen.named or chosen.call.platform == "interpreter":
        return _by_kernel(chosen, inputs, fixed)
    from jaxlstm.implementations.fallback import kernel_or_scan  # with the kernels, where one is taken

    kernel, scan, larger = (partial(way, chosen) for way in (_by_kernel, _by_scan, _of_larger_batch))
    return kernel_or_scan(kernel, scan, larger, inputs, fixed, chosen.call.platform)


def _by_kernel(chosen: Chosen, inputs: Any, fixed: Any) -> Result:
    params, xs, state, h_scale = inputs
    lengths, mask = fixed
    return module_of(chosen.name).run(chosen.call, params, xs, state, lengths, mask, h_scale)


def _by_scan(chosen: Chosen, inputs: Any, fixed: Any) -> Result:
    params, xs, state, h_scale = inputs
    _, mask = fixed
    call = chosen.call
    how = Walk(
        activation=call.activation,
        reverse=call.reverse,
        unroll=chosen.unroll,
        chunk=chunk_of(xs, params.b.size * cell_dtype(call.dtype).itemsize, call.platform),
        linearised_after=call.platform in GPUS,
    )
    return recurrence(how, params, xs, varying_like(state, (params, xs, mask, h_scale)), mask, h_scale)


def _of_larger_batch(chosen: Chosen, size: int, inputs: Any, fixed: Any, axes: Any) -> Result | None:
    """What `vmap` asks for, `size` times the batch, as a walk over one batch; None where the parameters differ.

    Arrays that are mapped over have that axis first; `axes` are True for these. The results have it first.
    """
    (of_params, of_xs, of_state, of_scale), (of_lengths, of_mask) = axes
    if any(jax.tree.leaves(of_params)) or not size * chosen.call.batch:
        return None

    def joined(tree: Any, mapped: Any, axis: int) -> Any:
        def join(array: Array, is_mapped: bool) -> Array:
            array = array if is_mapped else jnp.broadcast_to(array, (size, *array.shape))
            array = jnp.moveaxis(array, 0, axis)
            return array.reshape(*array.shape[:axis], -1, *array.shape[axis + 2 :])

        return jax.tree.map(join, tree, mapped)

    params, xs, state, h_scale = inputs
    lengths, mask = fixed
    larger = chosen._replace(call=chosen.call._replace(batch=size * chosen.call.batch))
    new, hs = walk(
        larger,
        (params, joined(xs, of_xs, 1), joined(state, of_state, 0), joined(h_scale, of_scale, 0)),
        (joined(lengths, of_lengths, 0), joined(mask, of_mask, 1)),
    )
    new = jax.tree.map(lambda leaf: leaf.reshape(size, -1, leaf.shape[-1]), new)
    return new, jnp.moveaxis(hs.reshape(len(hs), size, -1, hs.shape[-1]), 1, 0)
