"""Sentiment: is a film review positive or negative? The IMDB reviews of Maas et al. (2011).

The original keeps the 2,000 most frequent words and the last 80 words of a review. It watched its test
set while it trained for 15 epochs, was best after two (0.835) and ended at 0.813. The model is the same
here, but it trains for 4 epochs, with a learning rate that falls to zero: at a constant one it overfits
from the third on. The epoch is chosen on a part of the training set, and the test set is looked at once.

`--preset best` reads more of a review, in both directions, and judges from all of its steps
(`jaxlstm.models.pooled_classifier`). It knows the most frequent pairs of words beside the words, and three such models,
which learn differently at random, judge together. All reviews of a film are in one half of the data, so that validation
reviews drawn at random flatter: the model knows their films. They are drawn film by film, as nearly as the order of the
files allows. `--preset pretrained` learns the word vectors from all reviews first, the unlabelled ones too
(`experiments/pretraining.py`); `--preset few_labels` does so with a fifth of the labels, where it helps most. `--preset
self_trained` then learns again, from all reviews, those without a label too (`experiments/self_training.py`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from sklearn.metrics import confusion_matrix

from experiments.checks import check_text, option, require_at_least, require_positive, require_share, texts_in
from experiments.judges import LSTM
from experiments.keys import keys_for
from experiments.learning import draw_learning
from experiments.optimisers import cosine_adam
from experiments.presets import Settings, named
from experiments.pretraining import pretrain
from experiments.review_classifier import Classifier, Params, deployed, ensemble_of, init, logits_of
from experiments.reviews import Examples, batches_for, finders_of, map_reviews, read_parts, with_ngrams, words_of
from experiments.self_training import accuracies, examples_taught_by, judges_of
from experiments.session import Options, begin, follow, hold_to, run_to_ask
from jaxlstm import losses, plots
from jaxlstm.data import imdb, word_ids
from jaxlstm.deploy.predictor import Predictor
from jaxlstm.errors import UserError
from jaxlstm.reporting import console, show_parameters, show_result, show_unknown
from jaxlstm.runs import Run
from jaxlstm.training import EarlyStopping, Fitted, Row, fit

ORIGINAL = {"accuracy": 0.81292}
STUDENT = "self_training"  # and a number: a new model's name in the run's metrics and checkpoints
DROPOUT = ("dropout", "recurrent_dropout", "output_dropout")


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
    trigrams: int = 0
    """How many of the most frequent runs of three words are; needs --pooled."""
    ngram_size: int = 32
    """Entries of the vector of a pair or of a run of three."""
    models: int = 1
    """How many models learn, each differently at random; the mean of their logits counts."""
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
    pretraining_rate: float = 0.02
    """Learning rate of Adam in these epochs, at the start; it falls to zero along a cosine."""
    pretraining_batch_size: int = 64
    """Reviews in a step of these epochs."""
    pretraining_skipped: int = 57
    """How many of the most frequent words are never to be guessed: they say little of a review."""
    self_training_rounds: int = 0
    """How often a new pooled model learns what the last one, with a bag of words, says of reviews without a label."""
    self_training_epochs: int = 1
    """Epochs of each new model."""
    unlabelled: int | None = None
    """How many of the 50,000 unlabelled reviews are read for pretraining and self-training; all of them by default."""
    bag_of_words: bool = False
    """Learn logistic regression on the words and n-grams as well, and judge the test reviews by it and by both."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate", "pretraining_rate")
        require_at_least(
            self, 1, "length", "embedding_size", "ngram_size", "hidden_size", "batch_size", "epochs", "patience",
            "validation_run", "models",
        )  # fmt: skip
        require_share(self, *DROPOUT, zero=True)
        require_share(self, "validation_fraction")
        require_at_least(self, 0, "bigrams", "trigrams")
        require_at_least(self, 0, "pretraining_epochs", "pretraining_skipped", "self_training_rounds")
        require_at_least(self, 1, "pretraining_batch_size", "self_training_epochs")
        require_at_least(self, word_ids.FIRST_WORD + 1, "num_words")
        # One review to learn from, and one to choose the epoch on.
        fewest = math.ceil(1 / min(self.validation_fraction, 1 - self.validation_fraction))
        for name, minimum in {"max_reviews": fewest, "labelled": fewest, "unlabelled": 0}.items():
            if getattr(self, name) is not None:
                require_at_least(self, minimum, name)
        words = self.num_words - word_ids.FIRST_WORD
        if self.pretraining_epochs and self.pretraining_skipped >= words:
            got = self.pretraining_skipped
            raise UserError(f"--pretraining-skipped: expected less than {words}, the number of words, got {got}")
        for name in ("bigrams", "trigrams", "pretraining_epochs", "self_training_rounds"):
            if getattr(self, name) and not self.pooled:
                raise UserError(f"{option(name)}: expected --pooled beside it")
        if self.self_training_rounds and not self.bag_of_words:
            raise UserError("--self-training-rounds: expected --bag-of-words beside it, the other teacher")

    @property
    def reads_unlabelled(self) -> bool:
        """Whether the reviews without a label are of use."""
        return bool(self.pretraining_epochs or self.self_training_rounds)


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
    best=replace(POOLED, bag_of_words=True, models=3, bigrams=100_000, learning_rate=0.006, epochs=1),
    pretrained=replace(
        POOLED, bag_of_words=True, models=3, bigrams=100_000, learning_rate=0.005, epochs=1, pretraining_epochs=4
    ),
    self_trained=replace(
        POOLED,
        bag_of_words=True,
        length=640,
        models=3,
        bigrams=300_000,
        trigrams=300_000,
        ngram_size=16,
        learning_rate=0.005,
        epochs=1,
        pretraining_epochs=4,
        self_training_rounds=1,
    ),
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
    if asked := run_to_ask("sentiment", config, options, predict, from_):
        judge(*asked)
        return
    # Before there is a folder that missing data would leave empty.
    reviews = imdb.load_imdb(options.data_dir)
    load_unlabelled = cache(lambda: imdb.load_unlabelled(reviews.vocabulary, options.data_dir))
    if config.reads_unlabelled:
        load_unlabelled()
    run = begin("sentiment", config, options)
    config = run.config
    key_params, key_split, key_reviews, key_training, key_vectors, key_students = jax.random.split(
        jax.random.key(config.seed), 6
    )
    hold_to(run, "the film reviews", ["\n".join(reviews.vocabulary), *reviews.train, *reviews.test])
    unlabelled = load_unlabelled() if config.reads_unlabelled else None
    parts = read_parts(run, reviews, unlabelled, key_split, key_reviews)
    console.print(
        f"{len(parts.train.ids):,} reviews to learn from, {len(parts.validation.ids):,} to choose the epoch on"
    )

    vectors, seconds = None, 0.0
    if config.pretraining_epochs:
        vectors, seconds = pretrain(run, parts, key_vectors, options)
    starts = [init(key, config, vectors) for key in keys_for(config.models, key_params)]
    show_parameters("sentiment", starts[0])
    params, rows, took = train(run, starts, parts.train, parts.validation, key_training, options, config.epochs)
    seconds += took
    judges = judges_of(params, parts.train, parts.validation, config, options)
    for number, key in enumerate(jax.random.split(key_students, config.self_training_rounds), 1):
        taught, epochs = examples_taught_by(judges, parts, options), config.self_training_epochs
        params, rows, took = train(run, starts, taught, parts.validation, key, options, epochs, f"{STUDENT}_{number}")
        seconds += took
        judges = judges_of(params, taught, parts.validation, config, options)
    run.save_parameters(params)

    ids, labels = parts.test
    logits = judges.logits(ids, options)
    draw_learning(run, rows, ["accuracy"])
    plot_answers(run, words_of(ids), labels, logits[LSTM], reviews.vocabulary)
    show_result(run.finish(accuracies(logits, labels), ORIGINAL, params, seconds))


