"""How the kernels read from and write to memory, and how what the tensor cores multiply lies in it."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxlstm.implementations.pallas.arithmetic import GROUP_UNITS
from jaxlstm.implementations.pallas.interface import Options


def step_at(options: Options, s: Array, steps: int) -> Array:
    """The step that the forward walk takes as its number `s`."""
    return steps - 1 - s if options.reverse else s


def read(options: Options, ref: Any, index: tuple, layout: Any = None) -> Array:
    """Straight from memory to registers."""
    if options.interpreted:  # knows plain reads alone
        return ref[index]
    load: Any = plgpu.load
    view = (ref, index) if jax.version.__version_info__ < (0, 11) else (ref.at[index],)
    return load(*view, layout=layout, optimized=False)


def write(options: Options, ref: Any, index: tuple, value: Array) -> None:
    """From registers to memory; the N sequences of a step fill only a part of each of its lines."""
    store: Any = getattr(plgpu, "store", None)
    if options.interpreted or store is None:  # an older JAX: the plain write does what `optimized=False` says
        ref[index] = value
    else:
        store(ref.at[index], value, optimized=False)


def load_weights(options: Options, w: Any, index: tuple) -> Any:
    """A part of the weights [64, K] in registers, as the tensor cores read it, step after step.

    From shared memory they would read as much at each step: 128 bytes in a cycle, 1024 cycles for H = 128.
    """
    if options.interpreted:  # multiplies what lies in memory alone
        return w.at[index]
    return read(options, w, index, plgpu.Layout.WGMMA)


class Extras:
    """What is there for some calls only, in the memory of the device: which steps are valid, and the scale of h."""

    def __init__(self, options: Options, refs: Sequence[Any], units: Any, rows: Any):
        refs = list(refs)
        self._options, self._units, self._rows = options, units, rows
        self._valid = refs.pop(0) if options.masked else None
        self._scale = refs.pop(0) if options.scaled else None

    def valid(self, t: Array) -> Array | None:
        """Booleans [64, N] of a step, or None: every step is."""
        if self._valid is None:
            return None
        valid = read(self._options, self._valid, (t, self._rows))
        return lax.broadcast_in_dim(valid, (GROUP_UNITS, self._options.rows), (1,)) > 0

    def scale(self) -> Array | None:
        """[64, N] in float32, or None: every h is what it is."""
        if self._scale is None:
            return None
        return read(self._options, self._scale, (self._units, self._rows)).astype(jnp.float32)


def swizzled(options: Options, dtype: Any) -> tuple:
    """The pattern in shared memory that the tensor cores read; both operands of a product want the same."""
    size = options.rows * jnp.dtype(dtype).itemsize
    transforms: Any = plgpu  # whose classes are abstract to type checkers
    return transforms.TilingTransform((8, options.rows)), transforms.SwizzleTransform(size)
