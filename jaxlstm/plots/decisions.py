"""How well a score tells two classes apart, and what became of each example."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxlstm.checks import check_shape
from jaxlstm.plots.figures import COLOURS, GREY, INK, dress, new_figure


def roc(curves: Mapping[str, tuple[ArrayLike, ArrayLike, float]]) -> Figure:
    """Receiver operating characteristics, with the diagonal of a random guess.

    Args:
      curves: name -> (false positive rates [N], true positive rates [N], area under the curve).

    Raises:
      ValueError: no curve.
    """
    if not curves:
        raise ValueError("curves: expected at least one, got none")
    figure = new_figure(5.5, 5.6)
    axes = figure.subplots()
    for index, (name, (false_positives, true_positives, area)) in enumerate(curves.items()):
        axes.plot(
            false_positives,
            true_positives,
            color=COLOURS[index % len(COLOURS)],
            linestyle=("-", "--", "-.", ":")[index % 4],
            linewidth=2,
            label=f"{name}: area {area:.3f}",
        )
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="a guess: area 0.500")
    best = max(area for *_, area in curves.values())
    dress(axes, f"Best area under the curve: {best:.3f}", "false positive rate", "true positive rate")
    axes.set(aspect="equal", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.legend(fontsize=9, frameon=False, loc="lower right")
    return figure


def score_histogram(
    scores_by_class: Mapping[str, ArrayLike], threshold: float = 0.0, *, formula: str = "score"
) -> Figure:
    """How the scores of each class are spread around the threshold.

    Args:
      scores_by_class: name -> scores [N], finite numbers.
      threshold: where the decision falls.
      formula: what a score is, along the axis.

    Raises:
      ValueError: no class, a class without scores, or scores that are not finite.
    """
    if not scores_by_class:
        raise ValueError("scores_by_class: expected at least one class, got none")
    scores = {name: np.asarray(values, np.float64) for name, values in scores_by_class.items()}
    for name, values in scores.items():
        if not values.size:
            raise ValueError(f"scores_by_class: expected scores for every class, got none for {name!r}")
        if not np.isfinite(values).all():
            raise ValueError(
                f"scores_by_class: expected finite scores, got {values[~np.isfinite(values)][0]} for {name!r}"
            )
    edges = _bins(np.concatenate(list(scores.values())), threshold)
    figure = new_figure(7.5, 4.4)
    axes = figure.subplots()
    for index, (name, values) in enumerate(scores.items()):
        colour, above = COLOURS[index % len(COLOURS)], np.mean(values > threshold)
        counts, _ = np.histogram(values, edges)
        label = f"{name}: {above:.1%} above {threshold:g} ({values.size:,} scores)"
        axes.stairs(100 * counts / values.size, edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(100 * counts / values.size, edges, color=colour, linewidth=1.6, label=label)
    axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.2)
    dress(axes, f"How the scores of {' and '.join(scores)} are spread", formula, "share of the class, %")
    axes.margins(y=0.25)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=9, frameon=False)
    return figure


def _bins(scores: np.ndarray, threshold: float, count: int = 60) -> np.ndarray:
    """Edges of equal bins, one of them at the threshold: no bar stands on both sides of the decision."""
    low, high = min(scores.min(), threshold), max(scores.max(), threshold)
    width = (high - low) / count or 1.0
    # One more at either end, so that rounding leaves no score outside.
    first, last = np.floor((low - threshold) / width) - 1, np.ceil((high - threshold) / width) + 1
    return threshold + width * np.arange(first, last + 1)


def confusion(matrix: ArrayLike, names: Sequence[str], *, heading: str = "") -> Figure:
    """Counts of true against predicted classes, and the share of each true class.

    Args:
      matrix: [K, K] counts; row: the true class, column: the predicted one.
      names: K names.
      heading: what was judged and by whom, above the matrix; may have several lines.

    Raises:
      ValueError: another shape.
    """
    matrix = np.asarray(matrix)
    check_shape("matrix", matrix, (len(names), len(names)))
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)  # a class of which there is no example has shares of 0
    right, total = int(np.trace(matrix)), int(matrix.sum())
    size = 2.6 + 1.3 * len(names)
    figure = new_figure(size, size - 0.4, heading)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        share = shares[row, column]
        colour = "white" if share > 0.55 else INK
        axes.text(column, row, f"{count:,}\n{share:.1%}", ha="center", va="center", color=colour, fontsize=13)
    title = f"{right:,} of {total:,} right ({right / max(total, 1):.1%})"
    dress(axes, title, "predicted", "true", grid=False)
    upright = max(map(len, names)) > 12  # longer ones would overlap
    axes.set_xticks(range(len(names)), names, parse_math=False, rotation=90 if upright else 0)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.tick_params(length=0, labelsize=10)
    axes.spines[:].set_visible(False)
    return figure
