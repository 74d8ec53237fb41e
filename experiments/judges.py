"""Several judges of the same test: the LSTM, and those that it is measured beside or judges with."""

from collections.abc import Mapping

import numpy as np

LSTM = "lstm"
WEIGHTS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # of one judge beside another, to choose from


def by_judge(metric: str, values: Mapping[str, float]) -> dict[str, float]:
    """A value for each judge -> the metrics: the LSTM's by its plain name, the others' with the judge's behind it."""
    return {metric if judge == LSTM else f"{metric}_{judge}": value for judge, value in values.items()}


def name_of(judge: str, order: int) -> str:
    """What a picture calls a judge; `order` is that of the n-grams."""
    names = {
        LSTM: "LSTMs",
        "together": "both LSTMs together",
        "ngram": f"{order}-grams",
        "with_ngram": f"LSTMs and {order}-grams",
        "lingua": "Lingua",
        "fasttext_lite": "fastText, small",
        "after_1_epochs": "after 1 epoch",
    }
    return names.get(judge, judge.replace("_", " "))


def weights_beside(scores: np.ndarray, others: np.ndarray, labels: np.ndarray) -> list[float]:
    """Scores of each class [N, K, L] by two judges -> for each K, the other's weight, with which they are right most.

    `labels` [N] are what is right; of weights that do equally well the least is taken.
    """
    sums = (scores + weight * others for weight in WEIGHTS)
    right = [(scores.argmax(axis=-1) == labels[:, None]).mean(axis=0) for scores in sums]  # [weights, K]
    return [WEIGHTS[best] for best in np.argmax(right, axis=0)]
