"""Data-parallel training: one mesh of devices with one axis, "batch".

A batch [B, ...] is split along its first axis, part k on device k; parameters, and whatever else has no
batch axis, lie whole on every device. The program stays the one for a single device, losses, random
numbers and all: JAX's sharded `jit` gives each device its part and sums the gradients,

    d loss / d w = sum over the devices of what each device's part of the batch adds,

in one all-reduce for each step of the optimiser. Recurrences alone are split by hand (`on_each_device`):
within one, a device walks through its own sequences with the code for a single device, and the loop over
time holds no communication.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "batch"
WHOLE = PartitionSpec()
SPLIT = PartitionSpec(AXIS)  # [B, ...]


def make_mesh(devices: int | None = None) -> Mesh:
    """The devices to train on, for `fit(..., mesh=...)`: of every process the first `devices`, or all.

    Called before JAX is first used, it makes as many CPU devices as it is asked for; they share the cores.

    Raises:
      ValueError: `devices` is below 1, or a process has fewer.
    """
    if devices is not None and devices < 1:
        raise ValueError(f"devices: expected at least 1, got {devices}")
    if devices is not None and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # JAX has started: the devices are those that it has
            jax.config.update("jax_num_cpu_devices", devices)
    chosen = []
    for process in range(jax.process_count()):
        own = sorted((device for device in jax.devices() if device.process_index == process), key=lambda d: d.id)
        if devices is not None and devices > len(own):
            raise ValueError(f"devices: expected at most {len(own)}, what JAX has started with, got {devices}")
        chosen += own[:devices]
    return Mesh(np.array(chosen), (AXIS,), axis_types=(AxisType.Auto,))


def automatic(mesh: Mesh | None) -> Mesh | None:
    """The mesh with its axis left to JAX's partitioner; `jax.make_mesh` makes it explicit, part of each type.

    Raises:
      ValueError: another axis than "batch", or more than one.
    """
    if mesh is None:
        return None
    if mesh.axis_names != (AXIS,):
        raise ValueError(f"mesh: expected one axis, {AXIS!r}, got {', '.join(map(repr, mesh.axis_names))}")
    return Mesh(mesh.devices, (AXIS,), axis_types=(AxisType.Auto,))


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
    if mesh.explicit_axes:  # where shardings are part of the types, they have to be those of the specs
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


def compiled(function: Callable[..., Any], mesh: Mesh | None) -> Callable[..., Any]:
    """`jax.jit`, with the mesh in force and every output whole on every device; plain without a mesh."""
    if mesh is None:
        return jax.jit(function)
    jitted = jax.jit(function, out_shardings=NamedSharding(mesh, WHOLE))

    def call(*arguments: Any) -> Any:
        with jax.set_mesh(mesh):
            return jitted(*arguments)

    return call


def split(batch: Any, mesh: Mesh | None) -> Any:
    """Inside of `compiled`: each device computes its own part of a pytree of arrays [B, ...]; a scalar stays whole.

    Raises:
      ValueError: the devices do not divide B.
    """
    if mesh is None:
        return batch
    check_batch(batch, mesh.size, mesh.size)
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, _sharding(leaf, mesh)), batch)


def feed(batch: Any, mesh: Mesh | None) -> Any:
    """Host arrays [B, ...] to the devices, part by part; each process gives the rows of its own devices.

    A scalar, the same in every process, goes whole to each device.

    Raises:
      ValueError: the devices of this process do not divide its rows.
    """
    if mesh is None:
        return batch
    check_batch(batch, len(mesh.local_devices), mesh.size)
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(_sharding(leaf, mesh), np.asarray(leaf)), batch
    )


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """Arrays, the same in every process, whole on every device of the mesh."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, WHOLE)

    def put(leaf: Any) -> Array:
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(put, tree)


def local(tree: Any, mesh: Mesh | None) -> Any:
    """What `replicate` or `compiled` gave, as ordinary arrays on one device of this process."""
    return tree if mesh is None else jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def check_batch(batch: Any, parts: int, devices: int) -> None:
    """Raises ValueError unless every array [B, ...] of `batch` has rows for `parts` equal parts, `devices` in all."""
    for leaf in jax.tree.leaves(batch):
        if np.ndim(leaf) and leaf.shape[0] % parts:
            rows = leaf.shape[0] * devices // parts
            raise ValueError(f"batch size: expected a multiple of {devices}, the number of devices, got {rows}")


def _sharding(leaf: Any, mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, SPLIT if np.ndim(leaf) else WHOLE)
