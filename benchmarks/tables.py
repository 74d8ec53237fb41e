"""`python -m benchmarks.tables`: the tables of README.md and docs/, made from the files in `benchmarks/results`.

Printed as Markdown, to paste into the pages; a test checks that the pages show them.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from benchmarks.programs import PASSES
from benchmarks.report import digits
from benchmarks.shapes import SHAPES

RESULTS = Path(__file__).parent / "results"
NAMES = {
    "flax-linen": "Flax linen",
    "flax-nnx": "Flax NNX",
    "haiku": "Haiku",
    "equinox": "Equinox",
    "keras": "Keras",
    "torch": "PyTorch",
    "floor": "bare products",
    "jaxlstm": "jaxlstm",
}

Rows = list[dict[str, Any]]


def against_rivals(file: str, which: str) -> str:
    """Time and ratios of one pass, a row for each shape and one for their geometric means."""
    rows = [row for row in _rows(file) if row["pass"] == which]
    rivals = _distinct(rows, "rival")
    lines = [["batch, steps, inputs, hidden", "jaxlstm", *(NAMES[rival] for rival in rivals)]]
    for shape in _distinct(rows, "shape"):
        here = {row["rival"]: row for row in rows if row["shape"] == shape}
        time = digits(here[rivals[0]]["milliseconds"])
        lines.append([_sizes(shape), f"{time} ms", *(f"{here[rival]['ratio']:.2f}" for rival in rivals)])
    lines.append(["geometric mean", "", *(f"{_mean(rows, rival):.2f}" for rival in rivals)])
    return _markdown(lines)


def end_to_end() -> str:
    """Whole training beside Keras."""
    lines = [["training", "jaxlstm", "Keras", "ratio", "quartiles"]]
    for row in _rows("cpu_end_to_end.json"):
        ratio = [f"{row['ratio']:.3g}", f"{row['ratio_low']:.3g} to {row['ratio_high']:.3g}"]
        lines.append([row["task"], f"{digits(row['seconds'])} s", f"{digits(row['rival_seconds'])} s", *ratio])
    return _markdown(lines)


def cells(which: str) -> str:
    """One pass of every cell against the same cell in Flax."""
    rows = [row for row in _rows("cpu_cells.json") if row["pass"] == which]
    shapes = _distinct(rows, "shape")
    lines = [["cell", *map(_sizes, shapes)]]
    for cell in _distinct(rows, "cell"):
        here = {row["shape"]: row for row in rows if row["cell"] == cell}
        lines.append([cell, *(f"{digits(here[s]['milliseconds'])} ms, {here[s]['ratio']:.2f}" for s in shapes)])
    return _markdown(lines)


def regularisation() -> str:
    """The time of a step with each over the time without."""
    rows = _rows("cpu_cells.json", "regularisation")
    columns = [(cell, shape) for cell in _distinct(rows, "cell") for shape in _distinct(rows, "shape")]
    lines = [["with", *(f"{cell}, {_sizes(shape)}" for cell, shape in columns)]]
    for name in _distinct(rows, "with"):
        here = {(row["cell"], row["shape"]): row["ratio"] for row in rows if row["with"] == name}
        lines.append([name, *(f"{here[column]:.2f}" for column in columns)])
    return _markdown(lines)


def checkpointing() -> str:
    """Memory and time against the length of a segment."""
    lines = [["checkpoint_every", "temporary memory", "time", "over the time without", "quartiles"]]
    for row in _rows("cpu_checkpointing.json"):
        memory, time = f"{row['temporary_bytes'] / 1e6:.3g} MB", f"{digits(row['milliseconds'])} ms"
        ratio = [f"{row['time_ratio']:.2f}", f"{row['time_ratio_low']:.2f} to {row['time_ratio_high']:.2f}"]
        lines.append([str(row["checkpoint_every"]), memory, time, *ratio])
    return _markdown(lines)


def dropin() -> str:
    """A model of Flax with its own RNN and with ours."""
    lines = [["in place of the RNN of", "batch, steps, inputs, hidden", "forward", "forward and backward"]]
    rows = _rows("cpu_dropin.json")
    for rival in _distinct(rows, "rival"):
        for shape in _distinct(rows, "shape"):
            here = {row["pass"]: row["ratio"] for row in rows if (row["rival"], row["shape"]) == (rival, shape)}
            lines.append([NAMES[rival], _sizes(shape), f"{here['forward']:.2f}", f"{here['train']:.2f}"])
    return _markdown(lines)


def latency() -> str:
    """One step of one stream."""
    rows = _rows("cpu_latency.json")
    libraries = _distinct(rows, "library")
    lines = [["units", *(NAMES[library] for library in libraries)]]
    for size in _distinct(rows, "hidden"):
        here = {row["library"]: row for row in rows if row["hidden"] == size}
        times = [
            f"{digits(here[library]['microseconds'])} ({digits(here[library]['microseconds_99th_percentile'])})"
            for library in libraries
        ]
        lines.append([str(size), *times])
    return _markdown(lines)


def launches() -> str:
    """What a GPU would be asked to launch: per step, or in a whole call where a kernel walks over all steps."""
    rows = _rows("gpu_compile.json", "results")
    found = {(row["shape"], row["pass"], row["implementation"], row["dtype"]): row for row in rows}
    others = ["Flax", '"pallas", whole call']
    lines = [["batch, steps, inputs, hidden", "forward: scan", *others, "forward and backward: scan", *others]]
    for shape in _distinct(rows, "shape"):
        line = [_sizes(shape)]
        for which in PASSES:
            for implementation in ("scan", "nn.RNN"):
                row = found[shape, which, implementation, "float32"]
                line.append(f"{row['launches_of_a_call'] / row['steps']:.2f}")
            line.append(str(found[shape, which, "pallas", "bfloat16"]["launches_of_a_call"]))
        lines.append(line)
    return _markdown(lines)


TABLES: dict[str, list[Callable[[], str]]] = {
    "README.md": [lambda: against_rivals("cpu.json", "train"), end_to_end],
    "docs/speed.md": [
        lambda: against_rivals("cpu.json", "train"),
        lambda: against_rivals("cpu.json", "forward"),
        lambda: against_rivals("cpu_zen5.json", "train"),
        lambda: against_rivals("cpu_two_devices.json", "train"),
        lambda: cells("train"),
        lambda: cells("forward"),
        regularisation,
        checkpointing,
        dropin,
        latency,
        end_to_end,
        launches,
    ],
}


def _rows(file: str, key: str = "rows") -> Rows:
    return json.loads((RESULTS / file).read_text())[key]


def _distinct(rows: Rows, key: str) -> list[Any]:
    return list(dict.fromkeys(row[key] for row in rows))


def _mean(rows: Rows, rival: str) -> float:
    return statistics.geometric_mean(row["ratio"] for row in rows if row["rival"] == rival)


def _sizes(name: str) -> str:
    shape = SHAPES[name]
    return f"{shape.batch}, {shape.steps:,}, {shape.inputs}, {shape.hidden}"


def _markdown(lines: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body]) + "\n"


def main() -> None:
    """Prints the tables of the pages, made from the committed results."""
    for page, tables in TABLES.items():
        print(f"{page}\n")
        for table in tables:
            print(table())


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.tables")
