"""`python -m benchmarks.to_target`: seconds of training until each system is where the project wants it.

A system trains as its experiment does, at its default settings, for as many epochs as its learning rate
takes to fall; the seconds are those of the training alone, compiling included, and count only where the
figures on unseen data reach the target.
"""

import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.command import call, check_names
from benchmarks.report import add_columns, console, new_table, say, show_machine
from benchmarks.results import Results, new_results, save
from experiments import session
from experiments.systems import SYSTEMS

TARGETS: dict[str, dict[str, tuple[str, float]]] = {  # metric: at least, or at most, what
    "echo": {"accuracy": (">=", 1.0)},
    "cumsum": {"step_accuracy": (">=", 0.999), "sequence_accuracy": (">=", 0.99)},
    "autoencoder": dict.fromkeys(
        ("max_abs_error", "composite_max_abs_error", "prediction_max_abs_error"), ("<=", 0.003)
    ),
    "langid": {"auc": (">=", 0.92)},
    "sentiment": {"accuracy": (">=", 0.835)},
}


@dataclass(frozen=True)
class Options:
    """Trains the systems; the results go to OUT as JSON."""

    systems: tuple[str, ...] = tuple(TARGETS)
    """which of the five"""
    seed: int = 0
    """of every run"""
    data_dir: Path | None = None
    """file or folder with the data sets; by default JAXLSTM_DATA, else they are downloaded"""
    out: Path = Path("benchmarks/out/to_target.json")
    """the file for the results"""


def reached(name: str, metrics: dict[str, float]) -> bool:
    """Whether every figure of the system is where it should be."""
    return all(
        metrics[metric] >= bound if relation == ">=" else metrics[metric] <= bound
        for metric, (relation, bound) in TARGETS[name].items()
    )


def train(name: str, options: Options) -> dict[str, Any]:
    """Runs one system; returns its row."""
    system = SYSTEMS[name]
    with tempfile.TemporaryDirectory() as folder:
        where = session.Options(runs=Path(folder), data_dir=options.data_dir)
        system.main(replace(system.Config(), seed=options.seed), where)
        (path,) = Path(folder).glob(f"{name}/*/result.json")
        result = json.loads(path.read_text())
    metrics = {metric: result["metrics"][metric] for metric in TARGETS[name]}
    return {"system": name, "metrics": metrics, "reached": reached(name, metrics), "seconds": result["seconds"]}


def show(results: Results) -> None:
    """The table."""
    table = new_table("system")
    add_columns(table, "figures", "target", "reached", "seconds")
    for row in results["rows"]:
        figures = ", ".join(f"{value:.4g}" for value in row["metrics"].values())
        targets = ", ".join(f"{relation} {bound:g}" for relation, bound in TARGETS[row["system"]].values())
        table.add_row(row["system"], figures, targets, "yes" if row["reached"] else "no", f"{row['seconds']:.1f}")
    console.print(table)


def run(options: Options) -> int:
    """Trains what the options ask for; returns 1 if a target was missed."""
    check_names(options, "systems", TARGETS)
    results = new_results(options.out)
    show_machine(results)
    for name in dict.fromkeys(options.systems):
        results["rows"].append(train(name, options))
        save(results, options.out)
    show(results)
    say(f"written: {options.out}")
    return 0 if all(row["reached"] for row in results["rows"]) else 1


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.to_target"))
