"""What a sentiment model sets out from: it has read the reviews, those without a label too.

A language model in both directions (`jaxlstm.models.word_model`) learns to predict each word from those before it,
and from those after it (Dai & Le 2015). The classifier takes over its word vectors, made as small as fresh ones are:
longer ones would move too slowly, beside what they are, to come to say what the labels ask for. Its LSTMs are left
behind: with few labels a classifier that went on from them, as Dai and Le's does, was worse than a fresh one.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reviews import Parts, batches_for
from experiments.session import Options, follow
from jaxlstm import models, plots
from jaxlstm.data import imdb
from jaxlstm.reporting import console, show_parameters
from jaxlstm.runs import Run
from jaxlstm.training import fit

VALIDATION = 256  # validation reviews on which the language model is watched
MODEL = "pretraining"  # its name in the run's metrics and checkpoints


def pretrain(
    run: Run,
    params: models.PooledClassifierParams,
    parts: Parts,
    unlabelled: imdb.Reviews,
    key: jax.Array,
    options: Options,
) -> tuple[models.PooledClassifierParams, float]:
    """The classifier's parameters, its word vectors learnt from all reviews, and the seconds it took."""
    config = run.config
    others = imdb.encode(unlabelled, config.num_words, config.length)[: config.pretraining_reviews]
    texts = np.concatenate([parts.texts, others])
    console.print(f"{len(texts):,} reviews to read first, {len(others):,} of them without a label")
    batches = batches_for((texts,), config, options)
    key_params, key_training, key_validation = jax.random.split(key, 3)
    start = models.init_word_model(key_params, config.num_words, config.embedding_size, config.hidden_size)
    show_parameters(MODEL, start)

    def loss(params: models.WordModelParams, batch: tuple[jax.Array, ...], key: jax.Array):
        (ids, *_), rate = batch, config.pretraining_dropout
        mask, samples = ids != imdb.PADDING, config.pretraining_samples
        return models.words_around_loss(params, ids, mask, key, samples=samples, dropout=rate), {}

    @jax.jit
    def measure(params: models.WordModelParams, ids: jax.Array) -> jax.Array:
        mask, samples = ids != imdb.PADDING, config.pretraining_samples
        return models.words_around_loss(params, ids, mask, key_validation, samples=samples)

    epochs = config.pretraining_epochs
    schedule = optax.cosine_decay_schedule(config.pretraining_rate, epochs * batches.steps)
    with follow(run, epochs, MODEL) as on_epochs:
        fitted = fit(
            loss,
            start,
            optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
            batches,
            epochs=epochs,
            key=key_training,
            validate=lambda params: {"loss": float(measure(params, parts.validation.ids[:VALIDATION]))},
            checkpoints=run.checkpoints(MODEL),
            on_epochs=on_epochs,
            mesh=options.mesh,
        )
    plots.save(plots.learning_curves(fitted.rows), run.folder / f"{MODEL}.png")
    console.print(f"a word of the validation reviews costs {fitted.rows[-1]['validation_loss']:.2f} nats, as estimated")
    (fresh,), learnt = params.embeddings, fitted.params.embedding
    return params._replace(embeddings=(learnt * (jnp.std(fresh) / jnp.std(learnt)),)), fitted.seconds
