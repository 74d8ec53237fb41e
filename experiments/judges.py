"""The figures of several judges of the same test: the LSTM, and those that it is measured beside or judges with."""

from collections.abc import Mapping

LSTM = "lstm"


def by_judge(metric: str, values: Mapping[str, float]) -> dict[str, float]:
    """A value for each judge -> the metrics: the LSTM's by its plain name, the others' with the judge's behind it."""
    return {metric if judge == LSTM else f"{metric}_{judge}": value for judge, value in values.items()}
