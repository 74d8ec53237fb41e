"""The bag of words that is beside the sentiment model."""

import numpy as np
import pytest
from scipy.special import expit

from experiments.bag_of_words import fit_bag_of_words, fit_trust
from experiments.reviews import Examples

RNG = np.random.default_rng(0)


def examples(count):
    """The words are the same in every review; the pair "5 6", id 1, is in the positive, "6 5", id 2, in the others."""
    labels = (np.arange(count) % 2).astype(np.float32)
    ids = np.zeros((count, 9, 2), int)  # padding on the left
    for row, label in zip(ids, labels, strict=True):
        others = RNG.permutation([7, 8, 9, 10])
        row[3:, 0] = [*others[:2], *((5, 6) if label else (6, 5)), *others[2:]]
        row[6, 1] = 1 if label else 2
    return Examples(ids, labels)


def accuracy(bag, examples):
    return np.mean((bag.logits(examples.ids) > 0) == examples.labels)


def test_a_pair_of_words_can_decide():
    train, validation, test = examples(80), examples(20), examples(40)
    bag = fit_bag_of_words(train, validation, (11, 3))
    assert accuracy(bag, test) == 1.0
    assert accuracy(bag, test._replace(labels=RNG.permutation(test.labels))) < 0.8
    assert bag.weights[11 + 1] > 0 > bag.weights[11 + 2]
    words = [part._replace(ids=part.ids[..., 0]) for part in (train, validation, test)]
    assert accuracy(fit_bag_of_words(words[0], words[1], (11,)), words[2]) == 0.5


def test_how_often_and_where_a_word_stands_says_nothing():
    bag = fit_bag_of_words(examples(40), examples(20), (11, 3))
    ids = examples(6).ids
    shuffled = RNG.permuted(np.concatenate([ids, ids], axis=1), axis=1)
    shuffled[..., 1] = np.concatenate([ids, ids], axis=1)[..., 1]
    np.testing.assert_allclose(bag.logits(np.concatenate([ids, ids], axis=1)), bag.logits(ids))
    np.testing.assert_allclose(bag.logits(shuffled[:, ::-1]), bag.logits(shuffled))


def test_padding_says_nothing():
    train, validation = examples(40), examples(20)
    long = train.ids[..., 0] + 7 * ((train.ids[..., 0] == 0) & (train.labels[:, None] == 0))  # no padding in these
    words = train._replace(ids=long)
    bag = fit_bag_of_words(words, validation._replace(ids=validation.ids[..., 0]), (11,))
    assert bag.weights[0] == 0


def test_the_logits_are_the_weights_of_what_is_there():
    bag = fit_bag_of_words(examples(40), examples(20), (11, 3))
    ids = examples(6).ids
    symbols = [(set(row[:, 0]) | {11 + pair for pair in row[:, 1]}) - {0, 11} for row in ids]
    expected = [bag.bias + sum(bag.weights[symbol] for symbol in found) for found in symbols]
    np.testing.assert_allclose(bag.logits(ids), expected)


def test_what_is_uncertain_counts_less():
    train, validation = examples(80), examples(20)
    wrong = train._replace(labels=np.where(np.arange(80) % 4 < 2, train.labels, 1 - train.labels))
    assert accuracy(fit_bag_of_words(wrong, validation, (11, 3)), validation) <= 0.5
    unsure = wrong._replace(labels=np.where(np.arange(80) % 4 < 2, train.labels, np.abs(0.6 - train.labels)))
    assert accuracy(fit_bag_of_words(unsure, validation, (11, 3)), validation) == 1.0


def test_the_better_judge_is_trusted_more():
    truth = RNG.standard_normal(4000) * 3
    labels = RNG.random(4000) < expit(truth)
    judges = [truth + RNG.standard_normal(4000), truth + 3 * RNG.standard_normal(4000)]
    trust = fit_trust(judges, labels)
    assert trust.weights[0] > 2 * trust.weights[1] > 0
    together = trust.logits(judges)
    np.testing.assert_allclose(together, trust.weights[0] * judges[0] + trust.weights[1] * judges[1] + trust.bias)
    # What is said is as certain as it is right, where both labels count alike.
    each = [np.mean(expit(together)[labels == label]) for label in (False, True)]
    assert np.mean(each) == pytest.approx(0.5, abs=1e-3)
    # Reviews of one kind that are missing where the trust is learnt are no reason to expect fewer of them elsewhere.
    rows = np.flatnonzero(labels | (RNG.random(4000) < 0.25))
    skewed = fit_trust([logits[rows] for logits in judges], labels[rows])
    assert np.mean(labels[rows]) > 0.75
    assert skewed.bias == pytest.approx(trust.bias, abs=0.2)


def test_judges_of_which_nothing_is_known_are_trusted_alike():
    trust = fit_trust([np.array([1.0, 2.0]), np.array([3.0, -8.0])], np.ones(2))
    np.testing.assert_array_equal(trust.logits([np.array([1.0, 2.0]), np.array([3.0, -8.0])]), [2, -3])
