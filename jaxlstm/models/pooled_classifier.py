"""One label for a long sequence: embedding, LSTMs in both directions, pooling over the steps, dense head.

A last hidden state has to hold what was said hundreds of steps before. The largest and the mean output of
each unit over all steps see every one of them (max pooling over LSTMs of both directions: Johnson & Zhang
2016; pools beside each other: Howard & Ruder 2018).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlstm.cell import LSTMParams, init_lstm
from jaxlstm.layers import DenseParams, dense, dropout_scale, init_dense, init_embedding
from jaxlstm.sequence import lstm


class PooledClassifierParams(NamedTuple):
    """The parameters of `classify_pooled`."""

    embedding: Array  # [V, D]
    forward: LSTMParams
    backward: LSTMParams
    head: DenseParams  # from the pools, [4H, N]


def init_pooled_classifier(
    key: Array, vocabulary_size: int, embedding_size: int, hidden_size: int, num_labels: int
) -> PooledClassifierParams:
    """Fresh parameters; `hidden_size` units in each direction."""
    key_embedding, key_forward, key_backward, key_head = jax.random.split(key, 4)
    return PooledClassifierParams(
        init_embedding(key_embedding, vocabulary_size, embedding_size),
        init_lstm(key_forward, embedding_size, hidden_size),
        init_lstm(key_backward, embedding_size, hidden_size),
        init_dense(key_head, 4 * hidden_size, num_labels),
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
    """Integers [B, T] and booleans [B, T], True where a step is valid -> logits [B, N].

    With a `key`, dropout: on the word vectors and on h_{t-1}, the same entries at every step of a sequence
    (Gal & Ghahramani 2016), and on the pools. Without one there is none. A sequence without a valid step
    has pools of zeros.
    """
    xs = params.embedding[ids]
    scales: list[Array | None] = [None, None]
    if key is not None:
        key_inputs, key_pools, *keys = jax.random.split(key, 4)
        xs *= dropout_scale(key_inputs, dropout, (len(xs), 1, xs.shape[-1]), xs.dtype)
        if recurrent_dropout:
            hidden = (len(xs), params.forward.w_h.shape[0])
            scales = [dropout_scale(key, recurrent_dropout, hidden, xs.dtype) for key in keys]
    _, forward = lstm(params.forward, xs, mask=mask, h_scale=scales[0])
    _, backward = lstm(params.backward, xs, mask=mask, h_scale=scales[1], reverse=True)
    pools = _max_and_mean(jnp.concatenate([forward, backward], axis=-1), mask)
    if key is not None:
        pools *= dropout_scale(key_pools, output_dropout, pools.shape, pools.dtype)
    return dense(params.head, pools)


def _max_and_mean(ys: Array, mask: Array) -> Array:
    """[B, T, N] -> [B, 2N]: over the valid steps, the outputs of the others being zeros."""
    largest = jnp.max(jnp.where(mask[..., None], ys, -jnp.inf), axis=1)
    count = jnp.sum(mask, axis=1)[:, None]
    return jnp.concatenate([jnp.where(count > 0, largest, 0), ys.sum(axis=1) / jnp.maximum(count, 1)], axis=-1)
