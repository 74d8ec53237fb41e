"""The n-gram model against its formula, written as a recursion over strings."""

from collections import Counter

import numpy as np
import pytest

from experiments.ngram import ngram_log_p, window_log_p
from jaxlstm.data.text import START

V = 5
RNG = np.random.default_rng(0)
TRAIN = RNG.choice(np.arange(2, V), 200, p=[0.6, 0.3, 0.1])  # 1 never occurs in it, START before it alone
TEXT = RNG.integers(1, V, 40)


def probability(context: tuple, symbol: int, grams: dict[int, Counter]) -> float:
    """P(symbol | context), where grams[n] counts the n-grams of the training text."""
    shorter = probability(context[1:], symbol, grams) if context else 1 / V
    followers = {gram: count for gram, count in grams[len(context) + 1].items() if gram[:-1] == context}
    total, different = sum(followers.values()), len(followers)
    return (followers.get((*context, symbol), 0) + different * shorter) / (total + different) if total else shorter


def counted(order: int) -> dict[int, Counter]:
    grams = {}
    for n in range(1, order + 1):
        padded = [START] * (n - 1) + TRAIN.tolist()
        grams[n] = Counter(tuple(padded[t : t + n]) for t in range(len(TRAIN)))
    return grams


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_are_those_of_the_formula(order):
    grams, padded = counted(order), [START] * (order - 1) + TEXT.tolist()
    expected = [probability(tuple(padded[t : t + order - 1]), symbol, grams) for t, symbol in enumerate(TEXT)]
    np.testing.assert_allclose(ngram_log_p(TRAIN, TEXT, order, V), np.log(expected), rtol=1e-12)


def test_the_probabilities_of_what_may_follow_sum_to_one():
    for prefix in ([2, 3, 2], [1, 1, 1], []):
        last = [np.exp(ngram_log_p(TRAIN, np.array([*prefix, symbol]), 4, V)[-1]) for symbol in range(V)]
        assert sum(last) == pytest.approx(1, abs=1e-12)


def test_an_order_too_high_for_64_bits_is_lowered():
    huge = 100_000  # to the power of 3 fits, to the power of 4 does not
    np.testing.assert_array_equal(ngram_log_p(TRAIN, TEXT, 9, huge), ngram_log_p(TRAIN, TEXT, 3, huge))


@pytest.mark.parametrize("order", [1, 3, 9])
def test_a_window_is_judged_by_itself(order):
    grams = counted(4)
    windows = RNG.integers(1, V, (20, 4))
    expected = [
        [probability(tuple(window[max(0, at - order + 1) : at]), symbol, grams) for at, symbol in enumerate(window)]
        for window in windows.tolist()
    ]
    np.testing.assert_allclose(window_log_p([(TRAIN, 1.0)], windows, order, V), np.log(expected), rtol=1e-12)


def test_a_text_that_counts_for_two_is_one_that_is_there_twice():
    other, windows = RNG.integers(1, V, 100), RNG.integers(1, V, (20, 4))
    weighted = window_log_p([(TRAIN, 2.0), (other, 1.0)], windows, 3, V)
    np.testing.assert_allclose(weighted, window_log_p([(TRAIN, 1.0), (TRAIN, 1.0), (other, 1.0)], windows, 3, V))
    assert not np.allclose(weighted, window_log_p([(TRAIN, 1.0), (other, 1.0)], windows, 3, V))
