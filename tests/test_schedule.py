"""How many steps make a chunk, and how many an iteration, on a CPU and on a GPU."""

import jax
import numpy as np
import pytest

from jaxlstm.layout import layout_of
from jaxlstm.schedule import chunk_of, unroll_of


@pytest.mark.parametrize(
    ("shape", "chunk"),
    [
        ((64, 128, 256, 256), 8),  # 640 rows are 10 steps; 8 divides 128
        ((16, 1024, 256, 256), 32),
        ((32, 80, 128, 128), 20),
        ((40, 211, 8, 64), 16),  # no divisor of 211 is near
        ((1, 50, 100, 25), 50),  # small enough for one product
        ((512, 20, 64, 64), 20),  # too few steps for four chunks
        ((0, 1000, 64, 64), 1000),
    ],
)
def test_chunks_on_a_cpu(shape, chunk):
    batch, steps, input_size, hidden_size = shape
    xs, row_bytes = jax.ShapeDtypeStruct((steps, batch, input_size), np.float32), 4 * hidden_size * 4
    assert chunk_of(xs, row_bytes, "cpu") == chunk
    assert chunk_of(xs, row_bytes, "cpu", steps * batch * row_bytes + 1) == steps
    assert chunk_of(xs, row_bytes, "cuda") == steps  # whatever this machine has


@pytest.mark.parametrize(
    ("steps", "segment", "on_a_cpu", "on_a_gpu"),
    [(8, 0, 8, 8), (9, 0, 1, 1), (10, 0, 1, 2), (500, 0, 1, 4), (500, 22, 1, 2), (500, 25, 1, 1)],
)
def test_unroll(steps, segment, on_a_cpu, on_a_gpu):
    layout = layout_of(jax.ShapeDtypeStruct((3, steps, 5), np.float32), time_major=False)
    assert unroll_of(None, layout, "cpu", segment) == on_a_cpu
    assert unroll_of(None, layout, "cuda", segment) == unroll_of(None, layout, "rocm", segment) == on_a_gpu
    assert unroll_of(3, layout, "cuda", segment) == 3
