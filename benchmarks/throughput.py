"""`python -m benchmarks.throughput FILE`: where the GPU starts to win.

FILE is what `python -m benchmarks.gpu_check --cpu-vs-gpu` left: the same program on both devices, by batch and hidden
size. The picture goes beside it, so that the visit itself needs no matplotlib.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

from benchmarks.command import call
from benchmarks.plots import saved
from benchmarks.programs import PASSES
from benchmarks.report import say
from jaxlstm.errors import UserError

STYLES = {"cpu": {"linestyle": "--", "marker": "s"}, "gpu": {"linestyle": "-", "marker": "o"}}

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """Draws sequences per second on CPU and GPU."""

    file: tyro.conf.Positional[Path]
    """the gpu_check.json of `--cpu-vs-gpu`"""
    out: Path | None = None
    """the picture; FILE with the ending .png by default"""


def throughput(path: Path) -> Figure:
    """A panel for each pass: sequences per second against the batch, a colour for each hidden size.

    A circle stands around the smallest batch from which on the GPU is the faster one.

    Raises:
      UserError: the file cannot be read, or does not hold both devices.
    """
    try:
        report = json.loads(path.read_text())
        rows = [row for row in report["results"] if row["kind"] == "throughput" and "error" not in row]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: expected a gpu_check.json, {type(error).__name__}: {error}") from None
    if missing := STYLES.keys() - {row["device"] for row in rows}:
        raise UserError(
            f"{path}: expected both devices, as gpu_check --cpu-vs-gpu leaves them, got no row of the {min(missing)}"
        )
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    sizes = sorted({row["hidden"] for row in rows})
    for axes, which in zip(figure.subplots(1, len(PASSES)), PASSES, strict=True):
        for colour, hidden in enumerate(sizes):
            speeds = {device: speed_by_batch(rows, which, device, hidden) for device in STYLES}
            for device, look in STYLES.items():
                by_batch = speeds[device]
                label = f"H = {hidden}, {device.upper()}"
                axes.plot(list(by_batch), list(by_batch.values()), color=f"C{colour}", label=label, **look)
            if batch := wins_from(speeds["cpu"], speeds["gpu"]):
                at = {"s": 200, "facecolors": "none", "edgecolors": f"C{colour}"}
                axes.scatter([batch], [speeds["gpu"][batch]], **at)
        axes.set(xscale="log", yscale="log", xlabel="batch B", ylabel="sequences per second", title=which)
        axes.set_xticks(sorted({row["batch"] for row in rows}))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    machine, steps = report["machine"], rows[0]["steps"]
    figure.suptitle(
        f"{steps} steps, D = H, float32; circled: from here on the GPU is faster\n"
        f"{machine['device']}, {machine['cores']} CPU cores, jax {report['versions']['jax']}, {machine['date'][:10]}",
        fontsize=10,
    )
    return figure


def speed_by_batch(rows: Rows, which: str, device: str, hidden: int) -> dict[int, float]:
    """Sequences per second of one pass on one device, by batch."""
    found = {
        row["batch"]: row["sequences_per_second"]
        for row in rows
        if (row["pass"], row["device"], row["hidden"]) == (which, device, hidden)
    }
    return dict(sorted(found.items()))


def wins_from(cpu: dict[int, float], gpu: dict[int, float]) -> int | None:
    """The smallest batch from which on the GPU is faster at every batch; None where it loses at the largest."""
    first = None
    for batch in sorted(cpu.keys() & gpu.keys(), reverse=True):
        if gpu[batch] <= cpu[batch]:
            break
        first = batch
    return first


def run(options: Options) -> None:
    """Writes the picture.

    Raises:
      UserError: the file cannot be read, or does not hold both devices.
    """
    say(f"written: {saved(throughput(options.file), options.out or options.file.with_suffix('.png'))}")


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.throughput"))
