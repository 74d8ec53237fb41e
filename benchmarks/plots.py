"""The pictures: ratio by shape, time against T, B and H, compile time against T."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, NullFormatter

from benchmarks.measure import OURS
from benchmarks.programs import PASSES
from benchmarks.results import Results
from benchmarks.shapes import MIDDLE, SHAPES, Shape

AXES = {"T": ("steps", "steps T"), "B": ("batch", "batch B"), "H": ("hidden", "hidden size H (inputs D = H)")}
MARKERS = "osD^vP"


def draw(results: Results, folder: Path) -> list[Path]:
    """Draws what the results allow; returns the files."""
    libraries = [OURS, *dict.fromkeys(row["rival"] for row in results["rows"])]
    styles = {library: style(library, index) for index, library in enumerate(libraries)}
    shapes = [name for name in SHAPES if any(row["shape"] == name for row in results["rows"])]
    drawn = []
    if shapes:
        drawn.append(saved(ratios(results, shapes, styles), folder / "ratio.png"))
    if any(len(points(results, axis, OURS)) > 1 for axis in AXES):
        drawn.append(saved(times(results, styles), folder / "time.png"))
    if len(points(results, "T", OURS)) > 1:
        drawn.append(saved(compile_times(results, styles), folder / "compile.png"))
    return drawn


def saved(figure: Figure, path: Path) -> Path:
    """Writes a figure and returns where it went."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def style(library: str, index: int) -> dict[str, Any]:
    """One look for a library in every picture."""
    if library == OURS:
        return {"color": "black", "marker": "o", "linewidth": 2.5}
    if library == "floor":
        return {"color": "grey", "linestyle": "--", "marker": "_"}
    return {"color": f"C{index - 1}", "marker": MARKERS[index % len(MARKERS)], "linewidth": 1.2}


def ratios(results: Results, shapes: list[str], styles: dict[str, dict]) -> Figure:
    """A panel for each pass; one point with its quartiles for each rival at each shape."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    rivals = [library for library in styles if library != OURS]
    for axes, which in zip(figure.subplots(len(PASSES), 1, sharex=True), PASSES, strict=True):
        axes.axhline(1, color="black", linewidth=1)
        for index, rival in enumerate(rivals):
            rows = [row for row in results["rows"] if row["rival"] == rival and row["pass"] == which]
            rows = [row for row in rows if row["shape"] in shapes]
            if not rows:
                continue
            offset = (index + 0.5) / len(rivals) - 0.5
            at = [shapes.index(row["shape"]) + 0.8 * offset for row in rows]
            ratio = [row["ratio"] for row in rows]
            down = [row["ratio"] - row["ratio_low"] for row in rows]
            up = [row["ratio_high"] - row["ratio"] for row in rows]
            look = styles[rival] | {"linestyle": "none", "capsize": 2, "label": rival}
            axes.errorbar(at, ratio, yerr=[down, up], **look)
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.set_ylabel(f"{which}: their time / jaxlstm's")
        axes.grid(axis="y", alpha=0.3)
        for boundary in range(1, len(shapes)):
            axes.axvline(boundary - 0.5, color="lightgrey", linewidth=0.8)
    axes.set_xticks(range(len(shapes)), shapes)
    figure.axes[0].legend(ncols=4, fontsize="small")
    figure.suptitle("Above 1, jaxlstm is faster (median and quartiles over the rounds)\n" + where(results), fontsize=10)
    return figure


def times(results: Results, styles: dict[str, dict]) -> Figure:
    """Training time against each size on logarithmic axes, the floor drawn in."""
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    for axes, axis in zip(figure.subplots(1, len(AXES)), AXES, strict=True):
        for library, look in styles.items():
            if not (found := points(results, axis, library)):
                continue
            sizes, middle = list(found), [program["milliseconds"] for program in found.values()]
            low = [program["milliseconds_low"] for program in found.values()]
            high = [program["milliseconds_high"] for program in found.values()]
            axes.plot(sizes, middle, label=library, markersize=5, **look)
            axes.fill_between(sizes, low, high, color=look["color"], alpha=0.15, linewidth=0)
        axes.set_yscale("log")
        size_axis(axes, axis, results)
    figure.axes[0].set_ylabel("forward + backward, ms")
    figure.axes[0].legend(fontsize="small")
    figure.suptitle(f"Around {MIDDLE}; {where(results)}", fontsize=10)
    return figure


def compile_times(results: Results, styles: dict[str, dict]) -> Figure:
    """Compile time, or that of the first call, against T."""
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for library, look in styles.items():
        found = points(results, "T", library)
        if not found or library == "floor":
            continue
        milliseconds = [program["first_call_milliseconds"] for program in found.values()]
        axes.plot(list(found), milliseconds, label=library, markersize=5, **look)
    axes.set_yscale("log")
    size_axis(axes, "T", results)
    axes.set_ylabel("compile time or first call, forward + backward, ms")
    axes.legend(fontsize="small")
    figure.suptitle(where(results), fontsize=10)
    return figure


def size_axis(axes: Axes, axis: str, results: Results) -> None:
    """A logarithmic axis that is marked at the sizes measured."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(points(results, axis, OURS)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(AXES[axis][1])
    axes.grid(alpha=0.3)


def points(results: Results, axis: str, library: str) -> dict[int, dict]:
    """The train passes of one library at MIDDLE and wherever only this size differs, by size."""
    field, _ = AXES[axis]
    found = {}
    for program in results["programs"]:
        shape = Shape(*(program[name] for name in Shape._fields))
        size = getattr(shape, field)
        moved = MIDDLE._replace(inputs=size, hidden=size) if axis == "H" else MIDDLE._replace(**{field: size})
        in_sweep = program["shape"] not in SHAPES and shape == moved
        if in_sweep and program["library"] == library and program["pass"] == "train":
            found[size] = program
    return dict(sorted(found.items()))


def where(results: Results) -> str:
    """The machine in half a line."""
    machine = results["machine"]
    return f"{machine['processor']}, {machine['cores']} cores, {machine['device']}, {machine['date'][:10]}"
