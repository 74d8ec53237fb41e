"""A small training, in this process or as a program of its own: `python train_classifier.py SETTINGS`, in JSON.

Masks, dropout, accuracy and an early stop are in it, so that whatever may depend on the devices does show.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxlstm import losses, models, parallel, processes
from jaxlstm.batches import batches_of, generated, map_batches
from jaxlstm.checkpoint import Checkpoints
from jaxlstm.training import EarlyStopping, Fitted, fit

WORDS, LENGTH, PADDING = 12, 10, 0


class Settings(NamedTuple):
    """What a training is made of."""

    source: str = "resident"  # or "stream", "generated"
    epochs: int = 3
    batch_size: int = 16
    checkpoints: str = ""  # a folder
    patience: int = 0  # 0: no early stop
    epochs_per_call: int = 1
    devices: int | None = None  # None: no mesh
    coordinator: str = ""
    processes: int = 1
    process: int = 0
    pause: float = 0.0  # seconds that each validation takes longer
    result: str = ""  # a file for the summaries


def draw(key: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """ids [B, T] that end in padding of many lengths, and whether word 1 is among them [B]."""
    key_ids, key_lengths = jax.random.split(key)
    ids = jax.random.randint(key_ids, (size, LENGTH), 1, WORDS)
    lengths = jax.random.randint(key_lengths, (size, 1), 0, LENGTH + 1)
    ids = jax.numpy.where(jax.numpy.arange(LENGTH) < lengths, ids, PADDING)
    return ids, (ids == 1).any(axis=1).astype(jax.numpy.float32)


def loss(params: models.ClassifierParams, batch: tuple[jax.Array, jax.Array], key: jax.Array):
    """Over the sequences that are not empty: a mean whose parts count for more on some devices than on others."""
    ids, labels = batch
    mask = ids != PADDING
    logits = models.classify(params, ids, mask=mask, key=key, dropout=0.3, recurrent_dropout=0.3)[:, 0]
    entropy = losses.binary_cross_entropy(logits, labels, mask.any(axis=1))
    return entropy, {"accuracy": losses.binary_accuracy(logits, labels)}


def logits_of(params: models.ClassifierParams, ids: jax.Array) -> jax.Array:
    """ids [B, T] -> [B]."""
    return models.classify(params, ids, mask=ids != PADDING)[:, 0]


def train(settings: Settings) -> Fitted:
    """One training with these settings."""
    mesh = None if settings.devices is None else parallel.make_mesh(settings.devices)
    key_params, key_data, key_validation, key_training = jax.random.split(jax.random.key(3), 4)
    data = jax.tree.map(np.asarray, draw(key_data, 70))
    ids, labels = jax.tree.map(np.asarray, draw(key_validation, 21))

    def validate(params: Any) -> dict[str, float]:
        time.sleep(settings.pause)
        logits = map_batches(logits_of, params, ids, settings.batch_size, mesh)
        return {"loss": float(losses.binary_cross_entropy(logits, labels))}

    batches = {
        "resident": lambda: batches_of(data, settings.batch_size),
        "stream": lambda: batches_of(data, settings.batch_size, device_bytes=0),
        "generated": lambda: generated(lambda key: draw(key, settings.batch_size), steps=4),
    }[settings.source]()
    return fit(
        loss,
        models.init_classifier(key_params, 4, 5, 1, vocabulary_size=WORDS),
        optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.05)),
        batches,
        epochs=settings.epochs,
        key=key_training,
        validate=validate,
        stopping=EarlyStopping("validation_loss", settings.patience) if settings.patience else None,
        checkpoints=Checkpoints(Path(settings.checkpoints)) if settings.checkpoints else None,
        epochs_per_call=settings.epochs_per_call,
        mesh=mesh,
    )


def summary(fitted: Fitted) -> dict[str, Any]:
    """What is compared: the rows, and the sum of every parameter."""
    sums = [float(np.abs(np.asarray(leaf)).sum()) for leaf in jax.tree.leaves(fitted.params)]
    return {"rows": fitted.rows, "best_epoch": fitted.best_epoch, "parameters": sums}


def main() -> None:
    """Runs all settings given, one after the other; the summaries go to the file that the last one names."""
    runs = [Settings(**settings) for settings in json.loads(sys.argv[1])]
    if runs[0].coordinator:
        processes.connect(runs[0].coordinator, runs[0].processes, runs[0].process)
    summaries = []
    for settings in runs:
        try:
            summaries.append(summary(train(settings)))
        except ValueError as error:
            summaries.append({"error": str(error)})
    if runs[-1].result:
        Path(runs[-1].result).write_text(json.dumps(summaries))
    processes.finish()


if __name__ == "__main__":
    main()
