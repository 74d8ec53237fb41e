"""What is timed: one pass of one library at one shape, compiled and ready to run.

A pass gets xs [B, T, D] and, where it trains, the gradient that arrives at ys [B, T, H]; every
library gets the same ones in this layout, and gives back

    forward    ys
    train      ys, and the gradients of its weights and of xs

To be compared, the gradients of the weights are taken back into jaxlstm's layout through the
derivative of the conversion, so that no library needs a conversion back. Compiling is timed apart,
and the memory that a compiled pass needs is known before it first runs.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from benchmarks.memory import check_fits, temporary_bytes
from benchmarks.shapes import Shape
from jaxlstm import LSTMParams, init_lstm

PASSES = ("forward", "train")
DTYPE = np.dtype("float32")
TOLERANCE = 1e-5  # of two libraries, relative to the largest entry
GPU_TOLERANCE = 5e-3  # where products of float32 are rounded to TensorFloat-32 by default


class Problem(NamedTuple):
    """The weights and data that all libraries share at one shape."""

    params: LSTMParams
    xs: Array  # [B, T, D]
    d_ys: Array  # [B, T, H], the gradient that arrives at the outputs


class Program(NamedTuple):
    """One pass, ready to run."""

    run: Callable[[], Any]  # runs it and waits for the result
    first_call_seconds: float  # tracing and compiling, or the first call where nothing is compiled
    temporary_bytes: int | None  # None where the library cannot say
    outputs: Callable[[Any], Any] | None  # from its result, what all libraries must agree on; see below


class Adapter(NamedTuple):
    """How a library written in JAX computes the layer."""

    convert: Callable[[LSTMParams], Any]  # the same weights in the library's own form, any pytree
    apply: Callable[[Any, Array], Array]  # (those weights, xs [B, T, D]) -> ys [B, T, H]


def draw_problem(shape: Shape, seed: int = 0) -> Problem:
    """Weights as `init_lstm` makes them, with a bias that is not zero so that no library can lose it."""
    key_params, key_b, key_xs, key_d_ys = jax.random.split(jax.random.key(seed), 4)
    params = init_lstm(key_params, shape.inputs, shape.hidden, dtype=DTYPE)
    params = params._replace(b=params.b + 0.1 * jax.random.normal(key_b, params.b.shape, DTYPE))
    xs = jax.random.normal(key_xs, (shape.batch, shape.steps, shape.inputs), DTYPE)
    d_ys = jax.random.normal(key_d_ys, (shape.batch, shape.steps, shape.hidden), DTYPE)
    return Problem(params, xs, d_ys)


def pass_of(
    which: str, apply: Callable[[Any, Array], Array], weights: Any, xs: Array, d_ys: Array
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A pass of a JAX library as a function, and its arguments."""

    def forward(weights, xs):
        return apply(weights, xs)

    def train(weights, xs, d_ys):
        ys, back = jax.vjp(apply, weights, xs)
        return ys, back(d_ys)

    return (forward, (weights, xs)) if which == "forward" else (train, (weights, xs, d_ys))


def compile_jax(adapter: Adapter, problem: Problem, which: str) -> Program:
    """A pass of a JAX library, compiled ahead of time.

    Raises:
      DoesNotFitError: it needs more memory than is free.
    """
    weights, pull_back = jax.vjp(adapter.convert, problem.params)
    function, arguments = pass_of(which, adapter.apply, weights, problem.xs, problem.d_ys)
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    analysis = compiled.memory_analysis()
    if analysis is not None:
        check_fits(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)

    def outputs(result):
        if which == "forward":
            return result
        ys, (d_weights, d_xs) = result
        return ys, pull_back(d_weights)[0], d_xs

    return Program(
        run=lambda: jax.block_until_ready(compiled(*arguments)),
        first_call_seconds=seconds,
        temporary_bytes=temporary_bytes(compiled),
        outputs=outputs,
    )


def tolerance() -> float:
    """How far two libraries may differ here."""
    return GPU_TOLERANCE if jax.default_backend() == "gpu" else TOLERANCE


def relative_difference(got: Any, expected: Any) -> float:
    """The largest difference of two pytrees of arrays, relative to the largest entry of each array."""
    differences = [0.0]
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if a.shape != b.shape:
            return float("inf")
        difference = np.abs(a - b).max() / np.abs(b).max()
        differences.append(float(difference) if np.isfinite(difference) else float("inf"))
    return max(differences)
