"""The systems of `benchmarks.training` in Keras 3 on JAX.

Both start from the weights that Keras draws, and given the same batches they make the same updates.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from benchmarks.programs import relative_difference
from benchmarks.rivals.keras_layer import keras  # with its JAX backend
from benchmarks.training import (
    CUMSUM_UNITS,
    LENGTH,
    STEPS,
    TASKS,
    UNITS,
    WORDS,
    Data,
    Params,
    Task,
    epoch,
)
from jaxlstm import LSTMParams, models
from jaxlstm.layers import DenseParams

CHECKED_BATCHES = 10


def sentiment(dropout: float) -> Any:
    """The model of the original."""
    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            keras.layers.Embedding(WORDS, UNITS),
            keras.layers.LSTM(UNITS, dropout=dropout, recurrent_dropout=dropout),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def cumsum(dropout: float) -> Any:
    """The model of the original, which has no dropout."""
    return keras.Sequential(
        [
            keras.Input((STEPS, 1)),
            keras.layers.LSTM(CUMSUM_UNITS, return_sequences=True),
            keras.layers.TimeDistributed(keras.layers.Dense(1, activation="sigmoid")),
        ]
    )


def sentiment_params(embedding: Array, w_x: Array, w_h: Array, b: Array, *head: Array) -> models.ClassifierParams:
    """From the weights of Keras, whose gates are in the same order."""
    return models.ClassifierParams(embedding, LSTMParams(w_x, w_h, b), DenseParams(*head))


def cumsum_params(w_x: Array, w_h: Array, b: Array, *head: Array) -> models.TaggerParams:
    """From the weights of Keras, whose gates are in the same order."""
    return models.TaggerParams(LSTMParams(w_x, w_h, b), DenseParams(*head))


MODELS = {"sentiment": sentiment, "cumsum": cumsum}  # dropout -> the model
# The weights of the model, one by one -> our form.
PARAMS: dict[str, Callable[..., Params]] = {"sentiment": sentiment_params, "cumsum": cumsum_params}


def weights_of(model: Any, name: str) -> Params:
    """The weights of a Keras model, in our form."""
    return PARAMS[name](*(jnp.array(variable.value) for variable in model.weights))


def keras_epoch(model: Any, task: Task, data: Data, shuffle: bool) -> None:
    """One pass over data with `fit`."""
    if task.one_fit_per_batch:
        xs, labels = data
        for index in range(len(xs)):
            model.fit(xs[index : index + 1], labels[index : index + 1], batch_size=1, epochs=1, verbose=0)
    else:
        model.fit(*data, batch_size=task.batch, epochs=1, verbose=0, shuffle=shuffle)


def check_equal(name: str) -> float:
    """How differently the same few updates moved the weights, relative to the largest movement in each array."""
    task = TASKS[name]
    data = task.data(CHECKED_BATCHES * task.batch)
    model = MODELS[name](0.0)
    model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.SGD(1.0))
    start = weights_of(model, name)
    sgd = optax.sgd(1.0)
    ours, *_ = epoch(task, sgd, dropout=0.0, shuffle=False)(start, sgd.init(start), data, jax.random.key(0))
    keras_epoch(model, task, data, shuffle=False)
    return relative_difference(optax.tree.sub(weights_of(model, name), start), optax.tree.sub(ours, start))
