"""Choices and filters against their definitions, written as loops in NumPy and float64."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlstm.sampling import greedy, nucleus, sample, temperature, top_k, without

KEY = jax.random.key(0)
LOGITS = np.random.default_rng(0).standard_normal((6, 9)).astype(np.float32) * 2


def softmax(logits):
    exp = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return exp / exp.sum()


def kept(logits):
    """Which entries a filter has left, each as it was."""
    left = np.asarray(logits) > -np.inf
    np.testing.assert_array_equal(np.asarray(logits)[left], LOGITS[left])
    return left


def test_greedy_takes_the_likeliest_and_of_equals_the_first():
    logits = jnp.array([[0.0, 3.0, 1.0], [2.0, 2.0, 1.0], [-jnp.inf, -2.0, -jnp.inf]])
    symbols = greedy(None, logits)
    assert symbols.tolist() == [1, 0, 1]
    assert symbols.dtype == jnp.int32


@pytest.mark.parametrize("k", [1, 4, 9, 100])
def test_top_k_keeps_the_k_likeliest(k):
    left = kept(top_k(k)(jnp.asarray(LOGITS)))
    for row, logits in zip(left, LOGITS, strict=True):
        assert set(np.flatnonzero(row)) == set(sorted(range(9), key=lambda v: -logits[v])[:k])


@pytest.mark.parametrize("keep", [top_k(3), nucleus(0.55)])
def test_of_equal_logits_the_first_are_kept(keep):
    left = np.isfinite(keep(jnp.log(jnp.array([[0.2, 0.1, 0.2, 0.2, 0.2, 0.1]]))))
    assert left.tolist() == [[True, False, True, True, False, False]]


def test_a_filter_leaves_alone_what_another_has_dropped():
    dropped = jnp.array([[1.0, -jnp.inf, 2.0, -jnp.inf]])
    for keep in (top_k(3), nucleus(1.0)):
        np.testing.assert_array_equal(keep(dropped), dropped)


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.9, 0.999, 1.0])
def test_a_nucleus_is_the_fewest_symbols_of_that_probability(p):
    left = kept(nucleus(p)(jnp.asarray(LOGITS)))
    for row, logits in zip(left, LOGITS, strict=True):
        probabilities, expected, total = softmax(logits), set(), 0.0
        for v in sorted(range(9), key=lambda v: -logits[v]):
            if total >= p - 1e-12:
                break
            expected.add(v)
            total += probabilities[v]
        assert set(np.flatnonzero(row)) == expected


def test_a_nucleus_of_everything_is_everything():
    # The first symbol's probability rounds to 1 in float32.
    logits = jnp.array([[40.0, 0.0, 1.0]])
    np.testing.assert_array_equal(nucleus(1.0)(logits), logits)
    assert np.isfinite(nucleus(0.999)(logits)).tolist() == [[True, False, False]]


def test_without_drops_its_symbols_and_no_others():
    left = kept(without(0, 5)(jnp.asarray(LOGITS)))
    assert np.flatnonzero(~left[0]).tolist() == [0, 5]
    assert (left == left[0]).all()


def frequencies(choose, logits, count=40_000):
    symbols = np.asarray(choose(KEY, jnp.broadcast_to(jnp.asarray(logits), (count, len(logits)))))
    assert symbols.dtype == np.int32
    return np.bincount(symbols, minlength=len(logits)) / count


def assert_drawn_from(probabilities, frequencies, count=40_000):
    """Every frequency is within five standard deviations of its probability."""
    deviation = np.sqrt(probabilities * (1 - probabilities) / count)
    assert (np.abs(frequencies - probabilities) <= 5 * deviation).all()


def test_draws_have_the_probabilities_of_the_logits():
    assert_drawn_from(softmax(LOGITS[0]), frequencies(sample(), LOGITS[0]))


def test_temperature_divides_the_logits():
    for t in (0.5, 3.0):
        assert_drawn_from(softmax(LOGITS[0] / t), frequencies(sample(temperature(t)), LOGITS[0]))


def test_filters_apply_in_their_order():
    # The top 4, then half of what is left. The other way round the nucleus is one of all nine.
    hot = LOGITS[0] / 3
    likeliest = np.argsort(-hot)
    of_four = softmax(hot[likeliest[:4]])
    size = int(np.searchsorted(np.cumsum(of_four), 0.5)) + 1
    assert size != np.searchsorted(np.cumsum(softmax(hot)[likeliest]), 0.5) + 1
    probabilities = np.zeros(9)
    probabilities[likeliest[:size]] = softmax(hot[likeliest[:size]])
    assert_drawn_from(probabilities, frequencies(sample(temperature(3.0), top_k(4), nucleus(0.5)), LOGITS[0]))


def test_another_number_does_not_compile_again():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def choose(choose, logits):
        return choose(KEY, logits)

    drawn = [choose(sample(temperature(t), top_k(k)), jnp.asarray(LOGITS)) for t, k in ((1.0, 9), (1e-3, 9), (1.0, 1))]
    assert drawn[1].tolist() == drawn[2].tolist() == LOGITS.argmax(axis=1).tolist() != drawn[0].tolist()


def test_bad_numbers_are_named():
    for t in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"t: expected a finite number above 0, got {t}"):
            temperature(t)
    with pytest.raises(ValueError, match="k: expected at least 1, got 0"):
        top_k(0)
    for p in (0, 1.1):
        with pytest.raises(ValueError, match=f"p: expected a probability above 0 and at most 1, got {p}"):
            nucleus(p)
    with pytest.raises(ValueError, match="key: expected a random key to sample with, got None"):
        sample()(None, jnp.zeros((1, 3)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_rare_symbols_come_from_logits_in_half_precision(dtype):
    symbols = np.asarray(sample()(KEY, jnp.zeros((20_000, 1000), dtype)))
    # Each 20 times in the mean, and the first hundred of them no more often than the last.
    assert len(np.unique(symbols)) == 1000
    np.testing.assert_allclose([np.mean(symbols < 100), np.mean(symbols >= 900)], 0.1, atol=0.01)


@pytest.mark.parametrize("keep", [temperature(1e-40), nucleus(1e-40)])
def test_however_narrow_a_filter_it_leaves_the_likeliest(keep):
    np.testing.assert_array_equal(sample(keep)(KEY, jnp.asarray(LOGITS)), LOGITS.argmax(axis=-1))
