"""Whether each implementation computes on a GPU what the scan computes in float64 on the CPU."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.shapes import SHAPES, TINY, Shape
from jaxlstm import LSTMParams, LSTMState, init_lstm, lstm

TOLERANCES = {"float32": 3e-6, "bfloat16": 2e-2, "float16": 2e-2}  # by norm


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
        more = " reverse" * self.reverse + " scaled" * self.scaled
        return f"correct {self.implementation} {self.dtype} H={self.shape.hidden} {self.masking}{more}"


def agreements(tiny: bool) -> Iterator[Agreement]:
    """What is compared, the kernel first."""
    small, middle = 2 * [TINY] if tiny else (Shape(20, 50, 32, 128), SHAPES["sentiment"])
    ragged = (("none", False), ("lengths", False), ("holes", False), ("lengths", True), ("holes", True))
    for masking, reverse in ragged:
        yield Agreement("pallas", "bfloat16", small, masking, reverse)
    yield Agreement("pallas", "bfloat16", small, "lengths", scaled=True)
    yield Agreement("pallas", "float16", middle)
    yield Agreement("pallas", "bfloat16", small._replace(hidden=25))
    yield Agreement("pallas", "bfloat16", middle._replace(batch=67, steps=200))
    if not tiny:  # the kernel of a cluster of blocks
        yield Agreement("pallas", "bfloat16", small._replace(hidden=256))
        yield Agreement("pallas", "bfloat16", small._replace(hidden=512), "holes", True)
        yield Agreement("pallas", "float16", small._replace(hidden=300, steps=200), "lengths", True)
        yield Agreement("pallas", "bfloat16", small._replace(hidden=512), "holes", scaled=True)
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
    """The largest distance by norm over all outputs, and over all gradients."""
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

    with jax.default_matmul_precision("highest"):
        actual = jax.jit(both, static_argnums=0)(implementation, arrays, cotangents)
    actual = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), actual)
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (arrays, cotangents))
        expected = jax.jit(both, static_argnums=0)("scan", *wide)
    values, gradients = (
        max(map(distance, jax.tree.leaves(got), jax.tree.leaves(want)))
        for got, want in zip(actual, expected, strict=True)
    )
    tolerance = TOLERANCES[dtype]
    close = bool(values <= tolerance and gradients <= tolerance)
    return {"values": values, "gradients": gradients, "tolerance": tolerance, "close": close}


def distance(got: Any, want: Any) -> float:
    """Relative to the norm of what is expected."""
    return float(np.linalg.norm(got - np.asarray(want)) / np.linalg.norm(want))
