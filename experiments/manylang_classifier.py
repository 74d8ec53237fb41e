"""The classifier of manylang: an LSTM over characters that says after each which of all languages it reads.

A softmax over the languages stands after every character, so that a window teaches all lengths up to its own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.declarations import Parts, count_characters, draw_windows, encode_all, on_device, spaced_windows
from experiments.manylang_training import VALIDATION_WINDOWS, Task, train
from experiments.session import Options
from jaxlstm import losses, models
from jaxlstm.batches import generated, map_batches
from jaxlstm.data.text import Alphabet
from jaxlstm.reporting import show_parameters
from jaxlstm.runs import Run
from jaxlstm.training import Fitted


def init_classifier(key: jax.Array, alphabet: Alphabet, config: Any) -> models.ClassifierParams:
    """Embedding, LSTM and a logit for each language."""
    return models.init_classifier(
        key, config.embedding_size, config.classifier_size, len(config.languages), vocabulary_size=alphabet.size
    )


def train_classifier(run: Run, options: Options, parts: Parts, alphabet: Alphabet, key: jax.Array) -> Fitted:
    """Trains the classifier, on windows of all languages together."""
    config = run.config
    key_params, key_training = jax.random.split(key)
    params = init_classifier(key_params, alphabet, config)
    show_parameters("manylang, classifier", params)
    texts = on_device(parts.train, [alphabet] * len(parts.train))
    length = config.lengths[-1]

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_languages, key_windows = jax.random.split(key)
        languages = jax.random.randint(key_languages, (config.batch_size,), 0, len(config.languages))
        return draw_windows(key_windows, texts, languages, length, config.unknown), languages

    def loss(params: models.ClassifierParams, batch: tuple[jax.Array, jax.Array], key: jax.Array):
        ids, languages = batch
        logits = models.classify_prefixes(
            params, ids, key=key, dropout=config.dropout, recurrent_dropout=config.dropout
        )
        labels = jnp.broadcast_to(languages[:, None], ids.shape)
        return losses.cross_entropy(logits, labels), {"accuracy": losses.accuracy(logits, labels)}

    windows, labels = spaced_windows(parts.validation, length, VALIDATION_WINDOWS)
    ids = encode_all(windows, alphabet)

    def validate(params: models.ClassifierParams) -> dict[str, float]:
        log_p = map_batches(prefix_log_p, params, ids, 256)
        right = log_p.argmax(axis=-1) == labels[:, None]
        return {
            "loss": float(-log_p[np.arange(len(labels)), :, labels].mean()),
            "accuracy": float(right[:, np.array(config.lengths) - 1].mean()),
        }

    steps = max(1, count_characters(parts.train) // (config.batch_size * length))
    task = Task(
        name="classifier",
        loss=loss,
        params=params,
        batches=generated(draw, steps),
        validate=validate,
        learning_rate=config.classifier_rate,
        epochs=config.epochs,
    )
    return train(run, options, task, key_training)


def prefix_log_p(params: models.ClassifierParams, ids: jax.Array) -> jax.Array:
    """ids [B, T] -> log P(language | the first 1 .. T characters) [B, T, L]."""
    return jax.nn.log_softmax(models.classify_prefixes(params, ids))
