"""What a figure shows, read back from it; and numbers to draw."""

from types import SimpleNamespace

import numpy as np


def panels(figure):
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def points(line):
    return line.get_xdata(), line.get_ydata()


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def random(*shape):
    return np.random.default_rng(sum(shape)).uniform(0.05, 0.95, shape)


def steps(length=6, units=4):
    """A trace: f[t, unit] falls with the number of the unit, every cell state is 0.5."""
    trace = {name: random(length, units) for name in "ifgoch"}
    trace["f"] = np.tile(1 - 0.1 * np.arange(units), (length, 1))
    trace["c"] = np.full((length, units), 0.5)
    return SimpleNamespace(**trace)
