"""A long series of numbers, and what a model makes of each of its steps."""

import math

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxlstm.checks import check_shape
from jaxlstm.plots.figures import BLUE, GREEN, INK, ORANGE, dress, legend_above, new_figure

_WITHIN_TWO = math.erf(2 / math.sqrt(2))  # of a normal distribution, the share within two deviations of its mean


def anomalies(values: ArrayLike, scores: ArrayLike, labels: ArrayLike) -> Figure:
    """A series, and below it how unusual a model finds each step; the steps that truly are shaded in both.

    Args:
      values: [T].
      scores: [T], higher where it is less usual.
      labels: [T], 1 where the series is anomalous, 0 elsewhere.

    Raises:
      ValueError: arrays of other shapes.
    """
    values, scores, labels = np.asarray(values), np.asarray(scores), np.asarray(labels) > 0.5
    if values.ndim != 1:
        raise ValueError(f"values: expected shape [T], got {list(values.shape)}")
    check_shape("scores", scores, values.shape)
    check_shape("labels", labels, values.shape)
    figure = new_figure(10, 5)
    above, below = figure.subplots(2, 1, sharex=True)
    steps = np.arange(len(values))
    for axes, line, colour in ((above, values, INK), (below, scores, BLUE)):
        axes.plot(steps, line, color=colour, linewidth=0.8)
        for first, last in _stretches(labels):
            axes.axvspan(first - 0.5, last + 0.5, color=ORANGE, alpha=0.35, linewidth=0)
    dress(above, "The series; what is anomalous is shaded", y="value")
    title = "Score"
    if not np.isnan(scores).all():  # a model may have none for the first steps
        highest = int(np.nanargmax(scores))
        below.plot(highest, scores[highest], "o", color=ORANGE, markersize=6)
        title += f": the highest at step {highest:,}"
    dress(below, title, "step", "score")
    return figure


def forecast(
    values: ArrayLike, mean: ArrayLike, deviation: ArrayLike, truth: ArrayLike | None = None, *, quantity: str = "value"
) -> Figure:
    """A series with the band in which each step was expected, and below it how wide the band is.

    The title has the share of the steps in the band, of those where all is known, beside that of a normal distribution.

    Args:
      values: [T].
      mean: [T], what was expected of each step.
      deviation: [T], the standard deviation expected of it; the band is two of them to each side.
      truth: [T], the deviation that the series was made with, where it is known.
      quantity: what the values are, along the axis.

    Raises:
      ValueError: arrays of other shapes.
    """
    values, mean, deviation = np.asarray(values), np.asarray(mean), np.asarray(deviation)
    if values.ndim != 1:
        raise ValueError(f"values: expected shape [T], got {list(values.shape)}")
    check_shape("mean", mean, values.shape)
    check_shape("deviation", deviation, values.shape)
    figure = new_figure(10, 5)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    steps = np.arange(len(values))
    band = mean - 2 * deviation, mean + 2 * deviation
    known = np.isfinite(values) & np.isfinite(band[0])
    inside = np.mean(np.abs(values - mean)[known] <= 2 * deviation[known]) if known.any() else np.nan
    above.fill_between(steps, *band, color=BLUE, alpha=0.2, linewidth=0, label="expected, two deviations to each side")
    above.plot(steps, values, color=INK, linewidth=1, label="what came")
    dress(above, f"{inside:.1%} of the steps are inside the band ({_WITHIN_TWO:.1%} expected)", y=quantity)
    below.plot(steps, deviation, color=BLUE, linewidth=1.5, label="deviation expected")
    if truth is not None:
        check_shape("truth", np.asarray(truth), values.shape)
        below.plot(steps, truth, color=GREEN, linestyle="--", linewidth=1.2, label="deviation it was made with")
    dress(below, x="step", y="deviation")
    for axes in (above, below):
        legend_above(axes)
    return figure


def _stretches(labels: np.ndarray) -> list[tuple[int, int]]:
    """The first and the last step of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], labels, [False]])))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]
