"""What the sentiment system reads: reviews to learn from, to choose on and to be measured on, as ids and in batches."""

import math
from collections.abc import Callable
from itertools import zip_longest
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.session import Options, batch_size_for
from jaxlstm.batches import Batches, Stream, batches_by_length, batches_of, map_batches
from jaxlstm.data import imdb, word_ids
from jaxlstm.data.ngrams import frequent_ngrams, ngram_finder
from jaxlstm.files import write_json
from jaxlstm.runs import Run

Finder = Callable[[np.ndarray], np.ndarray]  # of `ngram_finder`

WIDTHS = (0.25, 0.375, 0.5, 0.625, 0.75, 1.0)  # of --length: what a batch by length may be cut to
MAPPED = 512  # reviews that are judged at a time


class Examples(NamedTuple):
    """N reviews and what was thought of the films."""

    ids: np.ndarray  # [N, T], or [N, T, E] with n-grams
    labels: np.ndarray  # [N], 1 where positive


class Parts(NamedTuple):
    """The reviews, by what they are for."""

    train: Examples
    validation: Examples
    test: Examples
    unlabelled: np.ndarray  # [M, T], or [M, T, E] with n-grams: what else may be read before the labels


def read_parts(
    run: Run, reviews: imdb.Imdb, unlabelled: word_ids.Reviews | None, key_split: jax.Array, key_test: jax.Array
) -> Parts:
    """The reviews as the run's settings ask for them; its folder keeps what new ones are to be read by."""
    config = run.config
    vocabulary = reviews.vocabulary[: config.num_words]
    write_json(run.folder / "vocabulary.json", vocabulary)
    words = word_ids.encode(reviews.train, config.num_words, config.length)
    rows, held_out = split_rows(key_split, reviews.train.labels, config)
    labelled, others = np.split(rows, [len(rows) if config.labelled is None else config.labelled - len(held_out)])
    unlabelled_words = words[others]
    if unlabelled is not None:
        more = word_ids.encode(unlabelled, config.num_words, config.length)[: config.unlabelled]
        unlabelled_words = np.concatenate([unlabelled_words, more])
    texts = np.concatenate([words[labelled], unlabelled_words])
    ngrams = [frequent_ngrams(texts, *sizes, word_ids.FIRST_WORD) for sizes in ngram_counts(config).items()]
    if ngrams:
        write_json(run.folder / "ngrams.json", [[word_ids.decode(ids, vocabulary) for ids in runs] for runs in ngrams])
    finders = list(map(ngram_finder, ngrams))
    test_rows = np.asarray(jax.random.permutation(key_test, len(reviews.test.labels)))[: config.max_reviews]
    test_words = word_ids.encode(reviews.test, config.num_words, config.length)

    def examples(words: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Examples:
        return Examples(with_ngrams(words[rows], finders), labels[rows].astype(np.float32))

    return Parts(
        examples(words, reviews.train.labels, labelled),
        examples(words, reviews.train.labels, held_out),
        examples(test_words, reviews.test.labels, test_rows),
        with_ngrams(unlabelled_words, finders),
    )


def ngram_counts(config: Any) -> dict[int, int]:
    """How many runs of words are symbols, by the number of words in them."""
    return {order: count for order, count in ((2, config.bigrams), (3, config.trigrams)) if count}


def symbol_counts(config: Any) -> list[int]:
    """How many ids there are for a word, and for each n-gram that ends with it."""
    return [config.num_words, *(1 + count for count in ngram_counts(config).values())]


def finders_of(run: Run) -> list[Finder]:
    """What finds the n-grams that the model of a run knows."""
    orders = ngram_counts(run.config)
    if not orders:
        return []
    ids = {word: word_ids.FIRST_WORD + rank for rank, word in enumerate(run.read_json("vocabulary.json"))}
    return [
        ngram_finder(np.array([[ids[word] for word in ngram.split()] for ngram in ngrams]).reshape(-1, order))
        for order, ngrams in zip(orders, run.read_json("ngrams.json"), strict=True)
    ]


def split_rows(key: jax.Array, labels: np.ndarray, config: Any) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the training reviews to learn from, in random order, and of those held out.

    Runs of neighbours are drawn by turns from the negative and from the positive reviews: a few runs by chance alone
    could be of one label, and would choose the epoch that prefers it.
    """
    *keys, key_rest = jax.random.split(key, 3)
    drawn = []
    for key_runs, label in zip(keys, (0, 1), strict=True):
        rows = np.flatnonzero(labels == label)
        runs = np.split(rows, range(config.validation_run, len(rows), config.validation_run))
        drawn.append([runs[index] for index in np.asarray(jax.random.permutation(key_runs, len(runs)))])
    none = np.zeros(0, np.int64)
    order = np.concatenate([run for runs in zip_longest(*drawn, fillvalue=none) for run in runs])
    read = len(order[: config.max_reviews])
    held_out = round(config.validation_fraction * len(order[:read][: config.labelled]))
    rest = order[held_out:]
    rest = rest[np.asarray(jax.random.permutation(key_rest, len(rest)))]
    return rest[: read - held_out], order[:held_out]


def with_ngrams(ids: np.ndarray, finders: list[Finder]) -> np.ndarray:
    """Ids [N, T] -> [N, T, E], beside each word's the ids of the n-grams that end with it; without any the ids."""
    return np.stack([ids, *(find(ids) for find in finders)], axis=-1) if finders else ids


def words_of(ids: Any) -> Any:
    """Ids [N, T], or [N, T, E] with n-grams -> those of the words [N, T]."""
    return ids if ids.ndim == 2 else ids[..., 0]


def batches_for(examples: tuple[np.ndarray, ...], config: Any, options: Options) -> Batches | Stream:
    """Ids, and what goes with them, in shuffled batches, as the settings say."""
    batch_size = batch_size_for(len(examples[0]), config, options)
    if not config.by_length:
        return batches_of(examples, batch_size)

    def cut(batch: tuple[np.ndarray, ...], width: int) -> tuple[np.ndarray, ...]:
        return batch[0][:, -width:], *batch[1:]

    ids = examples[0]
    return batches_by_length(tuple(examples), _lengths(ids), batch_size, _widths(ids), cut)


def map_reviews(function: Callable[..., Any], params: Any, ids: np.ndarray, mesh: Mesh | None = None) -> np.ndarray:
    """`function(params, batch)` [B] over all reviews [N, T] or [N, T, E] -> [N]; those of similar lengths go together.

    `jaxlstm.batches.map_batches` on batches that are cut to a width that holds their longest review: less padding.
    """
    lengths, widths = _lengths(ids), np.array(_widths(ids))
    order = np.argsort(lengths, kind="stable")
    ends = np.minimum(np.arange(len(ids)) // MAPPED * MAPPED + MAPPED, len(ids)) - 1  # of the batch that each is in
    batch_widths = widths[np.searchsorted(widths, lengths[order[ends]])]
    outputs = np.empty(len(ids), np.float32)
    for width in np.unique(batch_widths):
        rows = order[batch_widths == width]
        outputs[rows] = map_batches(function, params, ids[rows, -width:], MAPPED, mesh)
    return outputs


def _lengths(ids: np.ndarray) -> np.ndarray:
    return np.sum(words_of(ids) != word_ids.PADDING, axis=1)


def _widths(ids: np.ndarray) -> list[int]:
    """What a batch by length may be cut to."""
    return sorted({math.ceil(share * ids.shape[1]) for share in WIDTHS})
