"""Sentiment: is a film review positive or negative? The IMDB reviews of Maas et al. (2011).

The original keeps the 2,000 most frequent words and the last 80 words of a review. It watched its test
set while it trained for 15 epochs, was best after two (0.835) and ended at 0.813. The model is the same
here, but it trains for 4 epochs, with a learning rate that falls to zero: at a constant one it overfits
from the third on. The epoch is chosen on a part of the training set, and the test set is looked at once.

`--preset best` reads more of a review, in both directions, and judges from all of its steps
(`jaxlstm.models.pooled_classifier`). It knows the most frequent pairs of words beside the words. All reviews of a film
are in one half of the data, so that validation reviews drawn at random flatter: the model knows their films. They
are drawn film by film, as nearly as the order of the files allows. `--preset pretrained` learns the word vectors from
all reviews first, the unlabelled ones too (`experiments/pretraining.py`); `--preset few_labels` does so with a fifth
of the labels, where it helps most.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from sklearn.metrics import confusion_matrix

from experiments.bag_of_words import bag_of_words_accuracy
from experiments.presets import Settings, named
from experiments.pretraining import pretrain
from experiments.reviews import Parts, batches_for, read_parts, with_bigrams, words_of
from experiments.session import Options, begin, follow, require_at_least, require_texts, run_to_use
from jaxlstm import losses, models, plots
from jaxlstm.batches import map_batches
from jaxlstm.data import imdb
from jaxlstm.data.bigrams import bigram_finder
from jaxlstm.deploy.model import Input, Model
from jaxlstm.deploy.predictor import Predictor
from jaxlstm.errors import UserError
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run
from jaxlstm.training import EarlyStopping, Fitted, fit

ORIGINAL = {"accuracy": 0.81292}
DROPOUT = ("dropout", "recurrent_dropout", "output_dropout")

Params = models.ClassifierParams | models.PooledClassifierParams


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
    pooled: bool = False
    """Read in both directions, and judge from the largest and the mean output of each unit, not from the last."""
    bigrams: int = 0
    """How many of the most frequent pairs of words are symbols as well; needs --pooled."""
    bigram_size: int = 32
    """Entries of a pair's vector."""
    dropout: float = 0.2
    """Share of the LSTM's inputs dropped, the same at every step of a review."""
    recurrent_dropout: float = 0.2
    """Share of h_{t-1} dropped, the same at every step of a review."""
    output_dropout: float = 0.0
    """Share of what the answer is computed from dropped."""
    learning_rate: float = 0.002
    """Of Adam, at the start; it falls to zero along a cosine."""
    batch_size: int = 32
    """Reviews in a step."""
    by_length: bool = False
    """Make batches of reviews of similar lengths, for less padding to walk over."""
    epochs: int = 4
    """Epochs at the most."""
    validation_fraction: float = 0.1
    """Share of the training reviews on which the epoch is chosen."""
    validation_run: int = 1
    """Draw them in runs of this many neighbours, as the reviews of a film are neighbours; 1 draws each by itself."""
    patience: int = 3
    """Epochs without a better validation accuracy after which training stops."""
    max_reviews: int | None = None
    """Train and test on this many reviews at the most; all of them by default."""
    labelled: int | None = None
    """Learn from the labels of this many training reviews at the most, the validation reviews among them."""
    pretraining_epochs: int = 0
    """Epochs in which the word vectors of a pooled model are learnt first, by guessing the missing words of reviews."""
    pretraining_reviews: int | None = None
    """How many of the 50,000 unlabelled reviews are read beside the training reviews; all of them by default."""
    pretraining_rate: float = 0.02
    """Learning rate of Adam in these epochs, at the start; it falls to zero along a cosine."""
    pretraining_batch_size: int = 64
    """Reviews in a step of these epochs."""
    pretraining_skipped: int = 57
    """How many of the most frequent words are never to be guessed: they say little of a review."""
    baseline: bool = False
    """Judge the test reviews by logistic regression on words and pairs of words as well."""
    seed: int = 0
    """Source of all randomness."""

    def __post_init__(self) -> None:
        require_at_least(
            self, 1, "length", "embedding_size", "bigram_size", "hidden_size", "batch_size", "epochs", "patience",
            "validation_run",
        )  # fmt: skip
        for name in DROPOUT:
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"--{name.replace('_', '-')}: expected 0 or more and less than 1, got {getattr(self, name)}"
                )
        if not 0 < self.validation_fraction < 1:
            raise UserError(f"--validation-fraction: expected a share between 0 and 1, got {self.validation_fraction}")
        require_at_least(self, 0, "pretraining_epochs", "pretraining_skipped", "bigrams")
        require_at_least(self, 1, "pretraining_batch_size")
        require_at_least(self, imdb.FIRST_WORD + 1, "num_words")
        if self.pretraining_epochs and self.pretraining_skipped >= self.num_words - imdb.FIRST_WORD:
            raise UserError(
                f"--pretraining-skipped: expected less than {self.num_words - imdb.FIRST_WORD}, the number of words, "
                f"got {self.pretraining_skipped}"
            )
        for name in ("bigrams", "pretraining_epochs"):
            if getattr(self, name) and not self.pooled:
                raise UserError(f"--{name.replace('_', '-')}: expected --pooled beside it")


