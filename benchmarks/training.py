"""Two of the systems, whole: the model, its loss, data of the right sizes, and an epoch of training on optax.

`benchmarks.keras_training` has the same in Keras.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxlstm import LSTMParams, init_lstm, lstm

WORDS, LENGTH, UNITS, BATCH = 2000, 80, 128, 32  # sentiment
STEPS, CUMSUM_UNITS = 10, 20  # cumsum
DROPOUT = 0.2  # of sentiment
ADAM = optax.adam(1e-3, eps=1e-7)  # the defaults of Keras


class Head(NamedTuple):
    """A dense layer to one logit."""

    w: Array  # [H, 1]
    b: Array  # [1]


class Sentiment(NamedTuple):
    """The weights of sentiment."""

    embedding: Array  # [WORDS, UNITS]
    lstm: LSTMParams
    head: Head


class Cumsum(NamedTuple):
    """The weights of cumsum."""

    lstm: LSTMParams
    head: Head


Params = Any
Data = tuple[np.ndarray, np.ndarray]  # inputs and targets, the samples first


class Task(NamedTuple):
    """One system."""

    loss: Callable[[Params, tuple[Array, Array], Array, float], Array]  # (params, batch, key, dropout) -> scalar
    data: Callable[[int], Data]  # samples -> random data
    batch: int
    one_fit_per_batch: bool  # as the original of cumsum trains


def sentiment_loss(params: Sentiment, batch: tuple[Array, Array], key: Array, dropout: float) -> Array:
    """Tokens [B, LENGTH] and labels [B, 1] -> the mean loss. One mask for all steps, as in Keras."""
    tokens, labels = batch
    key_xs, key_h = jax.random.split(key)
    xs = params.embedding[tokens]
    h_scale = None
    if dropout:
        xs *= dropout_mask(key_xs, dropout, (len(tokens), 1, xs.shape[-1]))
        h_scale = dropout_mask(key_h, dropout, (len(tokens), UNITS))
    state, _ = lstm(params.lstm, xs, h_scale=h_scale)
    return optax.sigmoid_binary_cross_entropy(state.h @ params.head.w + params.head.b, labels).mean()


def cumsum_loss(params: Cumsum, batch: tuple[Array, Array], key: Array, dropout: float) -> Array:
    """Inputs [B, T, 1] and labels [B, T, 1] -> the mean loss."""
    xs, labels = batch
    _, ys = lstm(params.lstm, xs)
    return optax.sigmoid_binary_cross_entropy(ys @ params.head.w + params.head.b, labels).mean()


def dropout_mask(key: Array, rate: float, shape: tuple[int, ...]) -> Array:
    """0 with probability `rate`, 1 / (1 - rate) otherwise."""
    return jax.random.bernoulli(key, 1 - rate, shape) / jnp.float32(1 - rate)


def sentiment_data(samples: int) -> Data:
    """Random words and random labels."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, WORDS, (samples, LENGTH), dtype=np.int32)
    return tokens, rng.integers(0, 2, (samples, 1)).astype(np.float32)


def cumsum_data(samples: int) -> Data:
    """Uniform numbers, and whether their running sum has passed a quarter of the length."""
    xs = np.random.default_rng(0).uniform(size=(samples, STEPS, 1)).astype(np.float32)
    return xs, (np.cumsum(xs, axis=1) > STEPS / 4).astype(np.float32)


def fresh_sentiment(key: Array) -> Sentiment:
    """Weights drawn here, where no Keras is."""
    key_embedding, key_lstm, key_head = jax.random.split(key, 3)
    embedding = jax.random.uniform(key_embedding, (WORDS, UNITS), minval=-0.05, maxval=0.05)
    head = Head(jax.random.normal(key_head, (UNITS, 1)) / UNITS**0.5, jnp.zeros(1))
    return Sentiment(embedding, init_lstm(key_lstm, UNITS, UNITS), head)


TASKS = {
    "sentiment": Task(sentiment_loss, sentiment_data, BATCH, False),
    "cumsum": Task(cumsum_loss, cumsum_data, 1, True),
}


def epoch(task: Task, optimiser: optax.GradientTransformation, dropout: float, shuffle: bool) -> Any:
    """One pass over data in one call: (params, optimiser's state, data, key) -> (params, state, mean loss).

    The last batch may be smaller, as in Keras.
    """

    def update(carry, inputs):
        params, state = carry
        batch, key = inputs
        loss, gradients = jax.value_and_grad(task.loss)(params, batch, key, dropout)
        updates, state = optimiser.update(gradients, state)
        return (optax.apply_updates(params, updates), state), loss

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
