"""Text and what a model made of it: characters under two language models, reviews and their judgements."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxlstm.checks import check_shape
from jaxlstm.plots.figures import BLUE, GREY, INK, LIGHT_GREY, ORANGE, dress, label_steps, legend_above, new_figure


def character_scores(text: str, log_p_a: ArrayLike, log_p_b: ArrayLike, names: tuple[str, str]) -> Figure:
    """Where in a string the decision between two language models falls.

    Above, the log-likelihood of each character under both; below, the difference at each character as
    bars and its running sum, the score of the string so far, as a line.

    Args:
      text: T characters.
      log_p_a: [T], log P(character | prefix) in nats under the first model.
      log_p_b: [T], under the second.
      names: of the two models.

    Raises:
      ValueError: an empty text, or another number of log-likelihoods.
    """
    if not text:
        raise ValueError("text: expected at least one character, got none")
    log_p_a, log_p_b = np.asarray(log_p_a), np.asarray(log_p_b)
    check_shape("log_p_a", log_p_a, (len(text),))
    check_shape("log_p_b", log_p_b, (len(text),))
    difference = log_p_a - log_p_b
    running = np.cumsum(difference)
    steps = np.arange(len(text))

    figure = new_figure(float(np.clip(0.24 * len(text) + 1.5, 7, 26)), 6)
    above, below = figure.subplots(2, 1, sharex=True)
    above.vlines(steps, log_p_a, log_p_b, color=np.where(difference > 0, BLUE, ORANGE), alpha=0.35, linewidth=5)
    above.plot(steps, log_p_a, "o", color=BLUE, markersize=6, label=names[0])
    above.plot(steps, log_p_b, "s", color=ORANGE, markersize=5, label=names[1])
    dress(above, "How likely each character is, given those before it", y="log P(character), nats")
    legend_above(above)

    below.bar(
        steps, difference, color=np.where(difference > 0, BLUE, ORANGE), alpha=0.45, width=0.8, label="of one character"
    )
    below.plot(steps, running, "o-", color=INK, markersize=3.5, linewidth=1.6, label="score so far")
    below.axhline(0, color=GREY, linewidth=1)
    winner = names[0] if running[-1] > 0 else names[1]
    dress(below, f"Score {running[-1]:+.1f}: {winner}", y=f"log P {names[0]} - log P {names[1]}, nats")
    label_steps(below.xaxis, text, most=120)
    below.tick_params(axis="x", labelsize=10)
    below.set_xlim(-0.8, len(text) - 0.2)
    legend_above(below)
    return figure


def examples(
    rows: Sequence[Mapping[str, Any]], names: tuple[str, str] = ("negative", "positive"), *, column: str = "text"
) -> Figure:
    """A table of texts: those judged right, then those judged wrong, each in the order given.

    Args:
      rows: dicts of "text", "probability" (of the second class) and "label" (0 or 1).
      names: of the classes 0 and 1.
      column: what stands above the texts, such as what their signs mean.

    Raises:
      ValueError: no rows.
    """
    if not rows:
        raise ValueError("rows: expected at least one example, got none")
    shown = [(row, _snippet(row["text"])) for row in rows]
    right = [(row, lines) for row, lines in shown if (row["probability"] > 0.5) == (row["label"] > 0.5)]
    wrong = [(row, lines) for row, lines in shown if (row["probability"] > 0.5) != (row["label"] > 0.5)]
    blocks = [("Judged right", BLUE, right), ("Judged wrong", ORANGE, wrong)]
    height = sum(1.6 + sum(len(lines) + 1.0 for _, lines in group) for _, _, group in blocks if group)

    figure = new_figure(12, 0.21 * height + 0.6)
    axes = figure.subplots()
    axes.set(xlim=(0, 100), ylim=(height, -1.6))
    axes.set_axis_off()
    for x, header in ((0, "truth"), (10, f"probability of {names[1]}"), (28, column)):
        axes.text(x, -1.0, header, fontsize=9, color=GREY, va="center", parse_math=False)
    line = 0.0
    for title, colour, group in blocks:
        if not group:
            continue
        axes.text(0, line + 0.6, title, fontsize=11, fontweight="bold", color=colour, va="center")
        line += 1.6
        for row, lines in group:
            _example(axes, line, lines, row, names, colour)
            line += len(lines) + 1.0
    return figure


def _example(
    axes: Axes, line: float, lines: list[str], row: Mapping[str, Any], names: tuple[str, str], colour: str
) -> None:
    axes.text(0, line + 0.5, names[int(row["label"])], fontsize=10, color=INK, va="center", parse_math=False)
    axes.barh(line + 0.5, 10, left=10, height=0.7, color=LIGHT_GREY)
    axes.barh(line + 0.5, 10 * row["probability"], left=10, height=0.7, color=colour)
    axes.text(20.8, line + 0.5, f"{row['probability']:.3f}", fontsize=10, color=INK, va="center")
    for index, text in enumerate(lines):
        axes.text(28, line + 0.5 + index, text, fontsize=10, color=INK, va="center", parse_math=False)


def _snippet(text: str, width: int = 108, most: int = 3) -> list[str]:
    return textwrap.wrap(text, width, max_lines=most, placeholder=" ...") or ["(empty)"]
