"""Manylang: which of many languages is a short string in? One classifier, and one character model for each language.

The text is the Universal Declaration of Human Rights, some 10,000 characters a language, in the languages that
two identifiers taught on millions of sentences know as well (Lingua and py3langid, `experiments.identifiers`).
All are asked about the same windows of held-out text, and about their first 5, 10 and 20 characters.

The classifier is an LSTM over characters with a softmax over the languages after each of them, so that a window
teaches all lengths up to its own. The character models, one LSTM for each language, are trained in one program
(`jax.vmap`), and the string belongs to the one that gives it the highest probability, log P(s | language).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from sklearn.metrics import confusion_matrix

from experiments.checks import require_at_least, require_share, require_texts
from experiments.declarations import (
    LANGUAGES,
    Parts,
    count_characters,
    draw_windows,
    encode_all,
    frequent_characters,
    load_parts,
    on_device,
    spaced_windows,
)
from experiments.identifiers import ask_identifiers
from experiments.language_models import log_p_of
from experiments.ngram import window_log_p
from experiments.presets import Settings, named
from experiments.session import Options, begin, follow, run_to_ask
from jaxlstm import losses, models, plots
from jaxlstm.batches import Batches, generated, map_batches
from jaxlstm.data.text import START, UNKNOWN, Alphabet, alphabet_of
from jaxlstm.errors import UserError
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run, write_json
from jaxlstm.training import EarlyStopping, Fitted, Loss, fit


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
    """Order of n-gram models counted on the same text, to compare with; 0 for none."""
    seed: int = 0
    """Source of all randomness."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(
            self, 1, "test_windows", "embedding_size", "classifier_size", "model_size", "model_characters",
            "batch_size", "model_batch_size", "epochs", "model_epochs", "patience",
        )  # fmt: skip
        unknown = [code for code in self.languages if code not in LANGUAGES]
        if unknown or len(set(self.languages)) != len(self.languages) or len(self.languages) < 2:
            raise UserError(f"--languages: expected two or more of {' '.join(LANGUAGES)}, got {self.languages}")
        if not self.lengths or self.lengths[0] < 1 or list(self.lengths) != sorted(set(self.lengths)):
            raise UserError(f"--lengths: expected numbers from 1 on, in rising order, got {self.lengths}")
        require_at_least(self, 0, "ngram")
        require_share(self, "train_fraction", "validation_fraction")
        require_share(self, "unknown", "dropout", zero=True)


PRESETS = named(original=Config(), best=Config(model_size=96, epochs=24, model_epochs=30))

# Windows of each language's validation text; those of all of them are looked at after each epoch.
VALIDATION_WINDOWS = 25
WEIGHTS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)  # of the classifier beside the character models
PAIRS_SHOWN = 6  # of the languages taken for each other most often


