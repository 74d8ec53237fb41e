"""The next word, and the one before: language models in both directions over one embedding.

Where the vectors of words come from, when there is more text than labels (Dai & Le 2015; in both directions Peters et
al. 2018). A word's logit is the product of its own vector with what a dense layer makes of the LSTM's output (tied
weights: Press & Wolf 2017), and in training the sum over all words is estimated from some that are drawn
(`losses.sampled_cross_entropy`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlstm import losses
from jaxlstm.cell import LSTMParams, init_lstm
from jaxlstm.layers import DenseParams, dense, dropout_scale, init_dense, init_embedding
from jaxlstm.sequence import lstm


class WordModelParams(NamedTuple):
    """The parameters of `words_around_loss`."""

    embedding: Array  # [V, D]
    forward: LSTMParams
    backward: LSTMParams
    forward_head: DenseParams  # [H, D]
    backward_head: DenseParams  # [H, D]
    bias: Array  # [V]


def init_word_model(key: Array, vocabulary_size: int, embedding_size: int, hidden_size: int) -> WordModelParams:
    """Fresh parameters; `hidden_size` units in each direction."""
    keys = jax.random.split(key, 5)
    return WordModelParams(
        init_embedding(keys[0], vocabulary_size, embedding_size),
        init_lstm(keys[1], embedding_size, hidden_size),
        init_lstm(keys[2], embedding_size, hidden_size),
        init_dense(keys[3], hidden_size, embedding_size),
        init_dense(keys[4], hidden_size, embedding_size),
        jnp.zeros(vocabulary_size),
    )


def words_around_loss(
    params: WordModelParams, ids: Array, mask: Array, key: Array, *, samples: int, dropout: float = 0.0
) -> Array:
    """Integers [B, T] and booleans [B, T], True where a step is valid -> the estimated cross-entropy of a word.

    The mean over the words that have one before them, which they are predicted from, and those that have one after.

    Args:
      key: for the `samples` words drawn, the same for the whole batch, and for dropout.
      samples: how many words stand for all of them, drawn as by Zipf's law: ids in order of frequency.
      dropout: share of a word's vector dropped, the same entries at every step of a sequence.
    """
    key_samples, key_dropout = jax.random.split(key)
    vocabulary_size, embedding_size = params.embedding.shape
    sampled = zipf(key_samples, samples, vocabulary_size)
    log_rate = jnp.log(samples) + zipf_log_probabilities(vocabulary_size)
    xs = params.embedding[ids] * dropout_scale(key_dropout, dropout, (len(ids), 1, embedding_size))

    both = mask[:, 1:] & mask[:, :-1]
    total = jnp.zeros(())
    for reverse, cell, head in (
        (False, params.forward, params.forward_head),
        (True, params.backward, params.backward_head),
    ):
        _, ys = lstm(cell, xs, mask=mask, reverse=reverse)
        ys, labels = (ys[:, 1:], ids[:, :-1]) if reverse else (ys[:, :-1], ids[:, 1:])
        guess = dense(head, ys)
        logits = jnp.sum(guess * params.embedding[labels], axis=-1) + params.bias[labels]
        sampled_logits = guess @ params.embedding[sampled].T + params.bias[sampled]
        total += losses.sampled_cross_entropy(logits, labels, sampled_logits, sampled, log_rate, both)
    return total / 2


def zipf(key: Array, count: int, size: int) -> Array:
    """Integers [count] below `size`, n drawn with probability log((n + 2) / (n + 1)) / log(size + 1)."""
    uniform = jax.random.uniform(key, (count,))
    drawn = jnp.exp(uniform * jnp.log(size + 1.0)).astype(jnp.int32) - 1
    return jnp.clip(drawn, 0, size - 1)


def zipf_log_probabilities(size: int) -> Array:
    """The logarithms [size] of the probabilities that `zipf` draws with."""
    n = jnp.arange(size, dtype=jnp.float32)
    return jnp.log(jnp.log1p(1 / (n + 1)) / jnp.log(size + 1.0))
