"""`python -m benchmarks.checkpointing`: temporary memory and time of a training pass against `checkpoint_every`.

A pass is forward and the gradients of weights and inputs, over sequences of 4,096 steps. Every k must give the
gradients of the pass without segments. `time_ratio` is the time with k over the time without, in turns.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cells import draw
from benchmarks.command import call, check_names, check_positive
from benchmarks.flax_cells import CELLS
from benchmarks.programs import Adapter, Program, compile_jax, relative_difference, tolerance
from benchmarks.report import add_columns, console, new_table, say, show_machine
from benchmarks.results import Results, new_results, save
from benchmarks.shapes import Shape
from benchmarks.timing import in_turns, quartiles, rounded, spread
from jaxlstm.errors import UserError
from jaxlstm.scan import scan_cell


@dataclass(frozen=True)
class Options:
    """Memory and time against the length of a segment; the results go to OUT as JSON."""

    cell: str = "lstm"
    """which cell"""
    batch: int = 8
    """sequences"""
    steps: int = 4096
    """steps of each"""
    size: int = 64
    """inputs and units"""
    every: tuple[int, ...] = (4, 16, 32, 64, 128, 256, 1024)
    """the lengths of a segment"""
    rounds: int = 10
    """how often each has its turn"""
    seconds: float = 60.0
    """at the most, five rounds at the least"""
    out: Path = Path("benchmarks/out/checkpointing.json")
    """the file for the results"""


def compiled(options: Options, shape: Shape) -> dict[int | None, Program]:
    """The pass by the length of a segment; first, by None, without segments.

    Raises:
      UserError: gradients that are not those without segments.
    """
    problem, cell = draw(options.cell, shape), CELLS[options.cell].cell
    programs: dict[int | None, Program] = {}
    expected: Any = None
    for every in (None, *dict.fromkeys(options.every)):

        def apply(params: Any, xs: Any, every: int | None = every) -> Any:
            return scan_cell(cell, params, xs, checkpoint_every=every)[1]

        program = compile_jax(Adapter(lambda params: params, apply), problem, "train")
        got = program.run()
        if every is None:
            expected = got
        difference = relative_difference(got, expected)
        if not difference <= 10 * tolerance():
            raise UserError(f"k = {every}: gradients differ by {difference:.1g}")
        programs[every] = program
    return programs


def run(options: Options) -> None:
    """Measures, and writes the file.

    Raises:
      UserError: an option that cannot be used, or gradients that are not those without segments.
    """
    check_names(options, "cell", CELLS)
    check_positive(options, "batch", "steps", "size", "every", "rounds")
    results = new_results(options.out)
    show_machine(results)
    shape = Shape(options.batch, options.steps, options.size, options.size)
    programs = compiled(options, shape)
    seconds = in_turns({every: program.run for every, program in programs.items()}, options.rounds, options.seconds)
    for every, program in programs.items():
        results["rows"].append(
            {
                "cell": options.cell,
                **shape._asdict(),
                "checkpoint_every": every,
                "temporary_bytes": program.temporary_bytes,
                "milliseconds": rounded(spread(seconds[every] * 1e3).median),
                **quartiles("time_ratio", seconds[every] / seconds[None]),
            }
        )
    save(results, options.out)
    show(results)
    say(f"written: {options.out}")


def show(results: Results) -> None:
    """The table."""
    table = new_table("checkpoint_every")
    add_columns(table, "temporary MB", "ms", "time ratio", "quartiles")
    for row in results["rows"]:
        between = f"{row['time_ratio_low']:.2f} to {row['time_ratio_high']:.2f}"
        size = "" if row["temporary_bytes"] is None else f"{row['temporary_bytes'] / 1e6:.3g}"
        cells = [size, f"{row['milliseconds']:.4g}", f"{row['time_ratio']:.2f}", between]
        table.add_row(str(row["checkpoint_every"] or "none"), *cells)
    console.print(table)


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.checkpointing"))
