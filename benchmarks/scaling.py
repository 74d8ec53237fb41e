"""`python -m benchmarks.scaling`: a training step on one device and on more, the batch split over them.

A step is what `fit` compiles: forward, gradients of the weights, their sum over the devices, one update.
All numbers of devices are timed in turns in one process, whose CPU devices share its cores; one device
is the program without a mesh, which has all cores. `speedup` is the median over the rounds of the ratio in each
to the first number of devices given, `speedup_low` and `speedup_high` are its quartiles.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from rich.table import Table

from benchmarks.command import call, check_names, check_positive
from benchmarks.memory import DoesNotFitError, check_fits, training_bytes
from benchmarks.ours import mesh_of
from benchmarks.programs import Problem, draw_problem, relative_difference
from benchmarks.report import console, say
from benchmarks.results import Results, new_results, save
from benchmarks.shapes import SHAPES, Shape
from benchmarks.timing import in_turns, quartiles, rounded
from jaxlstm import LSTMParams, lstm, parallel
from jaxlstm.errors import UserError

TOLERANCE = 1e-5  # relative to the largest entry: what summing in another order may change
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Options:
    """Times a training step on one device and on more; the results go to OUT as JSON."""

    shapes: tuple[str, ...] = ("sentiment", "medium", "long")
    """named shapes"""
    devices: tuple[int, ...] = (1, 2)
    """numbers of devices; the first is what the others are compared with"""
    rounds: int = 30
    """how often each has its turn"""
    seconds: float = 12.0
    """for a shape at the most, five rounds at the least"""
    out: Path = Path("benchmarks/out/scaling.json")
    """the file for the results"""


def training_step(mesh: Mesh | None) -> Callable[[LSTMParams, Array, Array], tuple[LSTMParams, Array]]:
    """(params, xs [B, T, D], targets [B, T, H]) -> updated params, loss."""

    def loss_of(params: LSTMParams, xs: Array, targets: Array) -> Array:
        return jnp.mean(jnp.square(lstm(params, xs)[1] - targets))

    def step(params: LSTMParams, xs: Array, targets: Array) -> tuple[LSTMParams, Array]:
        xs, targets = parallel.split((xs, targets), mesh)
        loss, gradients = jax.value_and_grad(loss_of)(params, xs, targets)
        return jax.tree.map(lambda w, d_w: w - LEARNING_RATE * d_w, params, gradients), loss

    return parallel.compiled(step, mesh)


def prepare(problem: Problem, devices: int) -> Callable[[], Any]:
    """The step on that many devices, ready to run, its data in place."""
    mesh = mesh_of(devices)
    step = training_step(mesh)
    params = parallel.replicate(problem.params, mesh)
    xs, targets = parallel.feed((problem.xs, problem.d_ys), mesh)
    return lambda: jax.block_until_ready(step(params, xs, targets))


def measure(results: Results, name: str, shape: Shape, options: Options) -> None:
    """Adds a row for each number of devices.

    Raises:
      DoesNotFitError: the shape does not fit in memory.
      UserError: the devices do not divide the batch, or gave something else than the first number of them.
    """
    for count in options.devices:
        if shape.batch % count:
            raise UserError(f"--devices: expected divisors of {shape.batch}, the batch of {name}, got {count}")
    check_fits(len(options.devices) * training_bytes(shape))
    problem = draw_problem(shape)
    programs = {count: prepare(problem, count) for count in options.devices}
    first, *others = programs
    expected = jax.tree.map(np.asarray, programs[first]())
    for count in others:
        difference = relative_difference(jax.tree.map(np.asarray, programs[count]()), expected)
        if not difference <= TOLERANCE:
            raise UserError(f"{name}: {count} devices gave other parameters than {first}, by {difference:.1g}")
    seconds = in_turns(programs, options.rounds, options.seconds)
    for count, values in seconds.items():
        milliseconds = quartiles("milliseconds", values * 1e3)
        results["rows"].append(
            {
                "shape": name,
                **shape._asdict(),
                "devices": count,
                "rounds": len(values),
                **milliseconds,
                "sequences_per_second": rounded(1e3 * shape.batch / milliseconds["milliseconds"]),
                **quartiles("speedup", seconds[first] / values),
            }
        )


def show(results: Results) -> None:
    """The table."""
    table = Table("batch, steps, inputs, hidden", "devices", "ms", "sequences/s", "speedup", "quartiles")
    for row in results["rows"]:
        table.add_row(
            f"{row['shape']}: {row['batch']}, {row['steps']}, {row['inputs']}, {row['hidden']}",
            str(row["devices"]),
            f"{row['milliseconds']:.4g}",
            f"{row['sequences_per_second']:.4g}",
            f"{row['speedup']:.3g}",
            f"{row['speedup_low']:.3g} to {row['speedup_high']:.3g}",
        )
    console.print(table)


def run(options: Options) -> None:
    """Measures, and writes the file after each shape.

    Raises:
      UserError: an option that cannot be used, or devices that do not agree.
    """
    check_names(options, "shapes", SHAPES)
    check_positive(options, "devices", "rounds")
    if not options.devices:
        raise UserError("--devices: expected one number at least")
    mesh_of(max(options.devices))  # before JAX is first used: it makes the CPU devices
    results = new_results(options.out)
    for name in options.shapes:
        try:
            measure(results, name, SHAPES[name], options)
        except DoesNotFitError as error:
            say(f"{name}: skipped, {error}")
            continue
        save(results, options.out)
    show(results)
    say(f"written: {options.out}")


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.scaling"))
