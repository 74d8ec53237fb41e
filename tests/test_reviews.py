"""What the sentiment system reads: which reviews for what, and by which symbols."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import sentiment
from experiments.reviews import MAPPED, finders_of, map_reviews, read_parts, split_rows, with_ngrams, words_of
from jaxlstm.data import imdb, word_ids
from jaxlstm.runs import Run

VOCABULARY = ["the", "a", "film", "good", "bad", "not", "very", "rare"]


def drawn(count, seed):
    """Reviews of 1 to 12 words, a few of them unknown."""
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *rng.integers(1, 13, count)])
    words = rng.integers(-1, len(VOCABULARY), offsets[-1]).astype(np.int32)
    return word_ids.Reviews(words, offsets, (np.arange(count) >= count // 2).astype(np.int32))


REVIEWS = imdb.Imdb(drawn(60, 0), drawn(20, 1), VOCABULARY)
OTHERS = drawn(30, 2)
KEYS = jax.random.split(jax.random.key(0))
CONFIG = sentiment.Config(num_words=10, length=8, pooled=True, bigrams=9, trigrams=7, validation_fraction=0.2)


@pytest.mark.parametrize(
    ("settings", "read", "counts"),
    [
        ({}, None, (48, 12, 20, 0)),
        ({}, OTHERS, (48, 12, 20, 30)),
        # What is left of the labels goes unread.
        ({"labelled": 20}, None, (16, 4, 20, 40)),
        ({"labelled": 20, "unlabelled": 5}, OTHERS, (16, 4, 20, 45)),
        ({"max_reviews": 10}, OTHERS, (8, 2, 10, 30)),
    ],
)
def test_reviews_are_read_for_one_thing_each(tmp_path, settings, read, counts):
    run = Run.create(tmp_path, "sentiment", replace(CONFIG, **settings))
    parts = read_parts(run, REVIEWS, read, *KEYS)
    assert (len(parts.train.ids), len(parts.validation.ids), len(parts.test.ids), len(parts.unlabelled)) == counts
    assert all(part.ids.shape == (len(part.labels), 8, 3) for part in parts[:3])
    encoded = word_ids.encode(REVIEWS.train, 10, 8)
    rows, held_out = split_rows(KEYS[0], REVIEWS.train.labels, run.config)
    np.testing.assert_array_equal(words_of(parts.validation.ids), encoded[held_out])
    np.testing.assert_array_equal(parts.validation.labels, REVIEWS.train.labels[held_out])
    np.testing.assert_array_equal(words_of(parts.train.ids), encoded[rows[: counts[0]]])
    np.testing.assert_array_equal(parts.train.labels, REVIEWS.train.labels[rows[: counts[0]]])
    unread = len(rows) - counts[0]
    np.testing.assert_array_equal(words_of(parts.unlabelled)[:unread], encoded[rows[counts[0] :]])
    np.testing.assert_array_equal(
        words_of(parts.unlabelled)[unread:], word_ids.encode(OTHERS, 10, 8)[: counts[3] - unread]
    )


def test_new_reviews_are_read_by_the_symbols_of_the_run(tmp_path):
    run = Run.create(tmp_path, "sentiment", CONFIG)
    parts = read_parts(run, REVIEWS, None, *KEYS)
    finders = finders_of(Run.open(run.folder, "sentiment", sentiment.Config))
    for part in parts[:3]:
        np.testing.assert_array_equal(with_ngrams(words_of(part.ids), finders), part.ids)
    assert parts.test.ids[..., 1].max() == 9
    assert parts.train.ids[..., 2].max() == 7
    words = Run.create(tmp_path, "sentiment", replace(CONFIG, bigrams=0, trigrams=0))
    assert read_parts(words, REVIEWS, None, *KEYS).test.ids.shape == (20, 8)
    assert finders_of(words) == []


def test_test_reviews_have_no_say_in_the_symbols(tmp_path):
    folders = []
    for test in (REVIEWS.test, drawn(20, 3)):
        run = Run.create(tmp_path, "sentiment", CONFIG)
        read_parts(run, REVIEWS._replace(test=test), None, *KEYS)
        folders.append(run.folder)
    first, second = ((folder / "ngrams.json").read_bytes() for folder in folders)
    assert first == second


LABELS = np.repeat([0, 1], [45, 55])


def test_reviews_are_held_out_in_runs():
    key, config = jax.random.key(0), sentiment.Config(validation_run=5, validation_fraction=0.2, labelled=80)
    train, held_out = split_rows(key, LABELS, config)
    assert sorted([*train, *held_out]) == list(range(100))
    assert len(held_out) == 16  # a fifth of 80: three whole runs and one of the next
    runs = held_out[:15].reshape(3, 5)
    assert (np.diff(runs) == 1).all()
    assert np.mean(np.abs(np.diff(train)) == 1) < 0.2  # the others are in no order
    # Fewer reviews to learn from are of all films, not of the first few.
    fewer, _ = split_rows(key, LABELS, replace(config, max_reviews=40, labelled=None))
    assert len(fewer) == 40 - 8
    assert len({row // 5 for row in fewer}) > 12


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("run", [1, 5])
def test_as_many_are_held_out_of_each_label(seed, run):
    config = sentiment.Config(validation_run=run, validation_fraction=0.2)
    train, held_out = split_rows(jax.random.key(seed), LABELS, config)
    assert LABELS[held_out].mean() == 0.5
    assert sorted([*train, *held_out]) == list(range(100))
    train, held_out = split_rows(jax.random.key(seed), LABELS, replace(config, max_reviews=50, validation_run=1))
    assert (len(train), len(held_out), LABELS[held_out].mean()) == (40, 10, 0.5)
    assert 10 < LABELS[train].sum() < 30


@pytest.mark.parametrize("ngrams", [False, True])
def test_reviews_of_similar_lengths_are_judged_together(ngrams):
    count, length = 2 * MAPPED + 3, 16
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 9, (count, length))
    ids[np.arange(length) < length - np.minimum(rng.geometric(0.3, count), length)[:, None]] = word_ids.PADDING
    if ngrams:
        ids = np.stack([ids, 2 * ids], axis=-1)
    shapes = []

    def judge(scale, ids):
        shapes.append(ids.shape)
        steps = jnp.arange(ids.shape[1])[::-1]  # counted from the end, where no padding is
        return scale * jnp.sum(ids.reshape(*ids.shape[:2], -1).sum(axis=-1) * (1 + steps), axis=1)

    expected = np.sum(ids.reshape(count, length, -1).sum(axis=-1) * np.arange(length, 0, -1), axis=1)
    np.testing.assert_array_equal(map_reviews(judge, 2.0, ids), 2 * expected)
    assert sorted({shape[1] for shape in shapes}) == [4, 16]