def train(
    run: Run,
    starts: Sequence[Classifier],
    examples: Examples,
    validation: Examples,
    key: jax.Array,
    options: Options,
    epochs: int,
    stage: str = "",
) -> tuple[Params, list[Row], float]:
    """Learns to judge, from each start -> the models, the epochs of the first one, and the seconds.

    A model's epoch is the best one on the validation reviews.
    """
    config: Config = run.config
    dropout = {name: getattr(config, name) for name in DROPOUT}

    def loss(params: Classifier, batch: tuple[jax.Array, jax.Array], key: jax.Array):
        ids, labels = batch
        logits = logits_of(params, ids, key, **dropout)
        return losses.binary_cross_entropy(logits, labels), {"accuracy": losses.binary_accuracy(logits, labels)}

    def validate(params: Classifier) -> dict[str, float]:
        logits = jnp.asarray(map_reviews(logits_of, params, validation.ids, options.mesh))
        labels = jnp.asarray(validation.labels)
        return {
            "loss": float(losses.binary_cross_entropy(logits, labels)),
            "accuracy": float(losses.binary_accuracy(logits, labels)),
        }

    batches = batches_for(examples, config, options)
    optimiser = cosine_adam(config.learning_rate, epochs * batches.steps)
    fitted: list[Fitted] = []
    for number, (start, key_model) in enumerate(zip(starts, keys_for(len(starts), key), strict=True), 1):
        name = stage if number == 1 else f"{stage}_model_{number}".removeprefix("_")
        with follow(run, epochs, name) as on_epochs:
            learnt = fit(
                loss,
                start,
                optimiser,
                batches,
                epochs=epochs,
                key=key_model,
                validate=validate,
                stopping=EarlyStopping("validation_accuracy", config.patience, maximise=True),
                checkpoints=run.checkpoints(name),
                on_epochs=on_epochs,
                mesh=options.mesh,
            )
        console.print(f"parameters of epoch {learnt.best_epoch}, the best on the validation reviews")
        fitted.append(learnt)
    return ensemble_of([one.params for one in fitted]), fitted[0].rows, sum(one.seconds for one in fitted)


