"""The pictures of the experiments say what they show: which judge, how much it has read, what was left out."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from figures import legend, panels

from experiments import langid_figures, manylang
from jaxlstm import plots


@pytest.fixture
def saved(monkeypatch):
    """The figures that are saved, by the name of the file."""
    figures = {}
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.__setitem__(path.name, figure))
    return figures


@pytest.mark.parametrize(("epochs", "shown"), [(1, "after 1 epoch"), (5, "after 5 epochs"), (11, "after 11 epochs")])
def test_langid_counts_one_epoch_in_the_singular(saved, epochs, shown):
    run = SimpleNamespace(config=SimpleNamespace(ngram=0), folder=Path())
    judges = ("lstm", f"after_{epochs}_epochs")
    scores = {judge: np.array([1.0, 2.0, -1.0]) for judge in judges}
    langid_figures.plot_scores(run, scores, dict.fromkeys(judges, 1.0), np.array([1, 1, 0]))
    assert legend(panels(saved["roc.png"])[0])[:2] == ["LSTMs: area 1.000", f"{shown}: area 1.000"]


@pytest.mark.parametrize(("ngram", "judge"), [(5, "LSTMs and 5-grams"), (0, "both LSTMs together")])
def test_manylang_names_the_judge_the_length_and_what_is_left_out(saved, ngram, judge):
    languages = ("en", "fr", "de", "nl", "da", "sv", "nb", "it", "es", "pt", "fi", "et", "hu", "pl", "cs")
    run = SimpleNamespace(config=SimpleNamespace(ngram=ngram, lengths=(1, 20), languages=languages), folder=Path())
    labels = np.repeat(np.arange(15), 2)
    answers = np.stack([labels, labels], axis=1)
    answers[0] = 1  # English taken for French, at both lengths
    wrong = np.zeros_like(answers)
    judged = {"together": wrong if ngram else answers, "with_ngram": answers if ngram else wrong}
    manylang.plot_answers(run, {"together": {1: 0.5, 20: 0.75}}, labels, judged)
    assert panels(saved["accuracy.png"])[0].get_xlabel() == "length, characters"
    for length in (1, 20):
        first, second, third = saved[f"closest_{length}.png"].get_suptitle().splitlines()
        assert first == f"{judge}, characters read: {length}"
        (axes,) = panels(saved[f"closest_{length}.png"])
        shown = [tick.get_text() for tick in axes.get_xticklabels()]
        assert shown[:2] == ["en", "fr"]
        assert second == f"{len(shown)} of 15 languages, those confused most;"
        assert third == "answers that name another are left out"
        assert axes.get_title("left").startswith(f"{2 * len(shown) - 1} of {2 * len(shown)} right")
