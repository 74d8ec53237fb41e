"""Two of the systems, whole: the model, data of the right sizes, and an epoch of training on optax.

`benchmarks.keras_training` has the same in Keras.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxlstm import models

WORDS, LENGTH, UNITS, BATCH = 2000, 80, 128, 32  # sentiment
STEPS, CUMSUM_UNITS = 10, 20  # cumsum
DROPOUT = 0.2  # of sentiment
ADAM = optax.adam(1e-3, eps=1e-7)  # the defaults of Keras


Params = Any
Data = tuple[np.ndarray, np.ndarray]  # inputs and targets, the samples first


class Task(NamedTuple):
    """One system."""

    logits: Callable[[Params, Array, Array, float], Array]  # (params, inputs, key, dropout) -> [..., 1]
    data: Callable[[int], Data]  # samples -> random data
    batch: int
    one_fit_per_batch: bool  # as the original of cumsum trains


def sentiment_logits(params: models.ClassifierParams, tokens: Array, key: Array, dropout: float) -> Array:
    """Tokens [B, LENGTH] -> [B, 1]. One mask for all steps, as in Keras."""
    return models.classify(params, tokens, key=key, dropout=dropout, recurrent_dropout=dropout)


def cumsum_logits(params: models.TaggerParams, xs: Array, key: Array, dropout: float) -> Array:
    """Inputs [B, T, 1] -> [B, T, 1]; there is no dropout."""
    return models.tag(params, xs)


def sentiment_data(samples: int) -> Data:
    """Random words and random labels."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, WORDS, (samples, LENGTH), dtype=np.int32)
    return tokens, rng.integers(0, 2, (samples, 1)).astype(np.float32)


def cumsum_data(samples: int) -> Data:
    """Uniform numbers, and whether their running sum has passed a quarter of the length."""
    xs = np.random.default_rng(0).uniform(size=(samples, STEPS, 1)).astype(np.float32)
    return xs, (np.cumsum(xs, axis=1) > STEPS / 4).astype(np.float32)


def fresh_sentiment(key: Array) -> models.ClassifierParams:
    """Weights drawn here, where no Keras is."""
    return models.init_classifier(key, UNITS, UNITS, 1, vocabulary_size=WORDS)


TASKS = {
    "sentiment": Task(sentiment_logits, sentiment_data, BATCH, False),
    "cumsum": Task(cumsum_logits, cumsum_data, 1, True),
}


def epoch(task: Task, optimiser: optax.GradientTransformation, dropout: float, shuffle: bool) -> Any:
    """One pass over data in one call: (params, optimiser's state, data, key) -> (params, state, mean loss).

    The last batch may be smaller, as in Keras.
    """

    def loss(params, batch, key):
        inputs, labels = batch
        return optax.sigmoid_binary_cross_entropy(task.logits(params, inputs, key, dropout), labels).mean()

    def update(carry, inputs):
        params, state = carry
        mean_loss, gradients = jax.value_and_grad(loss)(params, *inputs)
        updates, state = optimiser.update(gradients, state)
        return (optax.apply_updates(params, updates), state), mean_loss

    def run(params, state, data, key):
        samples = len(data[0])
        steps, rest = divmod(samples, task.batch)
        key_order, key_rest, key_updates = jax.random.split(key, 3)
        order = jax.random.permutation(key_order, samples) if shuffle else jnp.arange(samples)

        def step(carry, inputs):
            indices, key = inputs
            return update(carry, (jax.tree.map(lambda leaf: leaf[indices], data), key))

        whole = order[: steps * task.batch].reshape(steps, task.batch), jax.random.split(key_updates, steps)
        carry, losses = jax.lax.scan(step, (params, state), whole)
        if rest:
            carry, loss = step(carry, (order[-rest:], key_rest))
            losses = jnp.append(losses, loss)
        return *carry, losses.mean()

    return jax.jit(run)
