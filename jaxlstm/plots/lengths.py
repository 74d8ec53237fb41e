"""What a network can do against the length of the sequences."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from jaxlstm.plots.figures import COLOURS, GREY, INK, dress, new_figure

_PALETTE, _MARKERS = (*COLOURS, INK), "os^DvPX"
# A line, a colour and a marker for each curve. No two share both colour and marker, for in a legend and where curves
# cross a line's style is hard to see: when the colours start anew, the markers are shifted.
_LOOKS = [
    (style, colour, _MARKERS[(index + shift) % len(_MARKERS)])
    for shift, style in enumerate(("-", "--", ":"))
    for index, colour in enumerate(_PALETTE)
]


def accuracy_by_length(
    curves: Mapping[str, Mapping[int, float]], trained_at: int | None = None, *, unit: str = "steps"
) -> Figure:
    """The share of right answers at each length, and the length that the network was trained at.

    Args:
      curves: name -> length -> share, from 0 to 1; up to 21.
      trained_at: marked by a line.
      unit: what the lengths count.

    Raises:
      ValueError: no curve, or a curve without a length.
    """
    figure, axes = _panel(curves)
    for (name, shares), (style, colour, marker) in zip(curves.items(), _LOOKS, strict=False):
        lengths = sorted(shares)
        percent = [100 * shares[length] for length in lengths]
        axes.plot(
            lengths,
            percent,
            color=colour,
            linestyle=style,
            marker=marker,
            linewidth=1.8,
            label=name.replace("_", " "),
        )
    if trained_at is not None:
        axes.axvline(trained_at, color=GREY, linestyle=":", linewidth=1.2, label=f"training length {trained_at}")
    title = "Right answers by length"
    if len(curves) == 1:
        (shares,) = curves.values()
        title += f": at least {min(shares.values()):.2%}"
    dress(axes, title, f"length, {unit}", "right, %")
    figure.legend(loc="outside right center", fontsize=9, frameon=False)  # where curves are many, none is free of it
    return figure


def steps_to_learn(curves: Mapping[str, Mapping[int, float | None]], limit: int) -> Figure:
    """After how many training steps a task was learnt, at each length, on logarithmic axes.

    Args:
      curves: name -> length -> steps; None where it was not learnt within `limit` steps, an open marker there;
        up to 21.
      limit: the most steps that were tried.

    Raises:
      ValueError: no curve, or a curve without a length.
    """
    figure, axes = _panel(curves)
    aside = np.geomspace(0.94, 1 / 0.94, len(curves)) if len(curves) > 1 else [1.0]
    for (name, steps), (style, colour, marker), factor in zip(curves.items(), _LOOKS, aside, strict=False):
        learnt = {length: count for length, count in sorted(steps.items()) if count is not None}
        missed = [length for length, count in sorted(steps.items()) if count is None]
        axes.plot(list(learnt), list(learnt.values()), style, marker=marker, color=colour, linewidth=1.8, label=name)
        # Side by side, where several did not learn.
        axes.plot(
            [length * factor for length in missed],
            [limit] * len(missed),
            marker,
            color=colour,
            fillstyle="none",
            markersize=8,
        )
    axes.axhline(limit, color=GREY, linestyle=":", linewidth=1.2, label=f"not learnt within {limit:,} (open)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
    dress(axes, "Training steps until it is learnt", "length", "steps")
    axes.legend(fontsize=9, frameon=False)
    return figure


def _panel(curves: Mapping[str, Mapping[int, object]]) -> tuple[Figure, Axes]:
    """A figure with empty axes, logarithmic in the length, with a tick at each length of the curves."""
    if not curves or not all(curves.values()):
        raise ValueError("curves: expected at least one, each with a length, got none")
    figure = new_figure(7, 4.4)
    axes = figure.subplots()
    axes.set_xscale("log")
    lengths = sorted({length for curve in curves.values() for length in curve})
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.xaxis.set_minor_locator(NullLocator())
    return figure, axes
