"""Sentiment: is a film review positive or negative? The IMDB reviews of Maas et al. (2011).

The original keeps the 2,000 most frequent words and the last 80 words of a review. It watched its test
set while it trained for 15 epochs, was best after two (0.835) and ended at 0.813. The model is the same
here, but it trains for 4 epochs, with a learning rate that falls to zero: at a constant one it overfits
from the third on. The epoch is chosen on a part of the training set, and the test set is looked at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import optax
import tyro
from sklearn.metrics import confusion_matrix

from experiments.presets import Settings, named
from experiments.session import Options, begin, follow, require_at_least, require_texts, run_to_use
from jaxlstm import losses, models, plots
from jaxlstm.batches import batches_of, map_batches
from jaxlstm.data import imdb
from jaxlstm.deploy.model import Input, Model
from jaxlstm.deploy.predictor import Predictor
from jaxlstm.errors import UserError
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run, write_json
from jaxlstm.training import EarlyStopping, fit

ORIGINAL = {"accuracy": 0.81292}


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the sentiment system."""

    num_words: int = 2000
    """Size of the vocabulary, with the three symbols for padding, start and unknown words."""
    length: int = 80
    """Words of a review that are read: the last ones."""
    embedding_size: int = 128
    """Entries of a word's vector."""
    hidden_size: int = 128
    """Units of the LSTM."""
    dropout: float = 0.2
    """Share of the LSTM's inputs dropped, the same at every step of a review."""
    recurrent_dropout: float = 0.2
    """Share of h_{t-1} dropped, the same at every step of a review."""
    learning_rate: float = 0.002
    """Of Adam, at the start; it falls to zero along a cosine."""
    batch_size: int = 32
    """Reviews in a step."""
    epochs: int = 4
    """Epochs at the most."""
    validation_fraction: float = 0.1
    """Share of the training reviews on which the epoch is chosen."""
    patience: int = 3
    """Epochs without a better validation accuracy after which training stops."""
    max_reviews: int | None = None
    """Train and test on this many reviews at the most; all of them by default."""
    seed: int = 0
    """Source of all randomness."""

    def __post_init__(self) -> None:
        require_at_least(self, 1, "length", "embedding_size", "hidden_size", "batch_size", "epochs", "patience")
        for name in ("dropout", "recurrent_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"--{name.replace('_', '-')}: expected 0 or more and less than 1, got {getattr(self, name)}"
                )
        if not 0 < self.validation_fraction < 1:
            raise UserError(f"--validation-fraction: expected a share between 0 and 1, got {self.validation_fraction}")


PRESETS = named(original=Config())


def main(
    config: Config = Config(),
    options: Options = Options(),
    predict: str | None = None,
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
) -> None:
    """Sentiment: positive or negative, from the last words of a film review.

    Args:
        config: What is learnt.
        options: Where it goes.
        predict: A review to judge with the model of a finished run, named by --from; nothing is trained.
        from_: The folder of that run.
    """
    if predict is not None or from_ is not None:
        judge(run_to_use("sentiment", Config, predict, from_), predict or "")
        return
    reviews = imdb.load_imdb(options.data_dir)  # before there is a folder that missing data would leave empty
    run = begin("sentiment", config, options)
    config = run.config
    key_params, key_split, key_reviews, key_training = jax.random.split(jax.random.key(config.seed), 4)

    write_json(run.folder / "vocabulary.json", reviews.vocabulary[: config.num_words])
    ids = imdb.encode(reviews.train, config.num_words, config.length)
    order = np.asarray(jax.random.permutation(key_split, len(ids)))[: config.max_reviews]
    held_out = round(config.validation_fraction * len(order))
    train_rows, validation_rows = order[held_out:], order[:held_out]
    console.print(f"{len(train_rows):,} reviews to learn from, {held_out:,} to choose the epoch on")
    train = (ids[train_rows], reviews.train.labels[train_rows].astype(np.float32))
    validation_ids, validation_labels = ids[validation_rows], reviews.train.labels[validation_rows]

    params = init(key_params, config)
    show_parameters("sentiment", params)

    def loss(params: models.ClassifierParams, batch: tuple[jax.Array, jax.Array], key: jax.Array):
        ids, labels = batch
        logits = logits_of(params, ids, key, config.dropout, config.recurrent_dropout)
        return losses.binary_cross_entropy(logits, labels), {"accuracy": losses.binary_accuracy(logits, labels)}

    def validate(params: models.ClassifierParams) -> dict[str, float]:
        logits = map_batches(logits_of, params, validation_ids, 512, options.mesh)
        labels = validation_labels.astype(np.float32)
        return {
            "loss": float(losses.binary_cross_entropy(logits, labels)),
            "accuracy": float(losses.binary_accuracy(logits, labels)),
        }

    batches = batches_of(train, min(config.batch_size, len(train_rows)))
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.epochs * batches.steps)
    with follow(run, config.epochs) as on_epochs:
        fitted = fit(
            loss,
            params,
            optax.adam(schedule),
            batches,
            epochs=config.epochs,
            key=key_training,
            validate=validate,
            stopping=EarlyStopping("validation_accuracy", config.patience, maximise=True),
            checkpoints=run.checkpoints(),
            on_epochs=on_epochs,
            mesh=options.mesh,
        )
    run.save_parameters(fitted.params)

    test_rows = np.asarray(jax.random.permutation(key_reviews, len(reviews.test.labels)))[: config.max_reviews]
    test_ids = imdb.encode(reviews.test, config.num_words, config.length)[test_rows]
    labels = reviews.test.labels[test_rows]
    logits = map_batches(logits_of, fitted.params, test_ids, 512, options.mesh)
    accuracy = float(np.mean((logits > 0) == labels))
    console.print(f"parameters of epoch {fitted.best_epoch}, the best on the validation reviews")

    plots.save(plots.learning_curves(fitted.rows, ["accuracy"]), run.folder / "learning.png")
    plot_answers(run, test_ids, labels, logits, reviews.vocabulary)
    show_result(run.finish({"accuracy": accuracy}, ORIGINAL, fitted.params, fitted.seconds))