def plot_answers(run: Run, ids: np.ndarray, labels: np.ndarray, logits: np.ndarray, vocabulary: list[str]) -> None:
    """The confusion matrix, and reviews on which the model was most confident, rightly and wrongly."""
    matrix = confusion_matrix(labels, logits > 0, labels=[0, 1])
    plots.save(plots.confusion(matrix, ["negative", "positive"]), run.folder / "confusion.png")
    rows = _examples(ids, labels, np.asarray(jax.nn.sigmoid(logits)), vocabulary)
    column = "the review as the model reads it, ? for each unknown word"
    plots.save(plots.examples(rows, column=column), run.folder / "examples.png")


def predictor(run: Run) -> Callable[[Sequence[str | np.ndarray]], np.ndarray]:
    """N reviews, as texts or as ids [T] -> the probability [N] that each is positive; their last words are read."""
    config, vocabulary = run.config, run.read_json("vocabulary.json")
    finders = finders_of(run)
    lengths = [length for length in (8, 16, 32, 64, 128, 256) if length < config.length]
    ask = Predictor(deployed(run)["sentiment"], [*lengths, config.length])

    def encoded(review: str | np.ndarray) -> np.ndarray:
        ids = encode(review, vocabulary, config) if isinstance(review, str) else np.asarray(review)[-config.length :]
        return with_ngrams(ids[None], finders)[0]

    def predict(reviews: Sequence[str | np.ndarray]) -> np.ndarray:
        reviews = texts_in(reviews, word_ids.tokenise)
        return ask([encoded(review) for review in reviews])

    return predict


def encode(review: str, vocabulary: list[str], config: Config) -> np.ndarray:
    """A review -> the ids [T] of its last words, after START where all of it is there."""
    (ids,) = word_ids.encode_texts([review], vocabulary, config.num_words, config.length)
    return ids[ids != word_ids.PADDING]


def judge(run: Run, text: str) -> None:
    """Prints whether a review is positive, by the model of a run, and how many of its words the model does not know."""
    check_text("--predict", text, word_ids.tokenise)
    ids = encode(text, run.read_json("vocabulary.json"), run.config)
    (probability,) = predictor(run)([ids])
    console.print(f"{'positive' if probability > 0.5 else 'negative'}   probability of positive {probability:.3f}")
    show_unknown(ids[ids != word_ids.START] == word_ids.UNKNOWN, "words")


def _examples(ids: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, vocabulary: list[str]) -> list[dict]:
    """The three most confident reviews judged right and the three judged wrong."""
    confidence = np.abs(probabilities - 0.5)
    right = (probabilities > 0.5) == labels
    most_confident = np.argsort(-confidence)
    chosen = [row for group in (right, ~right) for row in most_confident[group[most_confident]][:3]]
    return [
        {
            "text": word_ids.decode(ids[index], vocabulary),
            "probability": float(probabilities[index]),
            "label": int(labels[index]),
        }
        for index in chosen
    ]
