"""What is timed on a GPU: every implementation and library at every shape, and an epoch of training."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gpu_programs import Case, jax_call, torch_call
from benchmarks.programs import PASSES
from benchmarks.shapes import SHAPES, TINY, Shape
from jaxlstm.implementations.pallas import MOST_HIDDEN

IMPORTANT = ("sentiment", "medium", "long", "large", "flashrnn")
FLOAT32 = {"precision": "highest"}
TF32 = {"precision": "tensorfloat32"}
COMMAND_BUFFERS = {"xla_gpu_enable_command_buffer": "FUSION,CUBLAS,WHILE"}
SCAN_VARIANTS: dict[str, dict[str, Any]] = {
    "no command buffers": {"compiler_options": {"xla_gpu_enable_command_buffer": ""}},
    "command buffers FUSION,WHILE": {"compiler_options": {"xla_gpu_enable_command_buffer": "FUSION,WHILE"}},
    "command buffers FUSION,CUBLAS,WHILE": {"compiler_options": COMMAND_BUFFERS},
    "double buffering": {"compiler_options": {"xla_gpu_enable_while_loop_double_buffering": True}},
    "unroll 1": {"unroll": 1},  # by default 4, where that divides T
    "unroll 2": {"unroll": 2},
    "unroll 8": {"unroll": 8},
    "unroll 8, command buffers": {"unroll": 8, "compiler_options": COMMAND_BUFFERS},
}
# Where a kernel has more blocks than fit on the GPU at once, and the products of the scan are large.
LARGE_BATCHES, LARGE_HIDDEN = (512, 4096), (128, 256, 512)
CALLS = {"jaxlstm": jax_call, "flax": jax_call, "torch": torch_call}
REPEATS = 5


def cases(tiny: bool) -> Iterator[Case]:
    """The important shapes, each with everything that computes it, and the rest; then what is asked more rarely."""
    shapes = {"sentiment": TINY} if tiny else SHAPES
    important = [name for name in IMPORTANT if name in shapes]
    rest = [name for name in shapes if name not in important]
    for names in (important, rest):
        for which in reversed(PASSES):
            for name in names:
                yield from beside_each_other(partial(Case, name, shapes[name], which), shapes[name].hidden)
    for dtype, hidden, batch in () if tiny else product(("bfloat16", "float32"), LARGE_HIDDEN, LARGE_BATCHES):
        if hidden <= MOST_HIDDEN[jnp.dtype(dtype)]:
            shape = Shape(batch, 64, hidden, hidden)
            for implementation in ("scan", "pallas"):
                yield Case(f"B={batch} H={hidden}", shape, "train", "jaxlstm", implementation, dtype)
    for which in reversed(PASSES):
        for name in (*important, *rest):
            case = partial(Case, name, shapes[name], which)
            for library, implementation in (("torch", "cudnn"), ("jaxlstm", "cudnn"), ("jaxlstm", "scan")):
                yield case(library, implementation, "float32", "float32", FLOAT32)
    for name in important[:3]:
        for variant, options in SCAN_VARIANTS.items():
            for dtype in ("float32",) if tiny else ("float32", "bfloat16"):
                yield Case(name, shapes[name], "train", "jaxlstm", "scan", dtype, variant, options)


def beside_each_other(case: Callable[..., Case], hidden: int) -> Iterator[Case]:
    """Every implementation and library, in every dtype; float32 with products of TensorFloat-32, as JAX multiplies."""
    yield case("torch", "cudnn", "bfloat16")
    yield case("torch", "cudnn", "float16")
    yield case("torch", "cudnn", "float32", "TF32", TF32)
    yield case("flax", "nn.RNN", "float32", "TF32", TF32)
    yield case("flax", "nn.RNN", "bfloat16")
    yield case("jaxlstm", "cudnn", "float32", "TF32", TF32)
    for dtype, more in (("bfloat16", ()), ("float16", ()), ("float32", ("TF32", TF32))):
        kernel = hidden <= MOST_HIDDEN[jnp.dtype(dtype)]
        if dtype != "float16" or not kernel:  # the scan takes as long in both of half precision
            yield case("jaxlstm", "scan", dtype, *more)
        if kernel:  # last: if it hangs, the others have been measured
            yield case("jaxlstm", "pallas", dtype, *more)


def measure(case: Case, turn_seconds: float, device: jax.Device | None = None) -> dict[str, Any]:
    """Milliseconds of a call on the device: the median of several turns, and its quartiles."""
    start = time.perf_counter()
    with jax.default_device(device):
        call = CALLS[case.library](case)
        call.several(1)
        first = time.perf_counter() - start
        once = call.several(3) / 3
        count = max(1, min(1000, int(turn_seconds / once)))
        seconds = [call.several(count) / count for _ in range(REPEATS)]
    low, median, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return {
        "milliseconds": round(median * 1e3, 5),
        "milliseconds_low": round(low * 1e3, 5),
        "milliseconds_high": round(high * 1e3, 5),
        "microseconds_per_step": round(median * 1e6 / case.shape.steps, 4),
        "sequences_per_second": round(case.shape.batch / median, 1),
        "calls": count * REPEATS,
        "first_call_seconds": round(first, 3),
        "temporary_bytes": call.temporary_bytes,
    }


def epoch_of_sentiment(reviews: int, device: jax.Device) -> dict[str, Any]:
    """Seconds of an epoch of training at the original settings. It needs optax."""
    from benchmarks.training import ADAM, DROPOUT, TASKS, epoch, fresh_sentiment

    task = TASKS["sentiment"]
    with jax.default_device(device):
        params = fresh_sentiment(jax.random.key(0))
        arguments = jax.device_put((params, ADAM.init(params), task.data(reviews), jax.random.key(1)), device)
        run = epoch(task, ADAM, DROPOUT, shuffle=True).lower(*arguments).compile()
        start = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        return {"seconds": round(time.perf_counter() - start, 4), "reviews": reviews, "batch": task.batch}
