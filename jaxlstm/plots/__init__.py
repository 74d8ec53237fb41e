"""Figures of what a model learnt and how it behaves.

Plots know no model: they take NumPy arrays, or lists of dicts, and return a `matplotlib.figure.Figure`.
They never touch pyplot, so they work without a screen and in threads. `save` writes one as a PNG.
"""

from jaxlstm.plots.decisions import confusion, roc, score_histogram
from jaxlstm.plots.figures import save
from jaxlstm.plots.learning import against_baselines, has_curve, learning_curves
from jaxlstm.plots.lengths import accuracy_by_length, steps_to_learn
from jaxlstm.plots.memory import gates, states
from jaxlstm.plots.sequences import crossing, reconstruction
from jaxlstm.plots.series import anomalies, forecast
from jaxlstm.plots.texts import character_scores, examples

__all__ = [
    "accuracy_by_length",
    "against_baselines",
    "anomalies",
    "character_scores",
    "confusion",
    "crossing",
    "examples",
    "forecast",
    "gates",
    "has_curve",
    "learning_curves",
    "reconstruction",
    "roc",
    "save",
    "score_histogram",
    "states",
    "steps_to_learn",
]
