"""What a sentiment model sets out from: it has read the reviews, those without a label too.

From half of a review's words, drawn at random, it learns to tell which the others are (`jaxlstm.models.missing_words`),
and the classifier takes over its word vectors. What tells most of a review's other words is what it is about and
whether it praises. A language model, which Dai and Le (2015) set out from, learns first how words follow each other:
one of this size, taught for several times as long, was of no use to the classifier.
"""

from dataclasses import replace

import jax
import numpy as np

from experiments.learning import draw_learning
from experiments.optimisers import cosine_adam
from experiments.reviews import Parts, batches_for, words_of
from experiments.session import Options, follow
from jaxlstm import models
from jaxlstm.data import word_ids
from jaxlstm.reporting import console, show_parameters
from jaxlstm.runs import Run
from jaxlstm.training import fit

VALIDATION = 512  # validation reviews on which the missing words are guessed
MODEL = "pretraining"  # its name in the run's metrics and checkpoints


def pretrain(
    run: Run,
    parts: Parts,
    key: jax.Array,
    options: Options,
) -> tuple[jax.Array, float]:
    """The vectors of the words [V, D], learnt from all reviews, and the seconds it took."""
    config = run.config
    texts = words_of(np.concatenate([parts.train.ids, parts.unlabelled]))
    console.print(f"{len(texts):,} reviews to read first, {len(parts.unlabelled):,} of them without a label")
    batches = batches_for((texts,), replace(config, batch_size=config.pretraining_batch_size), options)
    key_params, key_training, key_validation = jax.random.split(key, 3)
    counts = np.bincount(texts.ravel(), minlength=config.num_words)
    start = models.init_missing_words(key_params, counts, config.embedding_size)
    show_parameters(MODEL, start)

    def cost(params: models.MissingWordsParams, ids: jax.Array, key: jax.Array) -> jax.Array:
        first = word_ids.FIRST_WORD + config.pretraining_skipped
        return models.missing_words_loss(params, ids, ids != word_ids.PADDING, key, first=first)

    def loss(params: models.MissingWordsParams, batch: tuple[jax.Array, ...], key: jax.Array):
        return cost(params, batch[0], key), {}

    @jax.jit
    def measure(params: models.MissingWordsParams) -> jax.Array:
        return cost(params, words_of(parts.validation.ids)[:VALIDATION], key_validation)

    epochs = config.pretraining_epochs
    with follow(run, epochs, MODEL) as on_epochs:
        fitted = fit(
            loss,
            start,
            cosine_adam(config.pretraining_rate, epochs * batches.steps),
            batches,
            epochs=epochs,
            key=key_training,
            validate=lambda params: {"loss": float(measure(params))},
            checkpoints=run.checkpoints(MODEL),
            on_epochs=on_epochs,
            mesh=options.mesh,
        )
    draw_learning(run, fitted.rows, model="missing words", name=MODEL)
    console.print(f"a missing word of the validation reviews costs {fitted.rows[-1]['validation_loss']:.2f} nats")
    return fitted.params.embedding, fitted.seconds
