"""Whether each implementation computes on a GPU what the scan computes in float64 on the CPU."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.shapes import SHAPES, TINY, Shape
from jaxlstm import LSTMParams, LSTMState, init_lstm, lstm
from jaxlstm.implementations.pallas import MOST_ALONE

TOLERANCES = {"float32": 3e-6, "bfloat16": 2e-2, "float16": 2e-2}  # by norm
# Rounding, tanh.approx included, comes to 3.7e-3 for the sequence that is worst; the h of a step before, read by one
# block for one sequence at one step, to 6.5e-3 and more up to H = 256 (tried with the same arithmetic on a CPU). In
# float32 the rounding of TensorFloat-32 comes to 7.1e-4.
KERNEL_TOLERANCES = {"bfloat16": 5e-3, "float16": 5e-3, "float32": 1e-3}
KERNEL_RUNS = 20  # whose results are the same to the bit, unless threads race
QUICKLY = {"xla_gpu_autotune_level": 0}  # nothing is timed here


class Agreement(NamedTuple):
    """How one implementation is compared."""

    implementation: str
    dtype: str
    shape: Shape
    masking: str = "none"  # "lengths" (one of them zero), "holes" or "none"
    reverse: bool = False
    scaled: bool = False  # with an h_scale

    @property
    def name(self) -> str:
        """In a word or two."""
        kernel = "" if self.implementation != "pallas" else f" {kernel_of(self.shape.hidden, self.dtype)}"
        sizes = f"B={self.shape.batch} H={self.shape.hidden}"
        more = " reverse" * self.reverse + " scaled" * self.scaled
        return f"correct {self.implementation}{kernel} {self.dtype} {sizes} {self.masking}{more}"


def kernel_of(hidden: int, dtype: str) -> str:
    """Which of our kernels runs at a hidden size."""
    return "one_block" if hidden <= MOST_ALONE[jnp.dtype(dtype)] else "cluster"


def agreements(tiny: bool) -> Iterator[Agreement]:
    """What is compared, our kernels first."""
    small, middle = 2 * [TINY] if tiny else (Shape(20, 50, 32, 128), SHAPES["sentiment"])
    ragged = (("none", False), ("lengths", False), ("holes", False), ("lengths", True), ("holes", True))
    for masking, reverse in ragged:
        yield Agreement("pallas", "bfloat16", small, masking, reverse)
    yield Agreement("pallas", "bfloat16", small, "lengths", scaled=True)
    yield Agreement("pallas", "float16", middle)
    yield Agreement("pallas", "bfloat16", small._replace(hidden=25))
    yield Agreement("pallas", "bfloat16", middle._replace(batch=67, steps=200))
    if not tiny:
        yield Agreement("pallas", "bfloat16", small._replace(batch=2200))  # blocks of 32 sequences
        yield Agreement("pallas", "bfloat16", small._replace(hidden=256))
        yield Agreement("pallas", "bfloat16", small._replace(hidden=512), "holes", True)
        yield Agreement("pallas", "float16", small._replace(hidden=300, steps=200), "lengths", True)
        yield Agreement("pallas", "bfloat16", small._replace(hidden=512), "holes", scaled=True)
        yield Agreement("pallas", "bfloat16", small._replace(hidden=512, batch=600))  # more clusters than fit at once
        for hidden, masking, reverse in ((64, "holes", False), (128, "none", True), (256, "lengths", False)):
            yield Agreement("pallas", "float32", small._replace(hidden=hidden), masking, reverse)
        yield Agreement("pallas", "float32", small._replace(hidden=200, steps=200), "holes", scaled=True)
    for masking, reverse in ragged:
        if masking != "holes":
            yield Agreement("cudnn", "float32", small, masking, reverse)
        yield Agreement("scan", "float32", small, masking, reverse)
    yield Agreement("cudnn", "float32", middle)
    yield Agreement("scan", "bfloat16", small, "lengths", True)


def draw(shape: Shape, dtype: str) -> tuple[LSTMParams, jax.Array, LSTMState, Any]:
    """Weights, inputs, a state, and the gradients that arrive at the final state and the outputs."""
    rng = np.random.default_rng(0)
    batch, steps, inputs, hidden = shape

    def normal(*sizes: int, dtype: Any = dtype) -> jax.Array:
        return jnp.asarray(rng.standard_normal(sizes), dtype)

    params = init_lstm(jax.random.key(0), inputs, hidden, dtype=jnp.dtype(dtype))
    params = params._replace(b=params.b + 0.1 * normal(4 * hidden))
    state = LSTMState(normal(batch, hidden), normal(batch, hidden, dtype="float32"))
    d_state = LSTMState(normal(batch, hidden), normal(batch, hidden, dtype="float32"))
    return params, normal(batch, steps, inputs), state, (d_state, normal(batch, steps, hidden))


def agree(agreement: Agreement) -> dict[str, Any]:
    """The largest distance by norm over all outputs, and over all gradients.

    Our kernels are judged more strictly: by the worst sequence, and they must give the same again and again.
    """
    implementation, dtype, shape, masking, reverse, scaled = agreement
    *arrays, cotangents = draw(shape, dtype)
    rng = np.random.default_rng(1)
    options: dict[str, Any] = {"reverse": reverse}
    if masking == "lengths":
        options["lengths"] = np.append(rng.integers(1, shape.steps, shape.batch - 1), 0)
    if masking == "holes":
        options["mask"] = rng.random((shape.batch, shape.steps)) < 0.7
    if scaled:
        options["h_scale"] = np.where(rng.random((shape.batch, shape.hidden)) < 0.2, 0, 1.25).astype(np.float32)

    def both(implementation: str, arrays: Any, cotangents: Any) -> Any:
        run = partial(lstm, implementation=implementation, **options)
        outputs, pull = jax.vjp(run, *arrays)
        return outputs, pull(cotangents)

    kernel = implementation == "pallas"
    with jax.default_matmul_precision("tensorfloat32" if kernel else "highest"):
        compiled = jax.jit(both, static_argnums=0, compiler_options=QUICKLY)
        actual = jax.device_get(compiled(implementation, arrays, cotangents))
        again = [compiled(implementation, arrays, cotangents) for _ in range(KERNEL_RUNS - 1)] if kernel else []
    steady = all(same(actual, jax.device_get(other)) for other in again)
    actual = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), actual)
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (arrays, cotangents))
        expected = jax.device_get(jax.jit(both, static_argnums=0)("scan", *wide))

    def far(got: np.ndarray, want: np.ndarray) -> float:
        by_sequence = kernel and len(want) == shape.batch
        return distance_of_worst(got, want) if by_sequence else distance(got, want)

    values, gradients = (
        max(map(far, jax.tree.leaves(got), jax.tree.leaves(want))) for got, want in zip(actual, expected, strict=True)
    )
    tolerance = (KERNEL_TOLERANCES if kernel else TOLERANCES)[dtype]
    close = bool(values <= tolerance and gradients <= tolerance and steady)
    return {"values": values, "gradients": gradients, "tolerance": tolerance, "steady": steady, "close": close}


def same(a: Any, b: Any) -> bool:
    """Whether all arrays are the same to the bit."""
    return all(x.tobytes() == y.tobytes() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def distance(got: np.ndarray, want: np.ndarray) -> float:
    """Relative to the norm of what is expected."""
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def distance_of_worst(got: np.ndarray, want: np.ndarray) -> float:
    """The largest of a sequence, of B along the first axis, relative to the norm that is usual for one."""

    def norms(arrays: np.ndarray) -> np.ndarray:
        return np.linalg.norm(arrays.reshape(len(arrays), -1), axis=1)

    return float(norms(got - want).max() / norms(want).mean())
