"""The model of missing words: its loss against NumPy, what it asks for, and what its vectors come to say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlstm import models

V, D = 12, 5
RNG = np.random.default_rng(0)
IDS = RNG.integers(0, V, (6, 9), np.int32)
MASK = RNG.random((6, 9)) < 0.8
COUNTS = np.arange(V)[::-1]


@pytest.fixture(scope="module")
def params():
    fresh = models.init_missing_words(jax.random.key(0), COUNTS, D)
    key_embedding, key_head = jax.random.split(jax.random.key(1))  # larger than fresh ones, to tell in the loss
    return fresh._replace(
        embedding=jax.random.normal(key_embedding, fresh.embedding.shape),
        head=fresh.head._replace(w=jax.random.normal(key_head, fresh.head.w.shape)),
    )


@pytest.mark.parametrize("first", [0, 4])
def test_the_loss_is_that_of_the_formula(params, first):
    key = jax.random.key(1)
    keep = np.asarray(jax.random.bernoulli(key, 0.3, IDS.shape))
    losses = []
    for ids, valid, kept in zip(IDS, MASK, keep, strict=True):
        given = ids[valid & kept]
        mean = sum((params.embedding[word] for word in given), np.zeros(D)) / max(len(given), 1)
        logits = (mean @ np.asarray(params.code.w) + params.code.b) @ np.asarray(params.head.w) + params.head.b
        log_p = logits - np.log(np.exp(logits).sum())
        losses += [-log_p[word] for word in ids[valid & ~kept] if word >= first]
    loss = models.missing_words_loss(params, IDS, MASK, key, kept=0.3, first=first)
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_fresh_model_guesses_by_frequency():
    params = models.init_missing_words(jax.random.key(0), COUNTS, D)
    p = (COUNTS + 1) / (COUNTS + 1).sum()
    # With nothing kept there is nothing to guess from.
    loss = models.missing_words_loss(params, jnp.asarray([[3, 7]]), jnp.ones((1, 2), bool), jax.random.key(2), kept=0.0)
    assert loss == pytest.approx(-np.log(p[[3, 7]]).mean(), rel=1e-5)


def test_parameters_are_float32_where_jax_has_float64():
    with jax.enable_x64(True):
        fresh = models.init_missing_words(jax.random.key(0), COUNTS, D)
    assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {np.dtype(np.float32)}


def test_padding_says_nothing(params):
    other = np.where(MASK, IDS, (IDS + 1) % V)
    values = [
        jax.value_and_grad(lambda p, ids=ids: models.missing_words_loss(p, ids, MASK, jax.random.key(1)))(params)
        for ids in (IDS, other)
    ]
    jax.tree.map(np.testing.assert_array_equal, *values)


def test_words_of_the_same_texts_get_like_vectors():
    """Each text holds words of one of two kinds, four of a kind."""
    kind = RNG.integers(0, 2, (400, 1))
    ids = jnp.asarray(4 * kind + RNG.integers(0, 4, (400, 10)))
    params = models.init_missing_words(jax.random.key(2), np.bincount(ids.ravel()), 3)
    optimiser = optax.adam(0.05)

    @jax.jit
    def step(params, state, key):
        mask = jnp.ones(ids.shape, bool)
        loss, gradients = jax.value_and_grad(models.missing_words_loss)(params, ids, mask, key)
        updates, state = optimiser.update(gradients, state)
        return optax.apply_updates(params, updates), state, loss

    state = optimiser.init(params)
    for key in jax.random.split(jax.random.key(3), 100):
        params, state, loss = step(params, state, key)
    # The kind is known from the words that are kept, and no more than it can be.
    assert loss == pytest.approx(np.log(4), abs=0.05)
    # What both kinds have in common says nothing.
    vectors = np.asarray(params.embedding - params.embedding.mean(axis=0))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors @ vectors.T
    same = np.kron(np.eye(2), np.ones((4, 4))).astype(bool)
    assert alike[same].min() > 0.5
    assert alike[~same].max() < -0.5
