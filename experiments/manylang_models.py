"""The character models of manylang: one LSTM for each language, trained side by side in one program (`jax.vmap`).

A text belongs to the language whose model gives it the highest probability, log P(s | language).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.declarations import Parts, count_characters, draw_windows, encode_all, on_device, spaced_windows
from experiments.language_models import log_p_of
from experiments.manylang_training import VALIDATION_WINDOWS, Task, train
from experiments.session import Options
from jaxlstm import models
from jaxlstm.batches import generated, map_batches
from jaxlstm.data.text import START, UNKNOWN, Alphabet
from jaxlstm.reporting import show_parameters
from jaxlstm.runs import Run
from jaxlstm.training import Fitted


def init_models(key: jax.Array, alphabets: Sequence[Alphabet], config: Any) -> models.TaggerParams:
    """The character models of L languages, every array with a leading axis [L], as wide as the largest alphabet."""
    size = max(alphabet.size for alphabet in alphabets)
    keys = jax.random.split(key, len(alphabets))
    return jax.vmap(lambda key: models.init_language_model(key, size, config.model_size))(keys)


def train_models(run: Run, options: Options, parts: Parts, alphabets: Sequence[Alphabet], key: jax.Array) -> Fitted:
    """Trains the character models, one for each language, side by side."""
    config = run.config
    key_params, key_training = jax.random.split(key)
    params = init_models(key_params, alphabets, config)
    show_parameters(f"manylang, {len(alphabets)} character models", params)
    texts = on_device(parts.train, alphabets)
    length = config.lengths[-1]
    languages = jnp.repeat(jnp.arange(len(alphabets)), config.model_batch_size)

    def draw(key: jax.Array) -> jax.Array:
        return draw_windows(key, texts, languages, length, config.unknown).reshape(len(alphabets), -1, length)

    def loss(params: models.TaggerParams, ids: jax.Array, key: jax.Array):
        def of_language(params: models.TaggerParams, ids: jax.Array, key: jax.Array) -> jax.Array:
            return -jnp.mean(models.log_probabilities(params, ids, START, key=key, dropout=config.dropout))

        return jnp.mean(jax.vmap(of_language)(params, ids, jax.random.split(key, len(alphabets)))), {}

    validation = np.stack(
        [
            encode_all(spaced_windows([text], length, VALIDATION_WINDOWS)[0], alphabet)
            for text, alphabet in zip(parts.validation, alphabets, strict=True)
        ]
    )

    @jax.jit
    def nats(params: models.TaggerParams) -> jax.Array:
        return -jnp.mean(jax.vmap(log_p_of)(params, jnp.asarray(validation)))

    steps = max(1, count_characters(parts.train) // (len(alphabets) * config.model_batch_size * length))
    task = Task(
        name="character-models",
        loss=loss,
        params=params,
        batches=generated(draw, steps),
        validate=lambda params: {"loss": float(nats(params))},
        learning_rate=config.model_rate,
        epochs=config.model_epochs,
    )
    return train(run, options, task, key_training)


def model_log_p(
    params: models.TaggerParams, texts: Sequence[str], alphabets: Sequence[Alphabet], characters: int
) -> np.ndarray:
    """N texts of T characters -> log P(the first 1 .. T characters | language) [N, T, L].

    `characters` is the number of all there are. Those that a model does not tell apart share the probability of
    UNKNOWN; undivided, a language of many characters would claim every text in another script.
    """
    log_p = []
    for language, alphabet in enumerate(alphabets):
        of_language = jax.tree.map(lambda leaf, language=language: leaf[language], params)
        ids = encode_all(texts, alphabet)
        shared = np.where(ids == UNKNOWN, np.log(characters - len(alphabet.characters)), 0)
        log_p.append(map_batches(log_p_of, of_language, ids, 256) - shared)
    return np.stack(log_p, axis=-1).cumsum(axis=1)
