"""Two character models taught side by side: to predict their own language, and to tell the two apart.

A step sees windows of both languages. Each model learns the characters of its own, as if it were alone. Their
score for every window, log P(window | first) - log P(window | second), is a logit that the window is of the first
language, and its logistic loss is the second goal (discriminative training of generative models, Bahl et al. 1986:
maximum mutual information). Windows come from two sources: the text like that to be judged, of which there is
little, has a fixed share of each step, the other text the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import roc_auc_score

from experiments.bilingual import LANGUAGES, Parts
from experiments.language_models import init, joined, score, score_of, windows_of
from experiments.optimisers import cosine_adam
from experiments.session import Options, follow
from jaxlstm import losses, models
from jaxlstm.batches import Batches, generated
from jaxlstm.data.text import START, Alphabet, split_words
from jaxlstm.runs import Run
from jaxlstm.training import EarlyStopping, Fitted, fit


class Windows(NamedTuple):
    """The windows of one language, as integers."""

    near: np.ndarray  # [N, T], of the text like that to be judged
    far: np.ndarray | None  # [M, T], of other text
    held_out: np.ndarray | None  # [K, T], to choose settings and the epoch on


def train_together(run: Run, options: Options, parts: Mapping[str, Parts], alphabet: Alphabet) -> Fitted:
    """Trains the models of both languages.

    The parameters are those of the best epoch where words are kept to choose it on, else of the last.
    """
    config = run.config
    first, second = LANGUAGES
    windows = [cut(parts[name], alphabet, config) for name in LANGUAGES]
    batches = mixed(windows, config)
    key_params, key_training = jax.random.split(jax.random.key(config.seed))
    keys = jax.random.split(key_params)
    params = {name: init(key, alphabet, config) for name, key in zip(LANGUAGES, keys, strict=True)}

    def loss(params: dict[str, models.TaggerParams], batch: list[jax.Array], key: jax.Array):
        ids = jnp.concatenate(batch)
        is_first = jnp.repeat(jnp.array([1.0, 0.0]), config.batch_size)
        log_p = {
            name: models.log_probabilities(params[name], ids, START, key=key, dropout=config.dropout)
            for name, key in zip(LANGUAGES, jax.random.split(key), strict=True)
        }
        nats = -(jnp.mean(log_p[first][: config.batch_size]) + jnp.mean(log_p[second][config.batch_size :])) / 2
        logits = score(log_p).sum(axis=1)
        contrast = losses.binary_cross_entropy(logits, is_first)
        return nats + config.contrast * contrast, {
            "nats": nats, "contrast": contrast, "accuracy": losses.binary_accuracy(logits, is_first),
        }  # fmt: skip

    held_out = [found.held_out for found in windows if found.held_out is not None]

    def validate(params: dict[str, models.TaggerParams]) -> dict[str, float]:
        ids, is_first = joined(held_out)
        return {"auc": float(roc_auc_score(is_first, score_of(params, ids)))}

    with follow(run, config.epochs, "together") as on_epochs:
        return fit(
            loss,
            params,
            cosine_adam(config.learning_rate, config.epochs * batches.steps),
            batches,
            epochs=config.epochs,
            key=key_training,
            validate=validate if held_out else None,
            stopping=EarlyStopping("validation_auc", config.patience, maximise=True) if held_out else None,
            checkpoints=run.checkpoints("together"),
            checkpoint_every=config.checkpoint_every,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )


def cut(parts: Parts, alphabet: Alphabet, config: Any) -> Windows:
    """One language's windows; the last words to learn from are held out, if some are to be."""
    near, held_out = parts.train, ""
    if config.validation_fraction:
        near, held_out = split_words(near, 1 - config.validation_fraction)
    return Windows(
        windows_of(near, alphabet, config.window),
        windows_of(parts.genesis, alphabet, config.window) if parts.genesis else None,
        windows_of(held_out, alphabet, config.window) if held_out else None,
    )


def mixed(windows: Sequence[Windows], config: Any) -> Batches:
    """Windows [B, T] of each language, drawn at random from both sources."""
    has_far = windows[0].far is not None
    near_rows = max(1, round(config.near_share * config.batch_size)) if has_far else config.batch_size

    def draw_from(key: jax.Array, ids: np.ndarray, rows: int) -> jax.Array:
        return jnp.asarray(ids)[jax.random.randint(key, (rows,), 0, len(ids))]

    def draw_of(key: jax.Array, found: Windows) -> jax.Array:
        key_near, key_far = jax.random.split(key)
        near = draw_from(key_near, found.near, near_rows)
        if found.far is None:
            return near
        return jnp.concatenate([near, draw_from(key_far, found.far, config.batch_size - near_rows)])

    def draw(key: jax.Array) -> list[jax.Array]:
        return [draw_of(key, found) for key, found in zip(jax.random.split(key), windows, strict=True)]

    return generated(draw, max(1, len(windows[0].near) // near_rows))
