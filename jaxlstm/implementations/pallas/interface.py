"""What the rest asks of a module of kernels, and how they are run."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax.experimental.pallas import mosaic_gpu as plgpu


class Options(NamedTuple):
    """How the kernels walk; hashable."""

    rows: int  # N, the sequences of a block
    reverse: bool
    masked: bool  # whether some steps are not valid
    scaled: bool  # whether h is multiplied before the recurrent product
    interpreted: bool  # by JAX, on whatever machine


class Kernels(NamedTuple):
    """The two walks of a module; hashable.

    With w_h [4, H, H] in half precision, z_x [4, H, T, B] and the coefficients [6, H, T, B] in float32, h and d_h
    [H, B] in half precision, c and d_c [H, B] in float32, hs and d_hs [H, T, B], d_z [4, H, T, B], and the extras:
    valid [T, B] in float32 where steps are masked, scale [H, B] in half precision where h is scaled.
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
