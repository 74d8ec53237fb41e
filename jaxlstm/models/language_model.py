"""The next symbol, from those before it: a tagger over one-hot symbols whose labels are the symbols.

A sequence s_1 .. s_T is scored from a start symbol on, so that its first symbol counts too:

    log P(s) = log P(s_1 | start) + log P(s_2 | start, s_1) + ... + log P(s_T | start, s_1 .. s_{T-1})

One step of it, `next_symbol`, is what `jaxlstm.decoding` writes with:

    decode(jax.tree_util.Partial(next_symbol, params), state, start=start, end=end, max_length=100)
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxlstm.cell import LSTMState, lstm_cell
from jaxlstm.decoding import previous_symbols
from jaxlstm.layers import dense, dropout_scale
from jaxlstm.models.tagger import TaggerParams, init_tagger, tag
from jaxlstm.sequence import lstm


def init_language_model(key: Array, num_symbols: int, hidden_size: int) -> TaggerParams:
    """Fresh parameters for symbols 0 to V - 1, the start symbol among them."""
    return init_tagger(key, num_symbols, hidden_size, num_symbols)


def next_symbol_logits(params: TaggerParams, symbols: Array) -> Array:
    """symbols, integers [..., T] -> logits [..., T, V] of the symbol that follows each."""
    return tag(params, one_hot(params, symbols))


def read_symbols(
    params: TaggerParams,
    state: LSTMState | None,
    symbols: Array,
    *,
    key: Array | None = None,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> tuple[LSTMState, Array]:
    """symbols, integers [..., T] -> the state after them and logits [..., T, V] of the symbol that follows each.

    The state goes in again for the symbols that come next; None is the start. With a `key`, dropout: on what
    the head reads, drawn anew at each step (Zaremba, Sutskever & Vinyals 2014), and on h_{t-1}, the same at
    every step of a sequence (Gal & Ghahramani 2016). Without one there is none.
    """
    xs, h_scale, y_scale = one_hot(params, symbols), None, None
    if key is not None:
        key_output, key_recurrent = jax.random.split(key)
        shape = (*symbols.shape, params.lstm.w_h.shape[0])
        if dropout:
            y_scale = dropout_scale(key_output, dropout, shape, xs.dtype)
        if recurrent_dropout:
            h_scale = dropout_scale(key_recurrent, recurrent_dropout, (*shape[:-2], shape[-1]), xs.dtype)
    state, ys = lstm(params.lstm, xs, state, h_scale=h_scale)
    return state, dense(params.head, ys if y_scale is None else ys * y_scale)


def next_symbol(params: TaggerParams, state: LSTMState, symbols: Array) -> tuple[LSTMState, Array]:
    """One step: symbols, integers [...] -> the state after them and logits [..., V] of the symbol that follows."""
    state, y = lstm_cell(params.lstm, state, one_hot(params, symbols))
    return state, dense(params.head, y)


def log_probabilities(
    params: TaggerParams,
    symbols: Array,
    start: int,
    *,
    key: Array | None = None,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> Array:
    """symbols, integers [..., T] -> log P(s_t | start, s_1 .. s_{t-1}) [..., T]; their sum is log P(s).

    Dropout is that of `read_symbols`.
    """
    inputs = previous_symbols(symbols, start)
    _, logits = read_symbols(params, None, inputs, key=key, dropout=dropout, recurrent_dropout=recurrent_dropout)
    return jnp.take_along_axis(jax.nn.log_softmax(logits), symbols[..., None], axis=-1)[..., 0]


def one_hot(params: TaggerParams, symbols: Array) -> Array:
    """symbols, integers [...] -> [..., V], what the model's LSTM reads."""
    return jax.nn.one_hot(symbols, params.head.b.shape[0], dtype=params.head.b.dtype)
