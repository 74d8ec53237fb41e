"""What langid shows: P(character | prefix) as a table, and the scores of strings and of judges as pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table
from sklearn.metrics import roc_curve

from experiments.bilingual import LANGUAGES
from experiments.judges import LSTM, name_of
from experiments.language_models import Reader, score
from jaxlstm import plots
from jaxlstm.reporting import console
from jaxlstm.runs import Run

TITLES = ("English", "French")


def show_character_probabilities(read: Reader, strings: Sequence[str]) -> None:
    """The table of P(character | prefix) under both models, and the score of the string so far."""
    columns = (f"P, {name}" for name in LANGUAGES)
    table = Table("prefix", "next", *columns, "score so far", title="P(character | prefix)")
    for string in strings:
        log_p = read(string)
        running = np.cumsum(score(log_p))
        for index, character in enumerate(string):
            probabilities = (f"{np.exp(log_p[name][index]):.4f}" for name in LANGUAGES)
            table.add_row(repr(string[:index]), repr(character), *probabilities, f"{running[index]:+.2f}")
        table.add_section()
    console.print(table)


def plot_characters(run: Run, read: Reader, text: str) -> None:
    """Log P of each character of a text under both models."""
    log_p = read(text)
    first, second = (log_p[name] for name in LANGUAGES)
    plots.save(plots.character_scores(text, first, second, TITLES), run.folder / "characters.png")


def plot_scores(run: Run, scores: Mapping[str, np.ndarray], aucs: Mapping[str, float], is_first: np.ndarray) -> None:
    """The ROC of each judge, and how far apart the scores of the LSTMs are."""
    curves = {
        name_of(judge, run.config.ngram): (*roc_curve(is_first, of_judge)[:2], aucs[judge])
        for judge, of_judge in scores.items()
    }
    plots.save(plots.roc(curves), run.folder / "roc.png")
    by_class = {title: scores[LSTM][is_first == label] for title, label in zip(TITLES, (1, 0), strict=True)}
    formula = f"log P(string | {TITLES[0]}) - log P(string | {TITLES[1]})"
    plots.save(plots.score_histogram(by_class, formula=formula), run.folder / "scores.png")
