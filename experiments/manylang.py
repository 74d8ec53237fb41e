"""Manylang: which of many languages is a short string in? One classifier, and one character model for each language.

The text is the Universal Declaration of Human Rights, some 10,000 characters a language, in the languages that
two identifiers taught on millions of sentences know as well (Lingua and py3langid, `experiments.identifiers`).
All are asked about the same windows of held-out text, and about their first 5, 10 and 20 characters.

Of the LSTMs, one classifier reads all languages (`experiments.manylang_classifier`), and a character model each one
language (`experiments.manylang_models`). They judge together, and with n-grams counted on the same text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import numpy as np
import tyro
from sklearn.metrics import confusion_matrix

from experiments.checks import check_text, require_at_least, require_positive, require_share
from experiments.declarations import (
    LANGUAGES,
    Parts,
    as_typeset,
    count_characters,
    encode_all,
    frequent_characters,
    load_parts,
    spaced_windows,
)
from experiments.identifiers import ask_identifiers
from experiments.judges import name_of, weights_beside
from experiments.learning import draw_learning
from experiments.manylang_classifier import init_classifier, prefix_log_p, train_classifier
from experiments.manylang_models import init_models, model_log_p, train_models
from experiments.manylang_training import VALIDATION_WINDOWS
from experiments.ngram import window_log_p
from experiments.presets import Settings, named
from experiments.session import Options, begin, hold_to, run_to_ask
from jaxlstm import models, plots
from jaxlstm.batches import map_batches
from jaxlstm.data.text import UNKNOWN, Alphabet, alphabet_of
from jaxlstm.errors import UserError
from jaxlstm.files import write_json
from jaxlstm.reporting import console, show_result, show_unknown
from jaxlstm.runs import Run
from jaxlstm.training import Fitted


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the manylang system."""

    languages: tuple[str, ...] = tuple(LANGUAGES)
    """Codes of the languages, ISO 639-1."""
    lengths: tuple[int, ...] = (5, 10, 20, 50)
    """Characters of a window that are read before the language is said, in rising order."""
    test_windows: int = 80
    """Windows of each language, evenly spaced over its held-out text."""
    train_fraction: float = 0.8
    """Share of the words, from the first on, to learn from; the rest is held out."""
    validation_fraction: float = 0.1
    """Share of the words to learn from, the last ones, on which the epoch is chosen."""
    unknown: float = 0.03
    """Share of the characters that are hidden in training."""
    embedding_size: int = 64
    """Entries of a character's vector in the classifier."""
    classifier_size: int = 128
    """Units of the classifier's LSTM."""
    model_size: int = 64
    """Units of each language's character model."""
    model_characters: int = 126
    """Different characters that a language's character model tells apart, its most frequent ones."""
    dropout: float = 0.1
    """Share dropped: of the classifier's inputs and of its h_{t-1}, and of what the character models' heads read."""
    classifier_rate: float = 0.01
    """Learning rate of Adam for the classifier, at the start; it falls to zero along a cosine."""
    model_rate: float = 0.015
    """Learning rate of Adam for the character models, likewise."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    batch_size: int = 64
    """Windows in a step of the classifier."""
    model_batch_size: int = 8
    """Windows in a step of each character model."""
    epochs: int = 16
    """Epochs of the classifier at the most; in each, as many characters are drawn as there are."""
    model_epochs: int = 20
    """Epochs of the character models at the most."""
    patience: int = 4
    """Epochs without a better validation after which training stops."""
    ngram: int = 5
    """Order of n-gram models counted on the same text, to compare and to judge with; 0 for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "classifier_rate", "model_rate", "clip")
        require_at_least(
            self, 1, "test_windows", "embedding_size", "classifier_size", "model_size", "model_characters",
            "batch_size", "model_batch_size", "epochs", "model_epochs", "patience",
        )  # fmt: skip
        unknown = [code for code in self.languages if code not in LANGUAGES]
        if unknown or len(set(self.languages)) != len(self.languages) or len(self.languages) < 2:
            expected, got = " ".join(LANGUAGES), " ".join(self.languages)
            raise UserError(f"--languages: expected two or more, each once, of {expected}, got {got}")
        if not self.lengths or self.lengths[0] < 1 or list(self.lengths) != sorted(set(self.lengths)):
            raise UserError(f"--lengths: expected numbers from 1 on, in rising order, got {self.lengths}")
        require_at_least(self, 0, "ngram")
        require_share(self, "train_fraction", "validation_fraction")
        require_share(self, "unknown", "dropout", zero=True)


PRESETS = named(original=Config(), best=Config(model_size=96, epochs=24, model_epochs=30))

JUDGES = "judges.json"  # what the judges of a run read with, and how they judge together
PAIRS_SHOWN = 6  # of the languages taken for each other most often