POOLED = Config(
    num_words=20_000,
    length=400,
    embedding_size=64,
    hidden_size=64,
    pooled=True,
    dropout=0.5,
    recurrent_dropout=0.0,
    output_dropout=0.5,
    batch_size=64,
    by_length=True,
    validation_run=125,
)
PRESETS = named(
    original=Config(),
    best=replace(POOLED, baseline=True, bigrams=100_000, learning_rate=0.006, epochs=1),
    pretrained=replace(POOLED, baseline=True, bigrams=100_000, learning_rate=0.005, epochs=1, pretraining_epochs=4),
    few_labels=replace(
        POOLED, labelled=5000, length=200, batch_size=16, learning_rate=0.004, epochs=4, pretraining_epochs=4
    ),
)


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
    # Before there is a folder that missing data would leave empty.
    reviews = imdb.load_imdb(options.data_dir)
    load_unlabelled = cache(lambda: imdb.load_unlabelled(reviews.vocabulary, options.data_dir))
    if config.pretraining_epochs:
        load_unlabelled()
    run = begin("sentiment", config, options)
    config = run.config
    key_params, key_split, key_reviews, key_training = jax.random.split(jax.random.key(config.seed), 4)
    parts = read_parts(run, reviews, key_split, key_reviews)
    console.print(
        f"{len(parts.train.ids):,} reviews to learn from, {len(parts.validation.ids):,} to choose the epoch on"
    )

    params, seconds = init(key_params, config), 0.0
    if isinstance(params, models.PooledClassifierParams) and config.pretraining_epochs:
        key_reading = jax.random.fold_in(key_params, 1)
        params, seconds = pretrain(run, params, parts, load_unlabelled(), key_reading, options)
    show_parameters("sentiment", params)
    fitted = train(run, params, parts, key_training, options)
    run.save_parameters(fitted.params)
    console.print(f"parameters of epoch {fitted.best_epoch}, the best on the validation reviews")

    ids, labels = parts.test
    logits = map_batches(logits_of, fitted.params, ids, 512, options.mesh)
    metrics = {"accuracy": float(np.mean((logits > 0) == labels))}
    if config.baseline:
        metrics["accuracy_bag_of_words"] = bag_of_words_accuracy(parts)
    plots.save(plots.learning_curves(fitted.rows, ["accuracy"]), run.folder / "learning.png")
    plot_answers(run, words_of(ids), labels, logits, reviews.vocabulary)
    show_result(run.finish(metrics, ORIGINAL, fitted.params, seconds + fitted.seconds))


def train(run: Run, params: Params, parts: Parts, key: jax.Array, options: Options) -> Fitted:
    """Learns to judge; the epoch is the best one on the validation reviews."""
    config: Config = run.config
    dropout = {name: getattr(config, name) for name in DROPOUT}

    def loss(params: Params, batch: tuple[jax.Array, jax.Array], key: jax.Array):
        ids, labels = batch
        logits = logits_of(params, ids, key, **dropout)
        return losses.binary_cross_entropy(logits, labels), {"accuracy": losses.binary_accuracy(logits, labels)}

    def validate(params: Params) -> dict[str, float]:
        logits = map_batches(logits_of, params, parts.validation.ids, 512, options.mesh)
        labels = jnp.asarray(parts.validation.labels)
        return {
            "loss": float(losses.binary_cross_entropy(logits, labels)),
            "accuracy": float(losses.binary_accuracy(logits, labels)),
        }

    batches = batches_for(parts.train, config, options)
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.epochs * batches.steps)
    with follow(run, config.epochs) as on_epochs:
        return fit(
            loss,
            params,
            optax.adam(schedule),
            batches,
            epochs=config.epochs,
            key=key,
            validate=validate,
            stopping=EarlyStopping("validation_accuracy", config.patience, maximise=True),
            checkpoints=run.checkpoints(),
            on_epochs=on_epochs,
            mesh=options.mesh,
        )


