"""`python -m benchmarks.cells`: every cell of jaxlstm against the same cell in Flax, and what regularisation costs.

`rows`: jaxlstm and Flax in turns, forward alone and with the gradients of weights and inputs ("train"), which must
agree; `ratio` is above 1 where jaxlstm is faster. `regularisation`: training with jaxlstm, with and without in turns,
the drawing of masks included; `ratio` is the time with it over the time without.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.command import call, check_names, check_positive
from benchmarks.flax_cells import CELLS, adapter
from benchmarks.programs import PASSES, Adapter, Problem, Program, compile_jax, relative_difference
from benchmarks.report import add_columns, console, new_table, say, show_machine
from benchmarks.results import Results, new_results, save
from benchmarks.shapes import SHAPES, Shape
from benchmarks.timing import in_turns, quartiles, rounded, spread
from jaxlstm.errors import UserError
from jaxlstm.regularise import draw_noise, weight_drop
from jaxlstm.scan import scan_cell

CHECKED = 4  # sequences on which the libraries are compared
FLOAT64_TOLERANCE = 1e-9
RATE = 0.2
REGULARISATIONS: dict[str, dict[str, Any]] = {  # the rates for `draw_noise`; of weight drop there are none
    "variational dropout": {"inputs": RATE, "recurrent": RATE},
    "zoneout": {"zoneout_h": RATE, "zoneout_c": RATE},
    "weight drop": {},
}


@dataclass(frozen=True)
class Options:
    """Times every cell; the results go to OUT as JSON."""

    cells: tuple[str, ...] = tuple(CELLS)
    """which cells"""
    regularised: tuple[str, ...] = ("lstm", "gru")
    """the cells that are timed with and without regularisation"""
    shapes: tuple[str, ...] = ("langid", "sentiment", "medium")
    """named shapes"""
    rounds: int = 20
    """how often each has its turn"""
    seconds: float = 4.0
    """for a pass of a cell at a shape at the most, five rounds at the least"""
    out: Path = Path("benchmarks/out/cells.json")
    """the file for the results"""


def draw(name: str, shape: Shape) -> Problem:
    """Fresh weights moved by normal noise, so that no library can lose a bias; inputs; the gradient at the outputs."""
    cell, rng = CELLS[name].cell, np.random.default_rng(0)

    def normal(*sizes: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(sizes), jnp.float32)

    fresh = cell.init(jax.random.key(0), shape.inputs, shape.hidden)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * normal(*leaf.shape) / max(leaf.shape) ** 0.5, fresh)
    outputs = cell.zero_state(params, (), jnp.float32).h.shape[-1]
    return Problem(params, normal(*shape[:3]), normal(shape.batch, shape.steps, outputs))


def against_flax(name: str, shape: Shape, options: Options) -> list[dict[str, Any]]:
    """Times both passes of one cell in both libraries.

    Raises:
      UserError: they do not agree.
    """
    problem = draw(name, shape)
    ours = Adapter(lambda params: params, lambda params, xs: scan_cell(CELLS[name].cell, params, xs)[1])

    def programs_for(problem: Problem, which: str) -> dict[str, Program]:
        return {
            "jaxlstm": compile_jax(ours, problem, which),
            "flax": compile_jax(adapter(name, problem.params), problem, which),
        }

    # Compared in float64, on few sequences. Layer normalisation enlarges rounding: in float32 each library is some
    # 1e-3 away from the float64 gradients at (64, 128, 256, 256), which would hide a wrong equation.
    with jax.enable_x64(True):
        few = problem._replace(xs=problem.xs[:CHECKED], d_ys=problem.d_ys[:CHECKED])
        few = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), few)
        trained = programs_for(few, "train").values()
        got, expected = (program.outputs(program.run()) for program in trained if program.outputs)
    difference = relative_difference(got, expected)
    if not difference <= FLOAT64_TOLERANCE:
        raise UserError(f"{name}: jaxlstm and Flax differ by {difference:.1g}")
    rows = []
    for which in PASSES:
        programs = programs_for(problem, which)
        seconds = in_turns({key: program.run for key, program in programs.items()}, options.rounds, options.seconds)
        rows.append(
            {
                "cell": name,
                "rival": "flax-linen",
                "pass": which,
                "milliseconds": rounded(spread(seconds["jaxlstm"] * 1e3).median),
                "rival_milliseconds": rounded(spread(seconds["flax"] * 1e3).median),
                **quartiles("ratio", seconds["flax"] / seconds["jaxlstm"]),
                "temporary_bytes": programs["jaxlstm"].temporary_bytes,
                "rival_temporary_bytes": programs["flax"].temporary_bytes,
            }
        )
    return rows


def training_step(name: str, regularisation: str | None, problem: Problem) -> Callable[[], Any]:
    """A step of one cell, compiled; the key of the masks is an argument."""
    cell = CELLS[name].cell

    @partial(jax.value_and_grad, argnums=(0, 1))
    def loss(params, xs, d_ys, key):
        noise = None
        if regularisation == "weight drop":
            params = weight_drop(key, RATE, params)
        elif regularisation is not None:
            rates = REGULARISATIONS[regularisation]
            if name == "gru":  # which has nothing but h
                rates = {rate: value for rate, value in rates.items() if rate != "zoneout_c"}
            noise = draw_noise(key, cell, params, xs.shape[:1], xs.shape[1], **rates)
        return jnp.vdot(scan_cell(cell, params, xs, noise=noise)[1], d_ys)

    arguments = (*problem, jax.random.key(1))
    compiled = jax.jit(loss).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def regularised(name: str, shape: Shape, options: Options) -> list[dict[str, Any]]:
    """Times one cell without and with every regularisation."""
    problem = draw(name, shape)
    programs = {"none": training_step(name, None, problem)}
    programs |= {regularisation: training_step(name, regularisation, problem) for regularisation in REGULARISATIONS}
    seconds = in_turns(programs, options.rounds, 2 * options.seconds)
    return [
        {
            "cell": name,
            "with": regularisation,
            "milliseconds": rounded(spread(seconds[regularisation] * 1e3).median),
            "milliseconds_without": rounded(spread(seconds["none"] * 1e3).median),
            **quartiles("ratio", seconds[regularisation] / seconds["none"]),
        }
        for regularisation in REGULARISATIONS
    ]


def show(results: Results) -> None:
    """Two tables."""
    table = new_table("shape, cell, pass")
    add_columns(table, "jaxlstm ms", "Flax ms", "ratio", "quartiles", "MB", "Flax MB")
    for row in results["rows"]:
        megabytes = (f"{row[name] / 1e6:.3g}" for name in ("temporary_bytes", "rival_temporary_bytes"))
        table.add_row(f"{row['shape']}, {row['cell']}, {row['pass']}", *_times(row, "rival_milliseconds"), *megabytes)
    console.print(table)
    table = new_table("shape, cell, with")
    add_columns(table, "ms", "ms without", "ratio", "quartiles")
    for row in results["regularisation"]:
        table.add_row(f"{row['shape']}, {row['cell']}, {row['with']}", *_times(row, "milliseconds_without"))
    console.print(table)


def _times(row: dict[str, Any], other: str) -> list[str]:
    between = f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}"
    return [f"{row['milliseconds']:.3g}", f"{row[other]:.3g}", f"{row['ratio']:.2f}", between]


def run(options: Options) -> None:
    """Measures, and writes the file after each cell.

    Raises:
      UserError: an option that cannot be used, or libraries that do not agree.
    """
    check_names(options, "cells", CELLS)
    check_names(options, "regularised", CELLS)
    check_names(options, "shapes", SHAPES)
    check_positive(options, "rounds")
    results = new_results(options.out, "regularisation")
    show_machine(results)
    for shape_name in options.shapes:
        shape = SHAPES[shape_name]
        sizes = {"shape": shape_name, **shape._asdict()}
        for name in options.cells:
            results["rows"] += [sizes | row for row in against_flax(name, shape, options)]
            save(results, options.out)
        for name in options.regularised:
            results["regularisation"] += [sizes | row for row in regularised(name, shape, options)]
            save(results, options.out)
    show(results)
    say(f"written: {options.out}")


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.cells"))
