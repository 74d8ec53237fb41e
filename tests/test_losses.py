"""Losses against their formulas in NumPy, and masks that let nothing through."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlstm import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((3, 5, 4)).astype(np.float32)
LABELS = RNG.integers(0, 4, (3, 5), np.int32)
BINARY = (LABELS > 1).astype(np.float32)
PROBABILITIES = RNG.random((3, 5)).astype(np.float32)
MASK = RNG.random((3, 5)) < 0.6


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("mask", [None, MASK])
def test_values(mask):
    chosen = np.ones((3, 5), bool) if mask is None else mask
    given = None if mask is None else jnp.asarray(mask)
    picked = np.take_along_axis(log_softmax(LOGITS), LABELS[..., None], axis=-1)[..., 0]
    assert losses.cross_entropy(LOGITS, LABELS, given) == pytest.approx(-picked[chosen].mean(), rel=1e-5)
    hits = (LOGITS.argmax(axis=-1) == LABELS)[chosen]
    assert losses.accuracy(jnp.asarray(LOGITS), LABELS, given) == pytest.approx(hits.mean(), rel=1e-6)

    targets = RNG.standard_normal((3, 5, 4)).astype(np.float32)
    squares = ((LOGITS - targets) ** 2).mean(axis=-1)
    assert losses.squared_error(LOGITS, targets, given) == pytest.approx(squares[chosen].mean(), rel=1e-5)


@pytest.mark.parametrize("labels", [BINARY, PROBABILITIES])
@pytest.mark.parametrize("mask", [None, MASK])
def test_values_of_two_kinds(mask, labels):
    chosen = np.ones((3, 5), bool) if mask is None else mask
    given = None if mask is None else jnp.asarray(mask)
    logits = LOGITS[..., 0]
    p = 1 / (1 + np.exp(-logits))
    entropy = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    assert losses.binary_cross_entropy(logits, labels, given) == pytest.approx(entropy[chosen].mean(), rel=1e-5)
    hits = ((p > 0.5) == (labels > 0.5))[chosen]
    assert losses.binary_accuracy(jnp.asarray(logits), labels, given) == pytest.approx(hits.mean(), rel=1e-6)


def test_what_is_masked_may_be_nan():
    broken = jnp.where(MASK[..., None], LOGITS, jnp.nan)
    for value, gradient in (
        jax.value_and_grad(lambda logits: losses.cross_entropy(logits, LABELS, MASK))(broken),
        jax.value_and_grad(lambda logits: losses.squared_error(logits, jnp.zeros((3, 5, 4)), MASK))(broken),
        jax.value_and_grad(lambda logits: losses.binary_cross_entropy(logits[..., 0], 1.0 * (LABELS > 1), MASK))(
            broken
        ),
    ):
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert (np.asarray(gradient)[~MASK] == 0).all()
        assert np.abs(gradient).max() > 0.01


def test_nothing_left_is_zero():
    assert losses.masked_mean(jnp.ones(3), jnp.zeros(3, bool)) == 0
    assert losses.masked_mean(jnp.zeros(0)) == 0
    assert losses.cross_entropy(jnp.zeros((0, 4)), jnp.zeros(0, int)) == 0
    assert losses.squared_error(jnp.zeros((0, 4)), jnp.zeros((0, 4))) == 0


@pytest.mark.parametrize(
    ("function", "logits", "name", "shape"),
    [
        (losses.cross_entropy, LOGITS, "labels", (3, 5)),
        (losses.binary_cross_entropy, LOGITS[..., 0], "labels", (3, 5)),
        (losses.squared_error, LOGITS, "targets", (3, 5, 4)),
        (losses.accuracy, LOGITS, "labels", (3, 5)),
        (losses.binary_accuracy, LOGITS[..., 0], "labels", (3, 5)),
    ],
)
def test_what_would_be_broadcast_is_named(function, logits, name, shape):
    def message(name, expected, got):
        return "^" + re.escape(f"{name}: expected shape {list(expected)}, got {list(got)}") + "$"

    good = jnp.zeros(shape, int)
    function(logits, good, MASK)
    for bad in ((*shape, 1), shape[1:], (1, *shape[1:])):
        with pytest.raises(ValueError, match=message(name, shape, bad)):
            function(logits, jnp.zeros(bad, int))
    for bad in ((3, 5, 1), (5,), (3, 1)):
        with pytest.raises(ValueError, match=message("mask", (3, 5), bad)):
            function(logits, good, jnp.ones(bad, bool))
    for dtype in (jnp.float32, jnp.int32):
        with pytest.raises(ValueError, match=f"^mask: expected booleans, got {dtype.dtype}$"):
            function(logits, good, jnp.ones((3, 5), dtype))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_summed_in_float32(dtype, masked):
    count = 2**17  # more than float16 can hold, and steps of 2^-8 in bfloat16
    logits, labels = jnp.tile(jnp.array([0.0, 9.0], dtype), (count, 1)), jnp.arange(count) < 131
    mask = jnp.ones(count, bool) if masked else None
    share = 1 - 131 / count
    assert losses.accuracy(logits, ~labels * 1, mask) == pytest.approx(share, rel=1e-6)
    assert losses.binary_accuracy(logits[:, 1], ~labels * 1.0, mask) == pytest.approx(share, rel=1e-6)
    cost = losses.cross_entropy(logits, jnp.zeros(count, int), mask)
    assert cost == pytest.approx(np.log1p(np.exp(9.0)), rel=1e-6)
    assert losses.squared_error(logits, 0 * logits, mask) == pytest.approx(40.5, rel=1e-6)
    assert losses.masked_mean(logits[:, 1], mask) == 9
    assert {loss.dtype for loss in (cost, losses.masked_mean(labels, mask))} == {np.dtype(np.float32)}
