"""How a run went: loss and metrics over the epochs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxlstm.plots.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, dress, new_figure, whole_numbers

Row = Mapping[str, float]


def has_curve(rows: Sequence[Row]) -> bool:
    """Whether the rows of a run make a curve: those of one epoch are a dot, which shows no more than its number."""
    return len(rows) > 1


def learning_curves(rows: Sequence[Row], metrics: Sequence[str] = (), *, model: str = "") -> Figure:
    """A panel for the loss and one for each metric: training solid, validation dashed with its best epoch.

    Args:
      rows: one for each epoch, the lines of metrics.jsonl: "epoch", "loss", and whatever else was
        measured; "validation_loss" is drawn beside "loss", and so on. A row may lack a key.
      metrics: names of further panels. More is taken to be better, as it is for an accuracy.
      model: what has learnt, above the panels; a run may have several.

    Raises:
      ValueError: no rows, or a name that is in none of them.
    """
    if not rows:
        raise ValueError("rows: expected at least one epoch, got none")
    names = ["loss", *metrics]
    figure = new_figure(5.0 * len(names), 3.8, model)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _curve(axes, rows, name, better=min if name == "loss" else max)
    return figure


def against_baselines(rows: Sequence[Row], metric: str, baselines: Mapping[str, float]) -> Figure:
    """One metric, of which less is better, over the epochs, and as a line what each baseline reaches.

    Args:
      rows: one for each epoch, as for `learning_curves`.
      metric: its name in the rows.
      baselines: the value of each, by name; up to four.

    Raises:
      ValueError: no rows, or a name that is in none of them.
    """
    if not rows:
        raise ValueError("rows: expected at least one epoch, got none")
    figure = new_figure(8, 4.2)
    axes = figure.subplots()
    _curve(axes, rows, metric, better=min)
    styles = ((GREEN, ":"), (PURPLE, "-."), (INK, ":"), (GREY, "-."))
    for (name, value), (colour, style) in zip(baselines.items(), styles, strict=False):
        axes.axhline(value, color=colour, linestyle=style, linewidth=1.8, label=f"{name}, {value:.3g}")
    axes.legend(fontsize=9, frameon=False)
    return figure


def _curve(axes: Axes, rows: Sequence[Row], name: str, better) -> None:
    training, validation = _points(rows, name), _points(rows, f"validation_{name}")
    if not len(training[0]) and not len(validation[0]):
        raise ValueError(f"metrics: expected names that are in the rows, got {name!r}")
    marker = "o" if len(rows) <= 30 else None  # a single epoch is a point, three hundred are a line
    for (epochs, values), label, colour, style in (
        (training, "training", BLUE, "-"),
        (validation, "validation", ORANGE, "--"),
    ):
        if len(epochs):
            axes.plot(epochs, values, style, color=colour, label=label, marker=marker, markersize=3.5, linewidth=1.8)
    readable = name.replace("_", " ")
    epochs, values = validation if len(validation[0]) else training
    measured = f"validation {readable}" if len(validation[0]) else readable
    dress(axes, f"{measured.capitalize()}: {values[0]:.3g} at first, {values[-1]:.3g} at last", "epoch", readable)
    whole_numbers(axes.xaxis)
    shown = np.concatenate([training[1], validation[1]])
    if name == "loss" and shown.min() > 0 and shown.max() > 100 * shown.min():
        axes.set_yscale("log")
    if np.isfinite(validation[1]).any():
        best = list(values).index(better(values[np.isfinite(values)]))
        axes.plot(
            epochs[best],
            values[best],
            "o",
            markersize=11,
            fillstyle="none",
            markeredgewidth=1.6,
            color=ORANGE,
            label=f"best validation, {values[best]:.3g} at epoch {epochs[best]:.0f}",
        )
        axes.legend(fontsize=9, frameon=False)


def _points(rows: Sequence[Row], name: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(row["epoch"], row[name]) for row in rows if name in row]
    epochs, values = np.array(points).reshape(-1, 2).T
    return epochs, values