class LSTMs(NamedTuple):
    """The two judges that are trained, and what they read with."""

    alphabet: Alphabet  # of the classifier
    alphabets: list[Alphabet]  # of the character models
    classifier: models.ClassifierParams
    character_models: models.TaggerParams  # every array with a leading axis [L]

    def ask(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """N texts of T characters -> log P(language | the first 1 .. T characters) [N, T, L] by each judge."""
        scores = {
            "classifier": map_batches(prefix_log_p, self.classifier, encode_all(texts, self.alphabet), 256),
            "character_models": model_log_p(self.character_models, texts, self.alphabets, self.alphabet.size),
        }
        return {name: _normalised(values) for name, values in scores.items()}


def main(
    config: Config = Config(),
    options: Options = Options(),
    predict: str | None = None,
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
) -> None:
    """Manylang: the language of a few characters, out of dozens.

    Args:
        config: What is learnt.
        options: Where it goes.
        predict: A text to identify with the LSTMs of a finished run, named by --from; nothing is trained.
        from_: The folder of that run.
    """
    if asked := run_to_ask("manylang", config, options, predict, from_):
        identify(*asked)
        return
    if options.resume is None:  # before there is a folder that an error would leave empty
        check_devices(config, options)
        load_parts(config, options)
    run = begin("manylang", config, options)
    config = run.config
    check_devices(config, options)
    parts = load_parts(config, options)
    hold_to(run, "the Universal Declaration of Human Rights", (text for part in parts for text in part))
    console.print(
        f"{len(config.languages)} languages: {count_characters(parts.train):,} characters to learn from, "
        f"{count_characters(parts.validation):,} to choose the epoch on, {count_characters(parts.test):,} held out"
    )
    lstms, (classifier, spellers) = train(run, options, parts)
    texts, labels = spaced_windows(parts.test, config.lengths[-1], config.test_windows)
    scores = scores_by_judge(run, lstms, parts, texts)
    answers = {name: values.argmax(axis=-1) for name, values in scores.items()}  # [windows, lengths]
    accuracies = {
        name: dict(zip(config.lengths, map(float, (answer == labels[:, None]).mean(axis=0)), strict=True))
        for name, answer in answers.items()
    }
    metrics = {f"{name}_{length}": accuracy for name, at in accuracies.items() for length, accuracy in at.items()}

    plot_answers(run, accuracies, labels, answers)
    console.print(f"{len(texts):,} windows of held-out text, and their first characters")
    params = (classifier.params, spellers.params)
    show_result(run.finish(metrics, {}, params, classifier.seconds + spellers.seconds))


def check_devices(config: Config, options: Options) -> None:
    """Raises a UserError unless the devices divide the languages: each trains the character models of some of them."""
    count = len(config.languages)
    if options.mesh is not None and count % options.mesh.size:
        raise UserError(f"--devices: expected a divisor of {count}, the number of languages, got {options.mesh.size}")


def train(run: Run, options: Options, parts: Parts) -> tuple[LSTMs, tuple[Fitted, Fitted]]:
    """Trains the classifier and the character models, saves them and draws how they learn."""
    config = run.config
    key_classifier, key_models = jax.random.split(jax.random.key(config.seed))
    alphabet = alphabet_of(*parts.train)
    alphabets = [frequent_characters(text, config.model_characters) for text in parts.train]
    classifier = train_classifier(run, options, parts, alphabet, key_classifier)
    run.save_parameters(classifier.params, "classifier")
    spellers = train_models(run, options, parts, alphabets, key_models)
    run.save_parameters(spellers.params, "character_models")
    draw_learning(run, classifier.rows, ["accuracy"], model="classifier", name="learning_classifier")
    draw_learning(run, spellers.rows, model="character models", name="learning_models")
    return LSTMs(alphabet, alphabets, classifier.params, spellers.params), (classifier, spellers)


def scores_by_judge(run: Run, lstms: LSTMs, parts: Parts, texts: list[str]) -> dict[str, np.ndarray]:
    """N windows of held-out text -> log P(language | its first characters) [N, lengths, L] by each judge.

    How much one counts beside another is chosen on the validation text, and kept for `identify`.
    """
    config = run.config

    def ask(texts: list[str]) -> dict[str, np.ndarray]:
        scores = lstms.ask(texts)
        if config.ngram:
            scores["ngram"] = _normalised(ngram_model_log_p(parts.train, texts, lstms.alphabet, config.ngram))
        return {name: values[:, np.array(config.lengths) - 1] for name, values in scores.items()}

    held_out, languages = spaced_windows(parts.validation, config.lengths[-1], VALIDATION_WINDOWS)
    chosen_on, scores = ask(held_out), ask(texts)
    weights = join(chosen_on, scores, languages, "character_models", "classifier", "together")
    write_json(run.folder / JUDGES, {
        "alphabet": lstms.alphabet.characters,
        "alphabets": [alphabet.characters for alphabet in lstms.alphabets],
        "weights": weights,
    })  # fmt: skip
    if config.ngram:
        join(chosen_on, scores, languages, "together", "ngram", "with_ngram")
    prefixes = [text[:length] for text in texts for length in config.lengths]
    for name, found in ask_identifiers(prefixes, config.languages, ("lingua", "py3langid")).items():
        scores[name] = found.reshape(len(texts), len(config.lengths), -1)
    return scores


def join(
    chosen_on: dict[str, np.ndarray], scores: dict[str, np.ndarray], labels: np.ndarray,
    one: str, other: str, together: str,
) -> list[float]:  # fmt: skip
    """Adds what two judges say together to the scores of both sets of windows; returns the other's weights.

    There is one for each length: that with which they are right most often about `chosen_on`, whose labels these are.
    """
    weights = weights_beside(chosen_on[one], chosen_on[other], labels)
    console.print(f"weight of {other} beside {one}, by length: {weights}")
    for found in (chosen_on, scores):
        found[together] = found[one] + np.array(weights)[:, None] * found[other]
    return weights


def plot_answers(
    run: Run, accuracies: Mapping[str, Mapping[int, float]], labels: np.ndarray, answers: Mapping[str, np.ndarray]
) -> None:
    """Each judge's accuracy by length, and the languages that all judges of the run together confuse most.

    The answers of a judge are [windows, lengths].
    """
    config = run.config
    curves = {name_of(judge, config.ngram): shares for judge, shares in accuracies.items()}
    plots.save(plots.accuracy_by_length(curves, unit="characters"), run.folder / "accuracy.png")
    together = "with_ngram" if config.ngram else "together"
    for index, length in enumerate(config.lengths):
        plot_closest(run, together, length, labels, answers[together][:, index])


def plot_closest(run: Run, judge: str, length: int, labels: np.ndarray, answers: np.ndarray) -> None:
    """The languages that the answers [windows] of a judge confuse most, after so many characters."""
    config = run.config
    matrix = confusion_matrix(labels, answers, labels=range(len(config.languages)))
    chosen = closest_languages(matrix, PAIRS_SHOWN)
    heading = (
        f"{name_of(judge, config.ngram)}, characters read: {length}\n"
        f"{len(chosen)} of {len(config.languages)} languages, those confused most;\n"
        "answers that name another are left out"
    )
    names = [config.languages[language] for language in chosen]
    figure = plots.confusion(matrix[np.ix_(chosen, chosen)], names, heading=heading)
    plots.save(figure, run.folder / f"closest_{length}.png")


def ngram_model_log_p(train: Sequence[str], texts: Sequence[str], alphabet: Alphabet, order: int) -> np.ndarray:
    """N texts of T characters -> log P(the first 1 .. T characters | language) [N, T, L], by n-gram models."""
    ids = encode_all(texts, alphabet)
    counted = ([(alphabet.encode(text), 1.0)] for text in train)
    return np.stack([window_log_p(text, ids, order, alphabet.size) for text in counted], axis=-1).cumsum(axis=1)


def _normalised(log_p: np.ndarray) -> np.ndarray:
    """log P(... | language) [..., L] -> log P(language | ...), all languages being as likely at first."""
    return np.asarray(jax.nn.log_softmax(log_p, axis=-1))


def closest_languages(matrix: np.ndarray, pairs: int) -> list[int]:
    """The languages of the pairs that are taken for each other most often, the closest pair first."""
    confused = np.triu(matrix + matrix.T, 1)
    worst = np.argsort(-confused, axis=None, kind="stable")[:pairs]
    return list(dict.fromkeys(int(language) for pair in worst for language in np.unravel_index(pair, matrix.shape)))


def identify(run: Run, text: str) -> None:
    """Prints the likeliest languages of a text, by the LSTMs of a run, and how much of it they do not know."""
    check_text("--predict", text)
    text = as_typeset(text)
    config, judges = run.config, run.read_json(JUDGES)
    lstms = load_lstms(run, Alphabet(judges["alphabet"]), [Alphabet(characters) for characters in judges["alphabets"]])
    log_p = np.zeros(len(config.languages))
    for start in range(0, len(text), config.lengths[-1]):  # as long as what they have learnt from
        window = text[start : start + config.lengths[-1]]
        scores = {name: values[0, -1] for name, values in lstms.ask([window]).items()}
        weight = judges["weights"][np.searchsorted(config.lengths[:-1], len(window))]
        log_p += scores["character_models"] + weight * scores["classifier"]
    p = np.exp(_normalised(log_p))
    best = np.argsort(-p)[:3]
    console.print("   ".join(f"{config.languages[language]} {p[language]:.3f}" for language in best))
    show_unknown(lstms.alphabet.encode(text) == UNKNOWN, "characters")


def load_lstms(run: Run, alphabet: Alphabet, alphabets: list[Alphabet]) -> LSTMs:
    """What a run has trained."""
    key = jax.random.key(0)
    classifier = jax.eval_shape(lambda key: init_classifier(key, alphabet, run.config), key)
    spellers = jax.eval_shape(lambda key: init_models(key, alphabets, run.config), key)
    return LSTMs(
        alphabet,
        alphabets,
        run.load_parameters(classifier, "classifier"),
        run.load_parameters(spellers, "character_models"),
    )