def plot_answers(run: Run, ids: np.ndarray, labels: np.ndarray, logits: np.ndarray, vocabulary: list[str]) -> None:
    """The confusion matrix, and reviews on which the model was most confident, rightly and wrongly."""
    matrix = confusion_matrix(labels, logits > 0, labels=[0, 1])
    plots.save(plots.confusion(matrix, ["negative", "positive"]), run.folder / "confusion.png")
    rows = _examples(ids, labels, np.asarray(jax.nn.sigmoid(logits)), vocabulary)
    plots.save(plots.examples(rows), run.folder / "examples.png")


def init(key: jax.Array, config: Config) -> Params:
    """Embedding, LSTM and one logit."""
    if config.pooled:
        symbols, sizes = [config.num_words], [config.embedding_size]
        if config.bigrams:
            symbols.append(1 + config.bigrams)
            sizes.append(config.bigram_size)
        return models.init_pooled_classifier(key, symbols, sizes, config.hidden_size, num_labels=1)
    return models.init_classifier(key, config.embedding_size, config.hidden_size, 1, vocabulary_size=config.num_words)


def logits_of(params: Params, ids: jax.Array, key: jax.Array | None = None, **dropout: float) -> jax.Array:
    """Ids [B, T], or [B, T, 2] with bigrams -> the logit [B] of a positive review; padding is masked."""
    mask = words_of(ids) != imdb.PADDING
    if isinstance(params, models.PooledClassifierParams):
        return models.classify_pooled(params, ids, mask, key=key, **dropout)[:, 0]
    return models.classify(params, ids, mask=mask, key=key, **dropout)[:, 0]


def deployed(run: Run) -> dict[str, Model]:
    """The trained model: ids [B, T], padded on any side -> the probability [B] that the review is positive.

    With bigrams the ids are [B, T, 2], the word's and the pair's.
    """
    params = run.load_parameters(jax.eval_shape(lambda key: init(key, run.config), jax.random.key(0)))

    def apply(params: Params, ids: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(logits_of(params, ids))

    def graph(graph, params: Params, ids: str) -> str:
        from jaxlstm.deploy import onnx

        words = graph.add("Gather", ids, graph.constant(0, np.int64), axis=2) if run.config.bigrams else ids
        mask = graph.add("Not", graph.add("Equal", words, graph.constant(imdb.PADDING, np.int32)))
        if isinstance(params, models.PooledClassifierParams):
            logits = onnx.classify_pooled(graph, params, ids, mask)
        else:
            logits = onnx.classify(graph, params, ids, mask=mask)
        return graph.add("Sigmoid", graph.add("Squeeze", logits, graph.constant([1], np.int64)))

    inputs = {"ids": Input(("batch", "time", 2) if run.config.bigrams else ("batch", "time"), np.int32)}
    return {"sentiment": Model(apply, params, inputs, ("probability",), graph)}


def predictor(run: Run) -> Callable[[Sequence[str | np.ndarray]], np.ndarray]:
    """N reviews, as texts or as ids [T] -> the probability [N] that each is positive; their last words are read."""
    config, vocabulary = run.config, run.read_json("vocabulary.json")
    find = bigram_finder(np.reshape(run.read_json("bigrams.json"), (-1, 2))) if config.bigrams else None
    lengths = [length for length in (8, 16, 32, 64, 128, 256) if length < config.length]
    ask = Predictor(deployed(run)["sentiment"], [*lengths, config.length])

    def encoded(review: str | np.ndarray) -> np.ndarray:
        if isinstance(review, str):
            (ids,) = imdb.encode_texts([review], vocabulary, config.num_words, config.length)
            ids = ids[ids != imdb.PADDING]
        else:
            ids = np.asarray(review)[-config.length :]
        return with_bigrams(ids[None], find)[0]

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
