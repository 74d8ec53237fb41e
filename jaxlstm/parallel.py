"""Data-parallel training: one mesh of devices with one axis, "batch".

A batch [B, ...] is split along its first axis, part k on device k; parameters, and whatever else has no
batch axis, lie whole on every device. The program stays the one for a single device, losses, random
numbers and all: JAX's sharded `jit` gives each device its part and sums the gradients,

    d loss / d w = sum over the devices of what each device's part of the batch adds,

in one all-reduce for each step of the optimiser. Recurrences alone are split by hand (`jaxlstm.sharding`).
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxlstm.checks import check_at_least, is_key
from jaxlstm.sharding import AXIS, WHOLE

SPLIT = PartitionSpec(AXIS)  # [B, ...]


def make_mesh(devices: int | None = None) -> Mesh:
    """The devices to train on, for `fit(..., mesh=...)`: of every process the first `devices`, or all.

    Called before JAX is first used, it makes as many CPU devices as it is asked for; they share the cores.

    Raises:
      ValueError: `devices` is below 1, or a process has fewer.
    """
    check_at_least("devices", devices, 1)
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
        if is_key(leaf):
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
