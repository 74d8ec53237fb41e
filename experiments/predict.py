"""Asking the model of a finished run, from a program of your own.

    predict = load_predictor(Path("runs/sentiment/TIMESTAMP"))
    predict(["a dull, lifeless film", "wonderful"])    # the probabilities that they are positive

| system | goes in | comes out, NumPy arrays |
|---|---|---|
| echo | symbols, [N, length] | the probability of each symbol [N, symbols] |
| cumsum | numbers, [N, length] | the probability at each step [N, length] |
| autoencoder | sequences [N, length, 1] | the sequences rebuilt, and the predictions of each next step |
| langid | N texts | log P of each under each language, a dict of [N] |
| sentiment | N texts, or N arrays of word ids | the probability that each is positive [N] |

What it returns is safe to call from several threads, and compiles once for each padded length.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.systems import open_finished


def load_predictor(folder: Path | str) -> Callable[..., Any]:
    """The function that asks the run in `folder`.

    Raises:
      CheckpointError: it is not a run of one of the five, or its parameters are missing or damaged.
    """
    system, run = open_finished(Path(folder))
    return system.predictor(run)
