"""The classifier of the sentiment system: from the ids of a review to its logit, in JAX and for other runtimes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reviews import ngram_counts, symbol_counts, words_of
from jaxlstm import models
from jaxlstm.data import word_ids
from jaxlstm.deploy.model import Input, Model
from jaxlstm.runs import Run

Classifier = models.ClassifierParams | models.PooledClassifierParams


class Ensemble(NamedTuple):
    """Several classifiers, whose mean logit counts: each errs in its own way (Hansen & Salamon 1990)."""

    members: tuple[Classifier, ...]


Params = Classifier | Ensemble


def ensemble_of(members: Sequence[Classifier]) -> Params:
    """Several classifiers as one; the only one as it is."""
    return members[0] if len(members) == 1 else Ensemble(tuple(members))


def init(key: jax.Array, config: Any, vectors: jax.Array | None = None) -> Classifier:
    """Embedding, LSTM and one logit; a pooled model may start from word vectors [V, D]."""
    if config.pooled:
        symbols = symbol_counts(config)
        sizes = [config.embedding_size, *(config.ngram_size for _ in symbols[1:])]
        params = models.init_pooled_classifier(key, symbols, sizes, config.hidden_size, num_labels=1)
        return params if vectors is None else params._replace(embeddings=(vectors, *params.embeddings[1:]))
    return models.init_classifier(key, config.embedding_size, config.hidden_size, 1, vocabulary_size=config.num_words)


def logits_of(params: Params, ids: jax.Array, key: jax.Array | None = None, **dropout: float) -> jax.Array:
    """Ids [B, T], or [B, T, E] with n-grams -> the logit [B] of a positive review; padding is masked."""
    if isinstance(params, Ensemble):
        of_each = [logits_of(member, ids, key, **dropout) for member in params.members]
        return jnp.mean(jnp.stack(of_each), axis=0)
    mask = words_of(ids) != word_ids.PADDING
    if isinstance(params, models.PooledClassifierParams):
        return models.classify_pooled(params, ids, mask, key=key, **dropout)[:, 0]
    return models.classify(params, ids, mask=mask, key=key, **dropout)[:, 0]


def deployed(run: Run) -> dict[str, Model]:
    """The trained model: ids [B, T], padded on any side -> the probability [B] that the review is positive.

    With n-grams the ids are [B, T, E], the word's and those of the runs that end with it.
    """
    config = run.config
    like = jax.eval_shape(lambda key: init(key, config), jax.random.key(0))
    params = run.load_parameters(ensemble_of([like] * config.models))
    orders = len(ngram_counts(config))

    def apply(params: Params, ids: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(logits_of(params, ids))

    def graph(graph, params: Params, ids: str) -> str:
        from jaxlstm.deploy import onnx

        words = graph.add("Gather", ids, graph.constant(0, np.int64), axis=2) if orders else ids
        mask = graph.add("Not", graph.add("Equal", words, graph.constant(word_ids.PADDING, np.int32)))

        def logits(params: Params) -> str:
            if isinstance(params, Ensemble):
                return graph.add("Mean", *map(logits, params.members))
            if isinstance(params, models.PooledClassifierParams):
                return onnx.classify_pooled(graph, params, ids, mask)
            return onnx.classify(graph, params, ids, mask=mask)

        return graph.add("Sigmoid", graph.add("Squeeze", logits(params), graph.constant([1], np.int64)))

    inputs = {"ids": Input(("batch", "time", 1 + orders) if orders else ("batch", "time"), np.int32)}
    return {"sentiment": Model(apply, params, inputs, ("probability",), graph)}
