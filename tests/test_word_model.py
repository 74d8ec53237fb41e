"""The language model in both directions: what it predicts from what, and what it is pulled towards."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlstm import models
from jaxlstm.models import word_model

V, T = 12, 7
RNG = np.random.default_rng(0)
IDS = jnp.asarray(RNG.integers(1, V, (5, T)))
MASK = jnp.asarray(np.arange(T) >= np.array([0, 2, 5, 6, 7])[:, None])  # padding at the left; one word, and none


def loss(params, ids=IDS, mask=MASK, **settings):
    return models.words_around_loss(params, ids, mask, jax.random.key(1), **{"samples": 8, **settings})


def params():
    return models.init_word_model(jax.random.key(0), V, 6, 5)


def test_zipf_draws_by_its_probabilities():
    log_p = word_model.zipf_log_probabilities(V)
    assert jnp.exp(log_p).sum() == pytest.approx(1, rel=1e-5)
    counts = np.bincount(word_model.zipf(jax.random.key(0), 50_000, V), minlength=V)
    np.testing.assert_allclose(counts / 50_000, jnp.exp(log_p), atol=0.01)


def test_padding_changes_nothing_and_a_lone_word_counts_for_nothing():
    changed = jnp.where(MASK, IDS, 3)
    assert loss(params(), changed) == loss(params())
    few = loss(params(), IDS[:3], MASK[:3])
    assert few == pytest.approx(float(loss(params())), rel=1e-6)
    assert loss(params(), IDS[3:], MASK[3:]) == 0


def test_it_learns_what_comes_next_and_what_came_before():
    """Words in a circle: each says which is before it and which is after it."""
    ids = (jnp.arange(24)[:, None] + jnp.arange(T)) % (V - 1) + 1
    mask = jnp.ones_like(ids, bool)
    optimiser = optax.adam(0.03)

    @jax.jit
    def step(carry, key):
        params, state = carry
        value, grads = jax.value_and_grad(lambda p: models.words_around_loss(p, ids, mask, key, samples=8))(params)
        updates, state = optimiser.update(grads, state)
        return (optax.apply_updates(params, updates), state), value

    start = params()
    _, values = jax.lax.scan(step, (start, optimiser.init(start)), jax.random.split(jax.random.key(2), 150))
    assert values[0] > 1.5
    assert values[-10:].mean() < 0.1


def test_no_word_is_predicted_from_itself():
    """Words drawn by chance cannot be told: a model that saw them would find them in training."""
    optimiser = optax.adam(0.03)

    @jax.jit
    def step(carry, key):
        params, state = carry
        key_ids, key = jax.random.split(key)
        ids = jax.random.randint(key_ids, (64, T), 0, V)
        mask = jnp.ones_like(ids, bool)
        value, grads = jax.value_and_grad(lambda p: models.words_around_loss(p, ids, mask, key, samples=64))(params)
        updates, state = optimiser.update(grads, state)
        return (optax.apply_updates(params, updates), state), value

    start = params()
    _, values = jax.lax.scan(step, (start, optimiser.init(start)), jax.random.split(jax.random.key(2), 150))
    assert values[-20:].mean() > 0.95 * jnp.log(V)
