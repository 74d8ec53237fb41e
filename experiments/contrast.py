"""Two character models taught side by side: to predict their own language, and to tell the two apart.

A step sees windows of both languages. Each model learns the characters of its own, as if it were alone. Their
score for every window, log P(window | first) - log P(window | second), is a logit that the window is of the first
language, and its logistic loss is the second goal (discriminative training of generative models, Bahl et al. 1986:
maximum mutual information). Windows come from two sources: the text like that to be judged, of which there is
little, has a fixed share of each step, the other text the rest.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.metrics import roc_auc_score

from experiments.session import Options, follow
from jaxlstm import losses, models
from jaxlstm.batches import generated, map_batches
from jaxlstm.data.text import START
from jaxlstm.runs import Run
from jaxlstm.training import EarlyStopping, Fitted, fit


class Windows(NamedTuple):
    """The windows of one language, as integers."""

    near: np.ndarray  # [N, T], of the text like that to be judged
    far: np.ndarray | None  # [M, T], of other text
    held_out: np.ndarray | None  # [K, T], to choose settings and the epoch on


def train_together(
    run: Run, options: Options, windows: Mapping[str, Windows], params: dict[str, models.TaggerParams], key: jax.Array
) -> Fitted:
    """Trains both models, the first and the second by name.

    The parameters are those of the best epoch where there are held-out windows, else of the last.
    """
    config = run.config
    first, second = sorted(windows)
    has_far = windows[first].far is not None
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
        key_first, key_second = jax.random.split(key)
        return [draw_of(key_first, windows[first]), draw_of(key_second, windows[second])]

    def loss(params: dict[str, models.TaggerParams], batch: list[jax.Array], key: jax.Array):
        ids = jnp.concatenate(batch)
        is_first = jnp.repeat(jnp.array([1.0, 0.0]), config.batch_size)
        log_p = {
            name: models.log_probabilities(params[name], ids, START, key=key, dropout=config.dropout)
            for name, key in zip((first, second), jax.random.split(key), strict=True)
        }
        nats = -(jnp.mean(log_p[first][: config.batch_size]) + jnp.mean(log_p[second][config.batch_size :])) / 2
        score = (log_p[first] - log_p[second]).sum(axis=1)
        contrast = losses.binary_cross_entropy(score, is_first)
        return nats + config.contrast * contrast, {
            "nats": nats, "contrast": contrast, "accuracy": losses.binary_accuracy(score, is_first),
        }  # fmt: skip

    held_out = [kept for name in (first, second) if (kept := windows[name].held_out) is not None]

    def validate(params: dict[str, models.TaggerParams]) -> dict[str, float]:
        labels = np.repeat([1, 0], list(map(len, held_out)))
        return {"auc": float(roc_auc_score(labels, score_of(params, np.concatenate(held_out))))}

    steps = max(1, len(windows[first].near) // near_rows)
    with follow(run, config.epochs, "together") as on_epochs:
        return fit(
            loss,
            params,
            optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.epochs * steps)),
            generated(draw, steps),
            epochs=config.epochs,
            key=key,
            validate=validate if held_out else None,
            stopping=EarlyStopping("validation_auc", config.patience, maximise=True) if held_out else None,
            checkpoints=run.checkpoints("together"),
            checkpoint_every=config.checkpoint_every,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )


def score_of(params: Mapping[str, models.TaggerParams], ids: np.ndarray) -> np.ndarray:
    """Windows [N, T] -> log P under the first model, by name, - log P under the second [N]."""
    first, second = (map_batches(log_p_of, params[name], ids, 1024).sum(axis=1) for name in sorted(params))
    return first - second


def log_p_of(params: models.TaggerParams, ids: jax.Array) -> jax.Array:
    """Characters [B, T] -> log P of each, given those before it [B, T]."""
    return models.log_probabilities(params, ids, START)
