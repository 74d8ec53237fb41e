"""What the sentiment system reads: reviews to learn from, to choose on and to be measured on, as ids and in batches."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.session import Options, batch_size_for
from jaxlstm.batches import Batches, Stream, batches_by_length, batches_of
from jaxlstm.data import imdb
from jaxlstm.data.bigrams import bigram_finder, frequent_bigrams
from jaxlstm.runs import Run, write_json

WIDTHS = (0.25, 0.375, 0.5, 0.625, 0.75, 1.0)  # of --length: what a batch by length may be cut to


class Examples(NamedTuple):
    """N reviews and what was thought of the films."""

    ids: np.ndarray  # [N, T], or [N, T, 2] with bigrams
    labels: np.ndarray  # [N], 1 where positive


class Parts(NamedTuple):
    """The reviews, by what they are for."""

    train: Examples
    validation: Examples
    test: Examples
    texts: np.ndarray  # [M, T], the words of all training reviews that are not held out, labelled or not


def read_parts(run: Run, reviews: imdb.Imdb, key_split: jax.Array, key_test: jax.Array) -> Parts:
    """The reviews as the run's settings ask for them; its folder keeps what new ones are to be read by."""
    config = run.config
    write_json(run.folder / "vocabulary.json", reviews.vocabulary[: config.num_words])
    words = imdb.encode(reviews.train, config.num_words, config.length)
    rows, held_out = split_rows(key_split, len(words), config)
    labelled = rows[: None if config.labelled is None else config.labelled - len(held_out)]
    find = None
    if config.bigrams:
        bigrams = frequent_bigrams(words[rows], config.bigrams, imdb.FIRST_WORD)
        write_json(run.folder / "bigrams.json", bigrams.tolist())
        find = bigram_finder(bigrams)
    test_rows = np.asarray(jax.random.permutation(key_test, len(reviews.test.labels)))[: config.max_reviews]
    test_words = imdb.encode(reviews.test, config.num_words, config.length)

    def examples(words: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Examples:
        return Examples(with_bigrams(words[rows], find), labels[rows].astype(np.float32))

    return Parts(
        examples(words, reviews.train.labels, labelled),
        examples(words, reviews.train.labels, held_out),
        examples(test_words, reviews.test.labels, test_rows),
        words[rows],
    )


def split_rows(key: jax.Array, count: int, config: Any) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the training reviews to learn from, and of those held out, both in random order."""
    runs = np.split(np.arange(count), range(config.validation_run, count, config.validation_run))
    order = np.concatenate([runs[index] for index in np.asarray(jax.random.permutation(key, len(runs)))])
    order = order[: config.max_reviews]
    held_out = round(config.validation_fraction * len(order[: config.labelled]))
    rest = order[held_out:]
    if config.validation_run > 1:
        rest = rest[np.asarray(jax.random.permutation(jax.random.fold_in(key, 1), len(rest)))]
    return rest, order[:held_out]


def with_bigrams(ids: np.ndarray, find: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
    """Ids [N, T] -> [N, T, 2], the pair's id beside each word's, as `bigram_finder` gives it; without one the ids."""
    return ids if find is None else np.stack([ids, find(ids)], axis=-1)


def words_of(ids: Any) -> Any:
    """Ids [N, T], or [N, T, 2] with bigrams -> those of the words [N, T]."""
    return ids if ids.ndim == 2 else ids[..., 0]


def batches_for(examples: tuple[np.ndarray, ...], config: Any, options: Options) -> Batches | Stream:
    """Ids, and what goes with them, in shuffled batches, as the settings say."""
    batch_size = batch_size_for(len(examples[0]), config, options)
    if not config.by_length:
        return batches_of(examples, batch_size)
    widths = sorted({math.ceil(share * config.length) for share in WIDTHS})
    lengths = np.sum(words_of(examples[0]) != imdb.PADDING, axis=1)

    def cut(batch: tuple[np.ndarray, ...], width: int) -> tuple[np.ndarray, ...]:
        return batch[0][:, -width:], *batch[1:]

    return batches_by_length(tuple(examples), lengths, batch_size, widths, cut)
