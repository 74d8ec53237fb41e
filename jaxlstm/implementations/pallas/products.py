"""Products on the tensor cores, and when what they have added up may be read."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.mosaic import gpu as mgpu
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxlstm.implementations.pallas.arithmetic import GROUP_UNITS
from jaxlstm.implementations.pallas.interface import Options

# A product of sums of parts, by the parts of the weights and of what they multiply. Of two bfloat16 values each, the
# product of the two second parts is 2^-16 of the whole, below what TensorFloat-32 rounds away.
TERMS = {1: ((0, 0),), 2: ((0, 0), (0, 1), (1, 0))}


def parts_of(value: Array, count: int, dtype: Any) -> tuple[Array, ...]:
    """`count` values of dtype, one or two, that add up to the value."""
    first = value.astype(dtype)
    return (first,) if count == 1 else (first, (value - first.astype(jnp.float32)).astype(dtype))


def accumulated(options: Options, count: int, multiply: Callable[..., None]) -> tuple[Array, ...]:
    """`count` sums [64, N] in float32 of products, for which multiply(*accumulators) asks; waits until they are there.

    The instruction that waits does not name the registers that the tensor cores write to, so that LLVM may move what
    reads a sum, packing it for a store say, to before the wait: each passes through a barrier that LLVM respects.
    """

    def run(*accumulators: Any) -> tuple[Array, ...]:
        multiply(*accumulators)
        sums = tuple(accumulator[...] for accumulator in accumulators)
        return sums if options.interpreted else tuple(map(_after_the_wait, sums))

    return pl.run_scoped(run, *[plgpu.ACC((GROUP_UNITS, options.rows), jnp.float32)] * count)


def _after_the_wait(sums: Array) -> Array:
    layout: Any = plgpu.Layout.WGMMA
    like = plgpu.ShapeDtypeStruct(sums.shape, sums.dtype, layout=layout)

    @plgpu.inline_mgpu(arg_types=(layout,), return_type=like)
    def barrier(_, sums):
        return mgpu.optimization_barrier(sums)

    return barrier(sums)
