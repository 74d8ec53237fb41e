"""What a network can do against the length of the sequences."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from jaxlstm.plots.figures import COLOURS, GREY, dress, new_figure

_MARKERS = ("o", "s", "^", "D")
_STYLES = ("-", "--", "-.", ":")


def accuracy_by_length(curves: Mapping[str, Mapping[int, float]], trained_at: int | None = None) -> Figure:
    """The share of right answers at each length, and the length that the network was trained at.

    Args:
      curves: name -> length -> share, from 0 to 1.
      trained_at: marked by a line.

    Raises:
      ValueError: no curve, or a curve without a length.
    """
    axes = _axes(curves)
    for index, (name, shares) in enumerate(curves.items()):
        lengths = sorted(shares)
        percent = [100 * shares[length] for length in lengths]
        axes.plot(
            lengths,
            percent,
            color=COLOURS[index % 4],
            linestyle=_STYLES[(index + index // 4) % 4],  # the fifth has the first one's colour, in another style
            marker=_MARKERS[index % 4],
            linewidth=1.8,
            label=name.replace("_", " "),
        )
    if trained_at is not None:
        axes.axvline(trained_at, color=GREY, linestyle=":", linewidth=1.2, label=f"training length {trained_at}")
    lowest = min(min(shares.values()) for shares in curves.values())
    dress(axes, f"Right answers at every length: at least {lowest:.2%}", "length", "right, %")
    axes.legend(fontsize=9, frameon=False)
    return _figure(axes)


def steps_to_learn(curves: Mapping[str, Mapping[int, float | None]], limit: int) -> Figure:
    """After how many training steps a task was learnt, at each length, on logarithmic axes.

    Args:
      curves: name -> length -> steps; None where it was not learnt within `limit` steps, an open marker there.
      limit: the most steps that were tried.

    Raises:
      ValueError: no curve, or a curve without a length.
    """
    axes = _axes(curves)
    for index, (name, steps) in enumerate(curves.items()):
        colour, marker = COLOURS[index % 4], _MARKERS[index % 4]
        learnt = {length: count for length, count in sorted(steps.items()) if count is not None}
        missed = [length for length, count in sorted(steps.items()) if count is None]
        axes.plot(list(learnt), list(learnt.values()), marker=marker, color=colour, linewidth=1.8, label=name)
        # Side by side, where several did not learn.
        axes.plot(
            [length * 1.04 ** (index - 1.5) for length in missed],
            [limit] * len(missed),
            marker,
            color=colour,
            fillstyle="none",
            markersize=8,
        )
    axes.axhline(limit, color=GREY, linestyle=":", linewidth=1.2, label=f"not learnt within {limit:,} (open)")
    axes.set_yscale("log")
    dress(axes, "Training steps until it is learnt", "length", "steps")
    axes.legend(fontsize=9, frameon=False)
    return _figure(axes)


def _axes(curves: Mapping[str, Mapping[int, object]]) -> Axes:
    """Empty axes, logarithmic in the length, with a tick at each length of the curves."""
    if not curves or not all(curves.values()):
        raise ValueError("curves: expected at least one, each with a length, got none")
    axes = new_figure(7, 4.4).subplots()
    axes.set_xscale("log")
    lengths = sorted({length for curve in curves.values() for length in curve})
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.xaxis.set_minor_locator(NullLocator())
    return axes


def _figure(axes: Axes) -> Figure:
    figure = axes.figure
    assert isinstance(figure, Figure)
    return figure
