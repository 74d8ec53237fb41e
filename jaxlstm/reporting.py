"""What a run shows in the terminal: the parameter table, a progress bar, the result beside the original."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from jaxlstm.runs import count_parameters
from jaxlstm.training import Row

console = Console()
VALIDATION = "validation_"  # what the names of such metrics begin with
LOG_SECONDS = 30  # between two lines about training, where there is no terminal to draw a bar in


def show_parameters(title: str, params: Any) -> None:
    """A table of every array, its shape, dtype and size, with the total."""
    table = Table("parameter", "shape", "dtype", "entries", title=title, show_footer=True)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        table.add_row(name, " x ".join(map(str, leaf.shape)), str(leaf.dtype), f"{leaf.size:,}")
    table.columns[0].footer = "total"
    table.columns[3].footer = f"{count_parameters(params):,}"
    table.columns[3].justify = "right"
    console.print(table)


def show_result(result: dict[str, Any]) -> None:
    """What was measured, beside the original where there is one; `result` is what `Run.finish` returns."""
    table = Table("figure", "measured", title=f"{result['system']}: {result['seconds']:.1f} s of training")
    if result["original"]:
        table.add_column("original")
    for name, value in result["metrics"].items():
        original = result["original"].get(name)
        cells = [f"{value:.5g}", "not reported" if original is None else f"{original:.5g}"]
        table.add_row(name, *cells[: len(table.columns) - 1])
    console.print(table)


def show_unknown(unknown: np.ndarray, things: str) -> None:
    """How many of the `things` that a model has read are `unknown` to it, booleans [n]; nothing if it knows all."""
    if unknown.any():
        console.print(f"{unknown.sum()} of the {unknown.size} {things} that it has read are unknown to it")


@contextmanager
def progress(title: str, epochs: int) -> Iterator[Callable[[list[Row]], None]]:
    """A bar over the epochs, or in a log lines; the function it hands out is `fit`'s `on_epochs`."""
    with (_bar if console.is_terminal else _lines)(title, epochs) as update:
        yield update


@contextmanager
def _bar(title: str, epochs: int) -> Iterator[Callable[[list[Row]], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[time]}"),
        TextColumn("{task.fields[metrics]}", table_column=Column(overflow="fold")),  # on more lines in little room
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=epochs, metrics="compiling", time="left")

        def update(rows: list[Row]) -> None:
            shown = metrics_line(rows[-1]) if rows else "compiling"
            bar.update(task, completed=len(rows), metrics=shown, time="left" if len(rows) < epochs else "")

        yield update


@contextmanager
def _lines(title: str, epochs: int) -> Iterator[Callable[[list[Row]], None]]:
    """At most one in LOG_SECONDS, and one for the last epoch."""
    start = said = time.monotonic()
    untold: list[Row] = []

    def tell() -> None:
        nonlocal said, untold
        said = time.monotonic()
        line = f"{title}  {len(untold)}/{epochs}  {said - start:.0f} s  {metrics_line(untold[-1])}"
        console.print(line, markup=False, soft_wrap=True)
        untold = []

    def update(rows: list[Row]) -> None:
        nonlocal untold
        untold = rows
        if rows and time.monotonic() - said >= LOG_SECONDS:
            tell()

    try:
        yield update
    finally:
        if untold:
            tell()


def metrics_line(row: Row) -> str:
    """The metrics of an epoch in few characters, those of validation in brackets behind those of training."""
    names = dict.fromkeys(name.removeprefix(VALIDATION) for name in row if name != "epoch")
    parts = []
    for name in names:
        values = [f"{row[name]:.4g}"] if name in row else []
        values += [f"({row[VALIDATION + name]:.4g})"] if VALIDATION + name in row else []
        parts.append(" ".join([name, *values]))
    return "  ".join([*parts, "(validation)"] if any(name.startswith(VALIDATION) for name in row) else parts)
