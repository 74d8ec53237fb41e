"""The next symbol, from those before it: a tagger over one-hot symbols whose labels are the symbols.

A sequence s_1 .. s_T is scored from a start symbol on, so that its first symbol counts too:

    log P(s) = log P(s_1 | start) + log P(s_2 | start, s_1) + ... + log P(s_T | start, s_1 .. s_{T-1})
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxlstm.models.tagger import TaggerParams, init_tagger, tag


def init_language_model(key: Array, num_symbols: int, hidden_size: int) -> TaggerParams:
    """Fresh parameters for symbols 0 to V - 1, the start symbol among them."""
    return init_tagger(key, num_symbols, hidden_size, num_symbols)


def next_symbol_logits(params: TaggerParams, symbols: Array) -> Array:
    """symbols, integers [..., T] -> logits [..., T, V] of the symbol that follows each."""
    return tag(params, jax.nn.one_hot(symbols, params.head.b.shape[0], dtype=params.head.b.dtype))


def log_probabilities(params: TaggerParams, symbols: Array, start: int) -> Array:
    """symbols, integers [..., T] -> log P(s_t | start, s_1 .. s_{t-1}) [..., T]; their sum is log P(s)."""
    before = jnp.concatenate([jnp.full_like(symbols[..., :1], start), symbols[..., :-1]], axis=-1)
    log_p = jax.nn.log_softmax(next_symbol_logits(params, before))
    return jnp.take_along_axis(log_p, symbols[..., None], axis=-1)[..., 0]
