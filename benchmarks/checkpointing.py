"""`python -m benchmarks.checkpointing`: temporary memory and time of a training pass against `checkpoint_every`.

A pass is forward and the gradients of weights and inputs, over sequences of 4,096 steps. Every k must give the
gradients of the pass without segments. `time_ratio` is the time with k over the time without, in turns.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cells import draw
from benchmarks.command import call
from benchmarks.flax_cells import CELLS
from benchmarks.machine import describe, versions
from benchmarks.measure import rounded, tolerance
from benchmarks.programs import Adapter, Program, compile_jax, relative_difference
from benchmarks.report import add_columns, console, new_table, say, show_machine
from benchmarks.results import Results, save
from benchmarks.shapes import Shape
from benchmarks.timing import in_turns, spread
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


def run(options: Options) -> None:
    """Measures, and writes the file.

    Raises:
      UserError: an option that cannot be used, or gradients that are not those without segments.
    """
    if options.cell not in CELLS:
        raise UserError(f"--cell: expected one of {', '.join(CELLS)}, got {options.cell}")
    for name in ("batch", "steps", "size", "rounds"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}: expected at least 1, got {getattr(options, name)}")
    if min(options.every, default=1) < 1:
        raise UserError(f"--every: expected lengths of at least 1, got {min(options.every)}")
    results: Results = {"machine": describe(), "versions": versions(), "rows": []}
    show_machine(results)
    shape = Shape(options.batch, options.steps, options.size, options.size)
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
        elif not relative_difference(got, expected) <= 10 * tolerance():
            raise UserError(f"k = {every}: gradients differ by {relative_difference(got, expected):.1g}")
        programs[every] = program
    seconds = in_turns(
        {str(every): program.run for every, program in programs.items()}, options.rounds, options.seconds
    )
    for every, program in programs.items():
        time, ratio = spread(seconds[str(every)] * 1e3), spread(seconds[str(every)] / seconds[str(None)])
        results["rows"].append(
            {
                "cell": options.cell,
                **shape._asdict(),
                "checkpoint_every": every,
                "temporary_bytes": program.temporary_bytes,
                "milliseconds": rounded(time.median),
                "time_ratio": rounded(ratio.median),
                "time_ratio_low": rounded(ratio.low),
                "time_ratio_high": rounded(ratio.high),
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
        quartiles = f"{row['time_ratio_low']:.2f} to {row['time_ratio_high']:.2f}"
        size = "" if row["temporary_bytes"] is None else f"{row['temporary_bytes'] / 1e6:.3g}"
        cells = [size, f"{row['milliseconds']:.4g}", f"{row['time_ratio']:.2f}", quartiles]
        table.add_row(str(row["checkpoint_every"] or "none"), *cells)
    console.print(table)


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.checkpointing"))