class Task(NamedTuple):
    """What the classifier or the character models learn, from what, and for how long."""

    name: str  # in the run's metrics and checkpoints
    loss: Loss
    params: Any  # at the start
    batches: Batches
    validate: Callable[[Any], dict[str, float]]
    learning_rate: float  # at the start
    epochs: int  # at the most


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
        predict: A text to identify with the classifier of a finished run, named by --from; nothing is trained.
        from_: The folder of that run.
    """
    if asked := run_to_ask("manylang", config, predict, from_):
        identify(*asked)
        return
    if options.resume is None:
        load_parts(config, options)  # before there is a folder that a missing file would leave empty
    run = begin("manylang", config, options)
    config = run.config
    parts = load_parts(config, options)
    console.print(
        f"{len(config.languages)} languages: {count_characters(parts.train):,} characters to learn from, "
        f"{count_characters(parts.validation):,} to choose the epoch on, {count_characters(parts.test):,} held out"
    )
    key_classifier, key_models = jax.random.split(jax.random.key(config.seed))
    alphabet = alphabet_of(*parts.train)
    write_json(run.folder / "alphabet.json", alphabet.characters)
    classifier = train_classifier(run, options, parts, alphabet, key_classifier)
    run.save_parameters(classifier.params, "classifier")
    alphabets = [frequent_characters(text, config.model_characters) for text in parts.train]
    spellers = train_models(run, options, parts, alphabets, key_models)
    run.save_parameters(spellers.params, "character_models")

    def ask(texts: list[str]) -> dict[str, np.ndarray]:
        scores = {
            "classifier": map_batches(_prefix_log_p, classifier.params, encode_all(texts, alphabet), 256),
            "character_models": model_log_p(spellers.params, texts, alphabets, alphabet.size),
        }
        return {name: _normalised(values)[:, np.array(config.lengths) - 1] for name, values in scores.items()}

    held_out, languages = spaced_windows(parts.validation, config.lengths[-1], VALIDATION_WINDOWS)
    weights = weights_of_the_classifier(ask(held_out), languages)
    console.print(
        "weight of the classifier beside the character models", dict(zip(config.lengths, weights, strict=True))
    )
    texts, labels = spaced_windows(parts.test, config.lengths[-1], config.test_windows)
    scores = ask(texts)
    scores["together"] = scores["character_models"] + np.array(weights)[:, None] * scores["classifier"]
    if config.ngram:
        scores["ngram"] = ngram_model_log_p(parts.train, texts, alphabet, config.ngram)[:, np.array(config.lengths) - 1]
    prefixes = [text[:length] for text in texts for length in config.lengths]
    for name, found in ask_identifiers(prefixes, config.languages, ("lingua", "py3langid")).items():
        scores[name] = found.reshape(len(texts), len(config.lengths), -1)
    answers = {name: values.argmax(axis=-1) for name, values in scores.items()}  # [windows, lengths]
    accuracies = {
        name: dict(zip(config.lengths, map(float, (answer == labels[:, None]).mean(axis=0)), strict=True))
        for name, answer in answers.items()
    }
    metrics = {f"{name}_{length}": accuracy for name, at in accuracies.items() for length, accuracy in at.items()}

    plot_answers(run, accuracies, labels, answers["together"])
    plots.save(plots.learning_curves(classifier.rows, ["accuracy"]), run.folder / "learning_classifier.png")
    plots.save(plots.learning_curves(spellers.rows, []), run.folder / "learning_models.png")
    console.print(f"{len(texts):,} windows of held-out text, and their first characters")
    params = (classifier.params, spellers.params)
    show_result(run.finish(metrics, {}, params, classifier.seconds + spellers.seconds))


def plot_answers(
    run: Run, accuracies: Mapping[str, Mapping[int, float]], labels: np.ndarray, answers: np.ndarray
) -> None:
    """Each judge's accuracy by length, and the languages that answers [windows, lengths] confuse most."""
    config = run.config
    plots.save(plots.accuracy_by_length(accuracies), run.folder / "accuracy.png")
    for index, length in enumerate(config.lengths):
        matrix = confusion_matrix(labels, answers[:, index], labels=range(len(config.languages)))
        chosen = closest_languages(matrix, PAIRS_SHOWN)
        figure = plots.confusion(matrix[np.ix_(chosen, chosen)], [config.languages[language] for language in chosen])
        plots.save(figure, run.folder / f"closest_{length}.png")


