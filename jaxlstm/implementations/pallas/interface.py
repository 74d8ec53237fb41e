"""What the rest asks of a module of kernels, and how they are run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.experimental.pallas import mosaic_gpu as plgpu

# Of the coefficients: half of the bytes of float32, which was most of what a kernel wrote. They are rounded by 2^-12,
# where bfloat16 would by 2^-9; they lie within -1 and 1 but for one, which grows with c, and float16 holds 65,504.
KEPT = jnp.float16


class Options(NamedTuple):
    """How the kernels walk; hashable."""

    rows: int  # N, the sequences of a block
    reverse: bool
    masked: bool  # whether some steps are not valid
    scaled: bool  # whether h is multiplied before the recurrent product
    interpreted: bool  # by JAX, on whatever machine


class Kernels(NamedTuple):
    """The two walks of a module; hashable.

    The B sequences come in blocks of N, each step of a block in one piece of memory. In the caller's dtype h and d_h
    [H, B], hs and d_hs [T, B/N, H, N] and d_z [T, B/N, 4, H, N]; in half precision w_h [P, 4, H, H], the sum of P
    parts, forward of one; in float32 z_x [T, B/N, H/64, 4, 64, N], c and d_c [H, B]. The coefficients
    [T, B/N, H/64, 6, 64, N] are of dtype KEPT and in an order that only the kernels know (`memory.keep`). The extras:
    valid [T, B] in float32 where steps are masked, scale [H, B] where h is scaled.
    """

    # (options, out_types, w_h, z_x, h, c, *extras) -> hs, h, c, and [coefficients] if asked
    forward: Callable[..., Any]
    # (options, out_types, w_h, coefficients, d_h, d_c, d_hs, *extras) -> d_z, d_h, d_c
    backward: Callable[..., Any]


def interpreter(options: Options) -> Any:
    """What `plgpu.kernel` takes as `interpret`."""
    if not options.interpreted:
        return None
    if hasattr(plgpu, "InterpretGPUParams"):
        return plgpu.InterpretGPUParams()
    from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

    return InterpretGPUParams()
