"""Inside an LSTM: its gates and states over the steps of one sequence; and the states of any cell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxlstm.checks import check_shape
from jaxlstm.plots.figures import GREY, INK, ORANGE, dress, label_steps, new_figure, visible, whole_numbers

_PANELS = {
    "i": "Input gate i: what is written",
    "f": "Forget gate f: what is kept",
    "g": "Candidate g: what would be written",
    "o": "Output gate o: what is shown",
    "c": "Cell state c: what is held",
    "h": "Hidden state h: what comes out",
}
_SIGMOID = "ifo"
_MOST_SYMBOLS = 60


def gates(trace: Any, symbols: Sequence[object] | None = None, mark: int | None = None) -> Figure:
    """Heat maps of the gates and states, time along the shared x axis, a row for each unit.

    The units are sorted by how much of their cell state lasts from the marked step (or the first) to
    the end, |c_mark| * f_{mark+1} * ... * f_T: those that hold what they then had are at the top.

    Args:
      trace: arrays i, f, g, o, c and h, [T, H] each, of one sequence, as `jaxlstm.trace.trace` gives them.
      symbols: [T], what was read at each step; written along the top.
      mark: a step to point at, 0 to T - 1.

    Raises:
      ValueError: arrays of other shapes, another number of symbols, or a mark that is not a step.
    """
    arrays = {name: np.asarray(getattr(trace, name)) for name in _PANELS}
    if arrays["c"].ndim != 2:
        raise ValueError(f"trace.c: expected shape [T, H], got {list(arrays['c'].shape)}")
    steps, units = arrays["c"].shape
    for name, array in arrays.items():
        check_shape(f"trace.{name}", array, (steps, units))
    _check_steps(steps, symbols, mark)
    start = mark or 0
    order = _by_retention(arrays["f"], arrays["c"], start)
    lasting = int(np.sum(arrays["f"][start + 1 :].prod(axis=0) > 0.5))
    read = "" if symbols is None else f" ({visible(str(symbols[start]))})"
    figure = new_figure(11, 13)
    figure.suptitle(
        f"From step {start}{read} to the last, {lasting} of {units} units keep more than half of their cell state",
        x=0.01,
        ha="left",
        fontsize=13,
        color=INK,
        parse_math=False,
    )
    drawn = {title: (arrays[name][:, order], name in _SIGMOID) for name, title in _PANELS.items()}
    _draw(figure, drawn, "unit, sorted", symbols, mark)
    return figure


def states(states: Any, symbols: Sequence[object] | None = None, mark: int | None = None) -> Figure:
    """Heat maps of the state of any cell, time along the shared x axis, a panel for each part of the state.

    The units are in their own order; only those of one panel share a scale.

    Args:
      states: a named tuple of arrays [T, N] of one sequence, as `jaxlstm.trace.states` gives it.
      symbols: [T], what was read at each step; written along the top.
      mark: a step to point at, 0 to T - 1.

    Raises:
      ValueError: arrays of other shapes, another number of symbols, or a mark that is not a step.
    """
    arrays = {name: np.asarray(array) for name, array in states._asdict().items()}
    steps = len(next(iter(arrays.values())))
    for name, array in arrays.items():
        if array.ndim != 2 or len(array) != steps:
            raise ValueError(f"states.{name}: expected shape [{steps}, N], got {list(array.shape)}")
    _check_steps(steps, symbols, mark)
    figure = new_figure(11, 0.8 + 2.1 * len(arrays))
    _draw(figure, {f"State {name}": (array, False) for name, array in arrays.items()}, "unit", symbols, mark)
    return figure


def _check_steps(steps: int, symbols: Sequence[object] | None, mark: int | None) -> None:
    if symbols is not None and len(symbols) != steps:
        raise ValueError(f"symbols: expected one for each of {steps} steps, got {len(symbols)}")
    if mark is not None and not 0 <= mark < steps:
        raise ValueError(f"mark: expected a step, 0 to {steps - 1}, got {mark}")


def _draw(
    figure: Figure,
    panels: dict[str, tuple[np.ndarray, bool]],
    unit: str,
    symbols: Sequence[object] | None,
    mark: int | None,
) -> None:
    """A heat map of each array [T, N], by its title, beside whether it is a sigmoid's; `unit` labels the rows."""
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, (values, sigmoid)) in zip(rows, panels.items(), strict=True):
        _heat_map(figure, axes, values.T, title, unit, sigmoid=sigmoid)
        if mark is not None:
            for edge in (mark - 0.5, mark + 0.5):
                axes.axvline(edge, color=ORANGE, linewidth=1.6)
    rows[-1].set_xlabel("step", fontsize=10, color=INK)
    whole_numbers(rows[-1].xaxis)
    if symbols is not None:
        _write_symbols(rows[0], symbols, mark)


def _by_retention(f: np.ndarray, c: np.ndarray, mark: int) -> np.ndarray:
    """The units, those first whose cell state at `mark` reaches the last step the least diminished."""
    tiny = np.finfo(np.float32).tiny  # the logarithm of a closed gate stays a number
    lasting = np.log(np.abs(c[mark]) + tiny) + np.log(f[mark + 1 :] + tiny).sum(axis=0)
    return np.argsort(-lasting, kind="stable")


def _heat_map(figure: Figure, axes: Axes, values: np.ndarray, title: str, unit: str, *, sigmoid: bool) -> None:
    """Values [H, T]; white is 0, and where they have a sign red is above it and blue below."""
    # A unit that counts steps may reach 40 while those that hold a symbol stay below 3: it must not
    # fade them all. What lies beyond the scale has the deepest colour and an arrow on the colour bar.
    peaks = np.abs(values).max(axis=1)
    limit = np.clip(3 * np.median(peaks), peaks.max() / 20, peaks.max()) or 1.0
    extend = "both" if not sigmoid and peaks.max() > limit else "neither"
    scale = {"cmap": "Greens", "vmin": 0, "vmax": 1} if sigmoid else {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    image = axes.imshow(values, aspect="auto", interpolation="nearest", **scale)
    dress(axes, title, y=unit, grid=False)
    axes.set_yticks([])
    bar = figure.colorbar(image, ax=axes, aspect=12, pad=0.01, extend=extend)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, color=INK, labelcolor=INK)


def _write_symbols(axes: Axes, symbols: Sequence[object], mark: int | None) -> None:
    top = axes.secondary_xaxis("top")
    widest = max(len(str(symbol)) for symbol in symbols)
    crowded = (widest + 1) * min(len(symbols), _MOST_SYMBOLS) > 150
    label_steps(top.xaxis, symbols, most=_MOST_SYMBOLS, through=mark or 0)
    top.tick_params(labelsize=8, color=GREY, labelcolor=INK, labelrotation=90 if crowded else 0)
    top.spines["top"].set_visible(False)
    if mark is not None:
        label = top.xaxis.get_ticklabels()[list(top.get_xticks()).index(mark)]
        label.set(color=ORANGE, fontweight="bold", fontsize=11)
