"""Which words are missing from a text: where vectors of words come from when there is more text than labels.

A share of a text's words, drawn at random, is kept, and the mean of their vectors has to tell which words the others
are. Words that say the same of a text come to have like vectors, as in latent semantic analysis (Deerwester et al.
1990) and in paragraph vectors (Le & Mikolov 2014), which predict the words of a text as well; to learn from what was
taken away is what denoising autoencoders do (Vincent et al. 2008). No LSTM is needed for it, and an epoch takes a
fraction of a language model's.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.layers import DenseParams, dense, init_embedding
from jaxlstm.losses import masked_mean


class MissingWordsParams(NamedTuple):
    """The parameters of `missing_words_loss`."""

    embedding: Array  # [V, D]
    code: DenseParams  # [D, D]
    head: DenseParams  # [D, V]


def init_missing_words(key: Array, counts: ArrayLike, embedding_size: int) -> MissingWordsParams:
    """Fresh parameters, for V words met `counts` [V] times, each as likely at first as in all texts."""
    key_embedding, key_code, key_head = jax.random.split(key, 3)
    counts = jnp.asarray(counts, jnp.float32)
    normal = partial(jax.random.normal, dtype=counts.dtype)  # float32 under jax_enable_x64 as well, as in the others
    sizes = embedding_size, len(counts)
    return MissingWordsParams(
        init_embedding(key_embedding, len(counts), embedding_size),
        # The mean of many vectors is small. This layer makes it larger, and lets the entries that matter grow together:
        # without it the vectors are learnt more slowly, and guess worse.
        DenseParams(normal(key_code, (embedding_size, embedding_size)), jnp.zeros(embedding_size, counts.dtype)),
        DenseParams(0.01 * normal(key_head, sizes), jnp.log1p(counts) - jnp.log(jnp.sum(counts))),
    )


def missing_words_loss(
    params: MissingWordsParams, ids: Array, mask: Array, key: Array, *, kept: float = 0.5, first: int = 0
) -> Array:
    """Integers [B, T] and booleans [B, T], True where a step is valid -> the mean cross-entropy of a missing word.

    Args:
      key: for the words that are kept.
      kept: share of them.
      first: ids below it are read, and never asked for: the most frequent words, which say little of a text.
    """
    keep = jax.random.bernoulli(key, kept, ids.shape)
    given, missing = mask & keep, mask & ~keep & (ids >= first)
    vectors = jnp.where(given[..., None], params.embedding[ids], 0)
    mean = jnp.sum(vectors, axis=1) / jnp.maximum(jnp.sum(given, axis=1), 1)[:, None]
    logits = dense(params.head, dense(params.code, mean))  # [B, V]: the same for all that are missing from a text
    log_p = jax.nn.log_softmax(logits)
    return masked_mean(-jnp.take_along_axis(log_p, ids, axis=1), missing)
