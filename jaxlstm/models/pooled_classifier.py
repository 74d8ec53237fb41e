"""One label for a long sequence: embeddings, LSTMs in both directions, pooling over the steps, dense head.

A last hidden state has to hold what was said hundreds of steps before. The largest and the mean output of
each unit over all steps see every one of them (max pooling over LSTMs of both directions: Johnson & Zhang
2016; pools beside each other: Howard & Ruder 2018). The mean of what the LSTMs read stands beside them, the
bag of words that is hard to beat on little data (deep averaging: Iyyer et al. 2015).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlstm.cell import LSTMParams, init_lstm
from jaxlstm.checks import check_shape
from jaxlstm.layers import DenseParams, dense, dropout_scale, init_dense, init_embedding
from jaxlstm.sequence import lstm


class PooledClassifierParams(NamedTuple):
    """The parameters of `classify_pooled`."""

    embeddings: tuple[Array, ...]  # [V, D] for each symbol of a step
    forward: LSTMParams
    backward: LSTMParams
    head: DenseParams  # from the pools, [4H + the sum of the D, N]


def init_pooled_classifier(
    key: Array,
    vocabulary_size: int | Sequence[int],
    embedding_size: int | Sequence[int],
    hidden_size: int,
    num_labels: int,
) -> PooledClassifierParams:
    """Fresh parameters; `hidden_size` units in each direction.

    A step that holds several symbols, a word and its pair with the word before say, has sequences of sizes.

    Raises:
      ValueError: sequences of different lengths.
    """
    symbols, widths = np.ravel(vocabulary_size).tolist(), np.ravel(embedding_size).tolist()
    if len(symbols) != len(widths):
        raise ValueError(f"embedding_size: expected {len(symbols)}, one for each vocabulary, got {len(widths)}")
    key_embeddings, key_forward, key_backward, key_head = jax.random.split(key, 4)
    embeddings = tuple(map(init_embedding, jax.random.split(key_embeddings, len(symbols)), symbols, widths))
    width = sum(widths)
    return PooledClassifierParams(
        embeddings,
        init_lstm(key_forward, width, hidden_size),
        init_lstm(key_backward, width, hidden_size),
        init_dense(key_head, 4 * hidden_size + width, num_labels),
    )


def classify_pooled(
    params: PooledClassifierParams,
    ids: Array,
    mask: Array,
    *,
    key: Array | None = None,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    output_dropout: float = 0.0,
) -> Array:
    """Integers [B, T], or [B, T, E] with E embeddings, and booleans [B, T], True where valid -> logits [B, N].

    With a `key`, dropout: on the word vectors and on h_{t-1}, the same entries at every step of a sequence
    (Gal & Ghahramani 2016), and on the pools. Without one there is none. A sequence without a valid step
    has pools of zeros.

    Raises:
      ValueError: ids or a mask of another shape.
    """
    check_shape("mask", mask, ids.shape[:2])
    if ids.ndim > 2 or len(params.embeddings) > 1:
        check_shape("ids", ids, (*mask.shape, len(params.embeddings)))
    symbols = ids.reshape(*mask.shape, len(params.embeddings))
    vectors = [embedding[symbols[..., index]] for index, embedding in enumerate(params.embeddings)]
    xs = read = jnp.concatenate(vectors, axis=-1)
    scales: list[Array | None] = [None, None]
    if key is not None:
        key_inputs, key_pools, *keys = jax.random.split(key, 4)
        if dropout:
            xs *= dropout_scale(key_inputs, dropout, (len(xs), 1, xs.shape[-1]), xs.dtype)
        if recurrent_dropout:
            hidden = (len(xs), params.forward.w_h.shape[0])
            scales = [dropout_scale(key, recurrent_dropout, hidden, xs.dtype) for key in keys]
    _, forward = lstm(params.forward, xs, mask=mask, h_scale=scales[0])
    _, backward = lstm(params.backward, xs, mask=mask, h_scale=scales[1], reverse=True)
    ys = jnp.concatenate([forward, backward], axis=-1)
    pools = jnp.concatenate([_max(ys, mask), _mean(ys, mask), _mean(read, mask)], axis=-1)
    if key is not None and output_dropout:
        pools *= dropout_scale(key_pools, output_dropout, pools.shape, pools.dtype)
    return dense(params.head, pools)


def _max(xs: Array, mask: Array) -> Array:
    """[B, T, N] -> [B, N]: the largest over the valid steps."""
    largest = jnp.max(jnp.where(mask[..., None], xs, -jnp.inf), axis=1, initial=-jnp.inf)
    return jnp.where(jnp.any(mask, axis=1)[:, None], largest, 0)


def _mean(xs: Array, mask: Array) -> Array:
    """[B, T, N] -> [B, N]: the mean over the valid steps."""
    count = jnp.sum(mask, axis=1)[:, None]
    return jnp.sum(jnp.where(mask[..., None], xs, 0), axis=1) / jnp.maximum(count, 1)
