"""Two of the systems, whole: the model, its loss and its training in Keras 3 on JAX and on optax with jaxlstm.

Both start from the weights that Keras draws, and given the same batches they make the same updates.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from benchmarks.programs import relative_difference
from benchmarks.rivals.keras_layer import keras  # with its JAX backend
from jaxlstm import LSTMParams, lstm

WORDS, LENGTH, UNITS, BATCH = 2000, 80, 128, 32  # sentiment
STEPS, CUMSUM_UNITS = 10, 20  # cumsum
CHECKED_BATCHES = 10


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
    """One system, built for both libraries."""

    keras_model: Callable[[float], Any]  # dropout -> the model
    params: Callable[..., Params]  # the weights of that model, one by one -> our form
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


def keras_sentiment(dropout: float) -> Any:
    """The model of the original."""
    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            keras.layers.Embedding(WORDS, UNITS),
            keras.layers.LSTM(UNITS, dropout=dropout, recurrent_dropout=dropout),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def keras_cumsum(dropout: float) -> Any:
    """The model of the original, which has no dropout."""
    return keras.Sequential(
        [
            keras.Input((STEPS, 1)),
            keras.layers.LSTM(CUMSUM_UNITS, return_sequences=True),
            keras.layers.TimeDistributed(keras.layers.Dense(1, activation="sigmoid")),
        ]
    )


def sentiment_data(samples: int) -> Data:
    """Random words and random labels."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, WORDS, (samples, LENGTH), dtype=np.int32)
    return tokens, rng.integers(0, 2, (samples, 1)).astype(np.float32)


def cumsum_data(samples: int) -> Data:
    """Uniform numbers, and whether their running sum has passed a quarter of the length."""
    xs = np.random.default_rng(0).uniform(size=(samples, STEPS, 1)).astype(np.float32)
    return xs, (np.cumsum(xs, axis=1) > STEPS / 4).astype(np.float32)


def sentiment_params(embedding: Array, w_x: Array, w_h: Array, b: Array, *head: Array) -> Sentiment:
    """From the weights of Keras, whose gates are in the same order."""
    return Sentiment(embedding, LSTMParams(w_x, w_h, b), Head(*head))


def cumsum_params(w_x: Array, w_h: Array, b: Array, *head: Array) -> Cumsum:
    """From the weights of Keras, whose gates are in the same order."""
    return Cumsum(LSTMParams(w_x, w_h, b), Head(*head))


TASKS = {
    "sentiment": Task(keras_sentiment, sentiment_params, sentiment_loss, sentiment_data, BATCH, False),
    "cumsum": Task(keras_cumsum, cumsum_params, cumsum_loss, cumsum_data, 1, True),
}


def weights_of(model: Any, task: Task) -> Params:
    """The weights of a Keras model, in our form."""
    return task.params(*(jnp.array(variable.value) for variable in model.weights))


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


def keras_epoch(model: Any, task: Task, data: Data, shuffle: bool) -> None:
    """One pass over data with `fit`."""
    if task.one_fit_per_batch:
        xs, labels = data
        for index in range(len(xs)):
            model.fit(xs[index : index + 1], labels[index : index + 1], batch_size=1, epochs=1, verbose=0)
    else:
        model.fit(*data, batch_size=task.batch, epochs=1, verbose=0, shuffle=shuffle)


def check_equal(task: Task) -> float:
    """How differently the same few updates moved the weights, relative to the largest movement in each array."""
    data = task.data(CHECKED_BATCHES * task.batch)
    model = task.keras_model(0.0)
    model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.SGD(1.0))
    start = weights_of(model, task)
    sgd = optax.sgd(1.0)
    ours, *_ = epoch(task, sgd, dropout=0.0, shuffle=False)(start, sgd.init(start), data, jax.random.key(0))
    keras_epoch(model, task, data, shuffle=False)
    return relative_difference(optax.tree.sub(weights_of(model, task), start), optax.tree.sub(ours, start))
