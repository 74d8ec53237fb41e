"""Outputs at every step of a sequence beside what they should have been."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxlstm.checks import check_shape
from jaxlstm.plots.figures import BLUE, GREEN, GREY, INK, ORANGE, dress, new_figure, whole_numbers


def crossing(inputs: ArrayLike, probabilities: ArrayLike, labels: ArrayLike) -> Figure:
    """When the running sum passes a quarter of the steps, and when the network says so.

    A column for each sequence: above, the running sum and the threshold T / 4; below, the predicted
    probability of having crossed at each step, with the steps that it gets wrong crossed out. The
    steps that truly lie past the crossing are shaded in both.

    Args:
      inputs: [N, T], what was summed; a few sequences.
      probabilities: [N, T], predicted.
      labels: [N, T], 1 where the sum has crossed, 0 before.

    Raises:
      ValueError: arrays of other shapes, or no sequence.
    """
    inputs, probabilities, labels = np.asarray(inputs), np.asarray(probabilities), np.asarray(labels) > 0.5
    if inputs.ndim != 2 or not len(inputs):
        raise ValueError(f"inputs: expected shape [N, T] with at least one sequence, got {list(inputs.shape)}")
    check_shape("probabilities", probabilities, inputs.shape)
    check_shape("labels", labels, inputs.shape)
    count, length = inputs.shape
    figure = new_figure(max(3.2 * count, 8), 5.2)
    panels = figure.subplots(2, count, sharex=True, sharey="row", squeeze=False)
    edges = np.arange(length + 1) - 0.5
    for column, (xs, probability, label) in enumerate(zip(inputs, probabilities, labels, strict=True)):
        above, below = panels[:, column]
        steps, wrong = np.arange(length), (probability > 0.5) != label
        for axes in (above, below):
            across = axes.get_xaxis_transform()  # steps along x, the whole height of the panel along y
            past = np.append(label, label[-1])
            axes.fill_between(
                edges, 0, 1, where=past, step="post", transform=across, color="#EEEEEE", label="has crossed"
            )
        above.plot(steps, np.cumsum(xs), "o-", color=INK, markersize=4, linewidth=1.5, label="running sum")
        above.axhline(length / 4, color=GREEN, linestyle="--", linewidth=1.5, label=f"threshold {length / 4:g}")
        below.plot(steps, probability, "o-", color=BLUE, markersize=4, linewidth=1.5, label="predicted probability")
        below.plot(
            steps[wrong], probability[wrong], "x", color=ORANGE, markersize=11, markeredgewidth=2, label="wrong step"
        )
        below.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
        first = column == 0
        dress(above, f"{length - wrong.sum()} of {length} steps right", y="running sum" if first else "")
        dress(below, x="step", y="probability of having crossed" if first else "")
        below.set(xlim=(-0.5, length - 0.5), ylim=(-0.06, 1.06))
        whole_numbers(below.xaxis)
    handles = [*panels[0, 0].get_legend_handles_labels()[0], *panels[1, 0].get_legend_handles_labels()[0][1:]]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9, frameon=False)
    return figure


def reconstruction(
    target: ArrayLike,
    reconstruction: ArrayLike,
    prediction_target: ArrayLike | None = None,
    prediction: ArrayLike | None = None,
    *,
    heading: str = "",
) -> Figure:
    """The outputs of an autoencoder on their targets, and the error of each step below.

    Args:
      target: [T].
      reconstruction: [T].
      prediction_target: [P], the last P steps of the target, P <= T; draws a second column, for the
        head that predicts.
      prediction: [P].
      heading: what is rebuilt and by whom, above the panels; may have several lines.

    Raises:
      ValueError: arrays of other shapes, or one of the last two without the other.
    """
    target, reconstruction = np.asarray(target), np.asarray(reconstruction)
    if target.ndim != 1:
        raise ValueError(f"target: expected shape [T], got {list(target.shape)}")
    check_shape("reconstruction", reconstruction, target.shape)
    columns = [("Reconstruction", target, reconstruction)]
    if (prediction_target is None) != (prediction is None):
        raise ValueError("prediction_target and prediction: expected both of them or neither, got one")
    if prediction_target is not None and prediction is not None:
        prediction_target, prediction = np.asarray(prediction_target), np.asarray(prediction)
        if prediction_target.ndim != 1 or len(prediction_target) > len(target):
            raise ValueError(
                f"prediction_target: expected shape [P], P <= {len(target)}, got {list(prediction_target.shape)}"
            )
        check_shape("prediction", prediction, prediction_target.shape)
        columns.append(("Prediction of the next", prediction_target, prediction))

    figure = new_figure(5.5 * len(columns), 5.2, heading)
    panels = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False, height_ratios=[3, 2])
    for column, (name, expected, output) in enumerate(columns):
        steps = np.arange(len(target) - len(expected), len(target))
        above, below = panels[:, column]
        _overlay(above, below, name, steps, expected, output, first=column == 0)
    return figure


def _overlay(
    above: Axes, below: Axes, name: str, steps: np.ndarray, expected: np.ndarray, output: np.ndarray, *, first: bool
) -> None:
    error = output.astype(np.float64) - expected
    above.plot(steps, expected, "o-", color=GREY, markersize=10, fillstyle="none", linewidth=1, label="target")
    above.plot(steps, output, "o", color=BLUE, markersize=5, label="output")
    below.vlines(steps, 0, error, color=BLUE, linewidth=2)
    below.plot(steps, error, "o", color=BLUE, markersize=5)
    below.axhline(0, color=GREY, linewidth=1)
    worst = np.argmax(np.abs(error))
    below.plot(steps[worst], error[worst], "o", color=ORANGE, markersize=7)
    dress(above, name, y="value" if first else "")
    dress(
        below,
        f"Largest error {np.abs(error).max():.2g}, at step {steps[worst]}",
        x="step",
        y="output - target" if first else "",
    )
    above.legend(fontsize=9, frameon=False)
    whole_numbers(below.xaxis)
    below.ticklabel_format(axis="y", style="plain")