def train_classifier(run: Run, options: Options, parts: Parts, alphabet: Alphabet, key: jax.Array) -> Fitted:
    """Trains the classifier, on windows of all languages together."""
    config = run.config
    key_params, key_training = jax.random.split(key)
    params = init_classifier(key_params, alphabet, config)
    show_parameters("manylang, classifier", params)
    texts = on_device(parts.train, [alphabet] * len(parts.train))
    length = config.lengths[-1]

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_languages, key_windows = jax.random.split(key)
        languages = jax.random.randint(key_languages, (config.batch_size,), 0, len(config.languages))
        return draw_windows(key_windows, texts, languages, length, config.unknown), languages

    def loss(params: models.ClassifierParams, batch: tuple[jax.Array, jax.Array], key: jax.Array):
        ids, languages = batch
        logits = models.classify_prefixes(
            params, ids, key=key, dropout=config.dropout, recurrent_dropout=config.dropout
        )
        labels = jnp.broadcast_to(languages[:, None], ids.shape)
        return losses.cross_entropy(logits, labels), {"accuracy": losses.accuracy(logits, labels)}

    windows, labels = spaced_windows(parts.validation, length, VALIDATION_WINDOWS)
    ids = encode_all(windows, alphabet)

    def validate(params: models.ClassifierParams) -> dict[str, float]:
        log_p = map_batches(_prefix_log_p, params, ids, 256)
        right = log_p.argmax(axis=-1) == labels[:, None]
        return {
            "loss": float(-log_p[np.arange(len(labels)), :, labels].mean()),
            "accuracy": float(right[:, np.array(config.lengths) - 1].mean()),
        }

    steps = max(1, count_characters(parts.train) // (config.batch_size * length))
    task = Task(
        name="classifier",
        loss=loss,
        params=params,
        batches=generated(draw, steps),
        validate=validate,
        learning_rate=config.classifier_rate,
        epochs=config.epochs,
    )
    return _fit(run, options, task, key_training)


def train_models(run: Run, options: Options, parts: Parts, alphabets: Sequence[Alphabet], key: jax.Array) -> Fitted:
    """Trains the character models, one for each language, side by side."""
    config = run.config
    key_params, key_training = jax.random.split(key)
    params = init_models(key_params, alphabets, config)
    show_parameters(f"manylang, {len(alphabets)} character models", params)
    texts = on_device(parts.train, alphabets)
    length = config.lengths[-1]
    languages = jnp.repeat(jnp.arange(len(alphabets)), config.model_batch_size)

    def draw(key: jax.Array) -> jax.Array:
        return draw_windows(key, texts, languages, length, config.unknown).reshape(len(alphabets), -1, length)

    def loss(params: models.TaggerParams, ids: jax.Array, key: jax.Array):
        def of_language(params: models.TaggerParams, ids: jax.Array, key: jax.Array) -> jax.Array:
            return -jnp.mean(models.log_probabilities(params, ids, START, key=key, dropout=config.dropout))

        return jnp.mean(jax.vmap(of_language)(params, ids, jax.random.split(key, len(alphabets)))), {}

    validation = np.stack(
        [
            encode_all(spaced_windows([text], length, VALIDATION_WINDOWS)[0], alphabet)
            for text, alphabet in zip(parts.validation, alphabets, strict=True)
        ]
    )

    @jax.jit
    def nats(params: models.TaggerParams) -> jax.Array:
        return -jnp.mean(jax.vmap(log_p_of)(params, jnp.asarray(validation)))

    steps = max(1, count_characters(parts.train) // (len(alphabets) * config.model_batch_size * length))
    task = Task(
        name="character-models",
        loss=loss,
        params=params,
        batches=generated(draw, steps),
        validate=lambda params: {"loss": float(nats(params))},
        learning_rate=config.model_rate,
        epochs=config.model_epochs,
    )
    return _fit(run, options, task, key_training)


def _fit(run: Run, options: Options, task: Task, key: jax.Array) -> Fitted:
    schedule = optax.cosine_decay_schedule(task.learning_rate, task.epochs * task.batches.steps)
    with follow(run, task.epochs, task.name) as on_epochs:
        return fit(
            task.loss,
            task.params,
            optax.chain(optax.clip_by_global_norm(run.config.clip), optax.adam(schedule)),
            task.batches,
            epochs=task.epochs,
            key=key,
            validate=task.validate,
            stopping=EarlyStopping("validation_loss", run.config.patience),
            checkpoints=run.checkpoints(task.name),
            on_epochs=on_epochs,
            mesh=options.mesh,
        )


def init_classifier(key: jax.Array, alphabet: Alphabet, config: Config) -> models.ClassifierParams:
    """Embedding, LSTM and a logit for each language."""
    return models.init_classifier(
        key, config.embedding_size, config.classifier_size, len(config.languages), vocabulary_size=alphabet.size
    )


def init_models(key: jax.Array, alphabets: Sequence[Alphabet], config: Config) -> models.TaggerParams:
    """The character models of L languages, every array with a leading axis [L], as wide as the largest alphabet."""
    size = max(alphabet.size for alphabet in alphabets)
    keys = jax.random.split(key, len(alphabets))
    return jax.vmap(lambda key: models.init_language_model(key, size, config.model_size))(keys)


def _prefix_log_p(params: models.ClassifierParams, ids: jax.Array) -> jax.Array:
    """ids [B, T] -> log P(language | the first 1 .. T characters) [B, T, L]."""
    return jax.nn.log_softmax(models.classify_prefixes(params, ids))


def model_log_p(
    params: models.TaggerParams, texts: Sequence[str], alphabets: Sequence[Alphabet], characters: int
) -> np.ndarray:
    """N texts of T characters -> log P(the first 1 .. T characters | language) [N, T, L].

    `characters` is the number of all there are. Those that a model does not tell apart share the probability of
    UNKNOWN; undivided, a language of many characters would claim every text in another script.
    """
    log_p = []
    for language, alphabet in enumerate(alphabets):
        of_language = jax.tree.map(lambda leaf, language=language: leaf[language], params)
        ids = encode_all(texts, alphabet)
        shared = np.where(ids == UNKNOWN, np.log(characters - len(alphabet.characters)), 0)
        log_p.append(map_batches(log_p_of, of_language, ids, 256) - shared)
    return np.stack(log_p, axis=-1).cumsum(axis=1)


def ngram_model_log_p(train: Sequence[str], texts: Sequence[str], alphabet: Alphabet, order: int) -> np.ndarray:
    """N texts of T characters -> log P(the first 1 .. T characters | language) [N, T, L], by n-gram models."""
    ids = encode_all(texts, alphabet)
    counted = ([(alphabet.encode(text), 1.0)] for text in train)
    return np.stack([window_log_p(text, ids, order, alphabet.size) for text in counted], axis=-1).cumsum(axis=1)


def _normalised(log_p: np.ndarray) -> np.ndarray:
    """log P(... | language) [..., L] -> log P(language | ...), all languages being as likely at first."""
    return np.asarray(jax.nn.log_softmax(log_p, axis=-1))


def weights_of_the_classifier(scores: dict[str, np.ndarray], labels: np.ndarray) -> list[float]:
    """For each length, by how much to multiply the classifier's score to be right most often beside the other's."""
    sums = (scores["character_models"] + weight * scores["classifier"] for weight in WEIGHTS)
    right = [(scores.argmax(axis=-1) == labels[:, None]).mean(axis=0) for scores in sums]  # [weights, lengths]
    return [WEIGHTS[best] for best in np.argmax(right, axis=0)]


def closest_languages(matrix: np.ndarray, pairs: int) -> list[int]:
    """The languages of the pairs that are taken for each other most often, the closest pair first."""
    confused = np.triu(matrix + matrix.T, 1)
    worst = np.argsort(-confused, axis=None, kind="stable")[:pairs]
    return list(dict.fromkeys(int(language) for pair in worst for language in np.unravel_index(pair, matrix.shape)))


def identify(run: Run, text: str) -> None:
    """Prints the likeliest languages of a text, by the classifier of a run."""
    require_texts([text])
    alphabet = Alphabet(run.read_json("alphabet.json"))
    like = jax.eval_shape(lambda key: init_classifier(key, alphabet, run.config), jax.random.key(0))
    params = run.load_parameters(like, "classifier")
    (log_p,) = np.asarray(_prefix_log_p(params, jnp.asarray(alphabet.encode(text)[None])))[:, -1]
    best = np.argsort(-log_p)[:3]
    console.print("   ".join(f"{run.config.languages[language]} {np.exp(log_p[language]):.3f}" for language in best))
