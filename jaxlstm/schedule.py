"""How the loop over time is cut: steps in one iteration, and steps whose inputs are projected at once. All measured."""

import math

from jax import Array

from jaxlstm.layout import Layout

# Up to this many steps a loop costs more than it saves: at (batch 128, steps 5, inputs 44, hidden 128)
# a training step takes 1.2 times as long with one. At 50 steps and more, unrolling by 5 loses or is even.
UNROLLED_STEPS = 8

# On a GPU a loop over thin steps takes as long as its launches do, a few microseconds each, whatever they compute, and
# each array that the loop saves is one. So there the coefficients of the derivative are computed after it, for one
# large product more; and four steps in an iteration share a counter and what is saved. At (32, 80, 128, 128) a step of
# training takes 7.5 launches instead of 14.2, counted (`python -m benchmarks.gpu_compile`), not timed. Eight steps
# would take twice as long to compile. Only where they divide T: a rest is a loop of its own, and its arrays are
# copied. On a CPU, where the loop is bound by memory, the coefficients are better computed from what the cache still
# holds, and more steps in an iteration do not pay.
GPUS = ("cuda", "rocm")
GPU_UNROLL = 4

# On a CPU the projected inputs of a long sequence cost more than their product: memory that is new at each
# call (a page fault for each 4 kB), written and read once. From 4 MiB on they are made for some 640 rows at
# a time. Measured: a forward pass at (64, 128, 256, 256) takes 0.6 times as long as with one product, at
# (16, 1024, 256, 256) 0.68 times; a training step 0.96 and 0.94 times, in 0.7 times the memory. At
# (32, 80, 128, 128) time is even within 3%, and the memory falls below Flax's. Fewer than 4 chunks, or chunks
# of fewer than 8 steps, do not pay.
WHOLE_BYTES = 2**22
CHUNK_ROWS = 640
CHUNK_STEPS = 8
CHUNKS = 4

# Of the loop of any cell, which has more to save at the end of a chunk, the same from 8 MiB on. Measured: at 4 and
# 5 MiB chunks take 1.03 to 1.10 times as long as the whole (GRU, coupled, sLSTM, peephole, layer norm); at 12 and
# 16 MiB a forward pass takes 0.99 to 1.07 times, a training step 0.68 to 0.83 times; from 32 MiB on 0.62 to 0.89 and
# 0.80 to 0.95 times, in 0.5 to 0.75 times the memory (GRU, coupled, sLSTM).
WHOLE_BYTES_OF_A_LOOP = 2**23


def unroll_of(unroll: int | None, layout: Layout, platform: str, segment: int = 0) -> int:
    """The steps that one iteration of the loop takes: what was asked for, or by default all of a short sequence.

    `segment` is the number of steps after which the loop begins anew; 0 where it does not.
    """
    if unroll is not None:
        return unroll
    if not isinstance(layout.steps, int):  # kept symbolic by `jax.export`
        return 1
    if 1 <= layout.steps <= UNROLLED_STEPS:
        return layout.steps
    return math.gcd(GPU_UNROLL, layout.steps, segment) if platform in GPUS else 1


def chunk_of(xs: Array, row_bytes: int, platform: str, whole_bytes: int = WHOLE_BYTES) -> int:
    """The steps in a chunk of xs [T, B, D]: on a CPU a divisor of T if there is one of about that size, else all.

    `row_bytes` is what one row of a step takes once it is projected; all of them may take less than `whole_bytes`.
    """
    steps, batch, _ = xs.shape
    if not (isinstance(steps, int) and isinstance(batch, int)):  # kept symbolic by `jax.export`
        return steps
    most = max(CHUNK_STEPS, CHUNK_ROWS // max(batch, 1))
    if platform != "cpu" or steps * batch * row_bytes < whole_bytes or steps < CHUNKS * most:
        return steps
    divisors = (chunk for chunk in range(most, most // 2, -1) if steps % chunk == 0)
    return next(divisors, most)
