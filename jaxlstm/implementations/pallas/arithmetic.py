"""A step of the recurrence on what a group of 128 threads holds in registers: [64 hidden units, N sequences].

Also how the kernels read, and their interpreter; and `How` and `Kernels`, what the rest asks of them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.pallas import mosaic_gpu as plgpu

GROUP_UNITS = 64  # hidden units of a group: the rows of one instruction of the tensor cores


class How(NamedTuple):
    """How the kernels walk; hashable."""

    rows: int  # N, the sequences of a block
    reverse: bool
    interpreted: bool  # by JAX, on whatever machine


class Kernels(NamedTuple):
    """The two walks of a module; hashable.

    With w_h [4, H, H] in half precision, z_x [4, H, T, B] and the coefficients [6, H, T, B] in float32, h and d_h
    [H, B] in half precision, c and d_c [H, B] in float32, hs and d_hs [H, T, B], d_z [4, H, T, B], and, where steps
    are masked, valid [T, B] in float32:
    """

    forward: Callable[..., Any]  # (how, out_types, w_h, z_x, h, c, [valid]) -> hs, h, c, and [coefficients] if asked
    backward: Callable[..., Any]  # (how, out_types, w_h, coefficients, d_h, d_c, d_hs, [valid]) -> d_z, d_h, d_c


def advance(z: tuple[Array, ...], c_old: Array) -> tuple[Array, Array, tuple[Array, ...]]:
    """h and c of a step from z of the four gates, and what their tangents are multiplied by.

    These are the coefficients of `jaxlstm.recurrence`: dz_i, dz_f and dz_g into dc, dz_o into dh, dc_{t-1}
    into dc, dc into dh. Where nobody uses them the compiler drops them.
    """
    i, f, g, o = _sigmoid(z[0]), _sigmoid(z[1]), jnp.tanh(z[2]), _sigmoid(z[3])
    c = f * c_old + i * g
    phi_c = jnp.tanh(c)
    by = (g * i * (1 - i), c_old * f * (1 - f), i * (1 - g * g), phi_c * o * (1 - o), f, o * (1 - phi_c * phi_c))
    return o * phi_c, c, by


def retreat(by: tuple[Array, ...], d_h: Array, d_c: Array) -> tuple[tuple[Array, ...], Array]:
    """dz of the four gates, and dc before the step, from dh and dc after it."""
    by_i, by_f, by_g, by_o, by_c, by_h = by
    d_c += by_h * d_h
    return (by_i * d_c, by_f * d_c, by_g * d_c, by_o * d_h), by_c * d_c


def _sigmoid(z: Array) -> Array:
    return 0.5 * jnp.tanh(0.5 * z) + 0.5


def step_at(how: How, s: Array, steps: int) -> Array:
    """The step that the forward walk takes as its number `s`."""
    return steps - 1 - s if how.reverse else s


def read(how: How, ref: Any, index: tuple, layout: Any = None) -> Array:
    """Straight from memory to registers."""
    if how.interpreted:  # knows plain reads alone
        return ref[index]
    load: Any = plgpu.load
    view = (ref, index) if jax.version.__version_info__ < (0, 11) else (ref.at[index],)
    return load(*view, layout=layout, optimized=False)


def keep(how: How, w: Any, index: tuple) -> Any:
    """A part of the weights [64, K] in registers, as the tensor cores read it, step after step.

    From shared memory they would read as much at each step: 128 bytes in a cycle, 1024 cycles for H = 128.
    """
    if how.interpreted:  # multiplies what lies in memory alone
        return w.at[index]
    return read(how, w, index, plgpu.Layout.WGMMA)


def read_valid(how: How, valid: Any, t: Array, rows: Any) -> Array | None:
    """Booleans [64, N] of a step, or None where every step is valid."""
    if valid is None:
        return None
    return lax.broadcast_in_dim(read(how, valid, (t, rows)), (GROUP_UNITS, how.rows), (1,)) > 0


def where(valid: Array | None, new: Array, old: Array) -> Array:
    """`new` where the step is valid."""
    return new if valid is None else jnp.where(valid, new, old)


def swizzled(how: How, dtype: Any) -> tuple[Any, Any]:
    """The pattern in shared memory that the tensor cores read; both operands of a product want the same."""
    size = how.rows * jnp.dtype(dtype).itemsize
    return plgpu.TilingTransform((8, how.rows)), plgpu.SwizzleTransform(size)


def interpreter(how: How) -> Any:
    """What `plgpu.kernel` takes as `interpret`."""
    if not how.interpreted:
        return None
    if hasattr(plgpu, "InterpretGPUParams"):
        return plgpu.InterpretGPUParams()
    from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

    return InterpretGPUParams()
