"""How a recurrence runs where its sequences are split over devices.

Each device of the mesh in force walks through its own sequences with the code for a single device, and the loop over
time holds no communication.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.sharding import PartitionSpec

AXIS = "batch"  # of the mesh: the batch is split over it
WHOLE = PartitionSpec()


def on_each_device(
    walk: Callable[[Any, Any, Any], tuple[Any, Any]], params: Any, over_steps: Any, per_sequence: Any
) -> tuple[Any, Any]:
    """`walk(params, over_steps, per_sequence)`, each device of the mesh in force with its own sequences.

    The mesh is one that has the axis "batch" (`jax.set_mesh`; `fit` does it) and divides the batch, or one of
    explicit axes, any of which split the batch of the inputs. Without such a mesh it is `walk` itself. Left to
    itself the partitioner would gather the whole batch on every device where a recurrence treats [T, B, D] as
    [T * B, D].

    Args:
      walk: runs over sequences that do not depend on each other.
      params: a pytree of arrays without a batch axis.
      over_steps: a pytree of arrays [T, B, ...].
      per_sequence: a pytree of arrays [B, ...], at least one.

    Returns:
      What `walk` returns: a pytree of arrays [B, ...] and one of arrays [T, B, ...].
    """
    mesh = jax.sharding.get_abstract_mesh()
    axes = _axes_of_batch(mesh, jax.tree.leaves(over_steps)[0])
    if not axes:
        return walk(params, over_steps, per_sequence)
    specs = (WHOLE, PartitionSpec(None, axes), PartitionSpec(axes))

    def walk_part(params: Any, over_steps: Any, per_sequence: Any) -> tuple[Any, Any]:
        # Marked as this device's own copy, so that gradients are summed over the sequences here first
        # and over the devices once, at the end: a bias would be summed while it still is [T, B, 4H].
        return walk(jax.lax.pcast(params, axes, to="varying"), over_steps, per_sequence)

    arguments: Any = (params, over_steps, per_sequence)
    if set(axes) & set(mesh.explicit_axes):  # where shardings are part of the types, they have to be those of the specs
        arguments = tuple(jax.reshard(tree, spec) for tree, spec in zip(arguments, specs, strict=True))
    split = jax.shard_map(walk_part, in_specs=specs, out_specs=(specs[2], specs[1]), axis_names=set(axes))
    return split(*arguments)


def _axes_of_batch(mesh: jax.sharding.AbstractMesh, xs: Array) -> tuple[str, ...]:
    """The axes of the mesh in force over which the batch of xs [T, B, ...] is split; none where it stays whole."""
    if AXIS in mesh.auto_axes:
        return () if xs.shape[1] % mesh.shape[AXIS] else (AXIS,)
    axes = jax.typeof(xs).sharding.spec[1] or ()  # in its type where the mesh has explicit axes
    return (axes,) if isinstance(axes, str) else tuple(axes)


def varying_like(tree: Any, like: Any) -> Any:
    """The arrays of `tree`, different on each device of a `jax.shard_map` where those of `like` are.

    What a loop carries has to vary as what its steps compute does: zeros, say, beside inputs that were split.
    """
    axes = frozenset().union(*(_varying(leaf) for leaf in jax.tree.leaves((tree, like))))

    def cast(leaf: Array) -> Array:
        missing = sorted(axes - _varying(leaf))
        return jax.lax.pcast(leaf, tuple(missing), to="varying") if missing else leaf

    return jax.tree.map(cast, tree)


def _varying(leaf: Array) -> frozenset[str]:
    return jax.typeof(leaf).manual_axis_type.varying