def plot_answers(run: Run, ids: np.ndarray, labels: np.ndarray, logits: np.ndarray, vocabulary: list[str]) -> None:
    """The confusion matrix, and reviews on which the model was most confident, rightly and wrongly."""
    matrix = confusion_matrix(labels, logits > 0, labels=[0, 1])
    plots.save(plots.confusion(matrix, ["negative", "positive"]), run.folder / "confusion.png")
    rows = _examples(ids, labels, np.asarray(jax.nn.sigmoid(logits)), vocabulary)
    plots.save(plots.examples(rows), run.folder / "examples.png")


def init(key: jax.Array, config: Config) -> models.ClassifierParams:
    """Embedding, LSTM and one logit."""
    return models.init_classifier(key, config.embedding_size, config.hidden_size, 1, vocabulary_size=config.num_words)


def logits_of(
    params: models.ClassifierParams,
    ids: jax.Array,
    key: jax.Array | None = None,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> jax.Array:
    """Ids [B, T] -> the logit [B] of a positive review; padding is masked."""
    logits = models.classify(
        params, ids, mask=ids != imdb.PADDING, key=key, dropout=dropout, recurrent_dropout=recurrent_dropout
    )
    return logits[:, 0]


def deployed(run: Run) -> dict[str, Model]:
    """The trained model: ids [B, T], padded on any side -> the probability [B] that the review is positive."""
    params = run.load_parameters(jax.eval_shape(lambda key: init(key, run.config), jax.random.key(0)))

    def apply(params: models.ClassifierParams, ids: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(logits_of(params, ids))

    def graph(graph, params: models.ClassifierParams, ids: str) -> str:
        from jaxlstm.deploy import onnx

        is_padding = graph.add("Equal", ids, graph.constant(imdb.PADDING, np.int32))
        logits = onnx.classify(graph, params, ids, mask=graph.add("Not", is_padding))
        return graph.add("Sigmoid", graph.add("Squeeze", logits, graph.constant([1], np.int64)))

    inputs = {"ids": Input(("batch", "time"), np.int32)}
    return {"sentiment": Model(apply, params, inputs, ("probability",), graph)}


def predictor(run: Run) -> Callable[[Sequence[str | np.ndarray]], np.ndarray]:
    """N reviews, as texts or as ids [T] -> the probability [N] that each is positive; their last words are read."""
    config, vocabulary = run.config, run.read_json("vocabulary.json")
    lengths = [length for length in (8, 16, 32, 64) if length < config.length]
    ask = Predictor(deployed(run)["sentiment"], [*lengths, config.length])

    def encoded(review: str | np.ndarray) -> np.ndarray:
        if not isinstance(review, str):
            return np.asarray(review)[-config.length :]
        (ids,) = imdb.encode_texts([review], vocabulary, config.num_words, config.length)
        return ids[ids != imdb.PADDING]

    def predict(reviews: Sequence[str | np.ndarray]) -> np.ndarray:
        require_texts(reviews)
        return ask([encoded(review) for review in reviews])

    return predict


def judge(run: Run, text: str) -> None:
    """Prints whether a review is positive, by the model of a run."""
    (probability,) = predictor(run)([text])
    console.print(f"{'positive' if probability > 0.5 else 'negative'}   probability of positive {probability:.3f}")


def _examples(ids: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, vocabulary: list[str]) -> list[dict]:
    """The three most confident reviews judged right and the three judged wrong."""
    confidence = np.abs(probabilities - 0.5)
    right = (probabilities > 0.5) == labels
    most_confident = np.argsort(-confidence)
    chosen = [row for group in (right, ~right) for row in most_confident[group[most_confident]][:3]]
    return [
        {
            "text": imdb.decode(ids[index], vocabulary),
            "probability": float(probabilities[index]),
            "label": int(labels[index]),
        }
        for index in chosen
    ]
