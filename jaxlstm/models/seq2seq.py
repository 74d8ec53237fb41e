"""Symbols to symbols: one LSTM reads the source, another writes the target (Sutskever, Vinyals & Le 2014).

The two are tied by their state alone: h and c after the last source symbol are those before the first
target symbol, so both have H units. The decoder reads the target symbols before the one it predicts.

    state = encode_source(params, source, lengths=lengths)
    logits = target_logits(params, state, previous_symbols(target, start))      to train, in one pass
    step = jax.tree_util.Partial(next_target, params)                            for everything in `decoding`:
    scheduled_sampling(step, state, previous_symbols(target, start), rate, key)  to train
    decode(step, state, start=start, end=end, max_length=100)                    to write
    beam_search(step, state, start=start, end=end, max_length=100)
"""

from typing import NamedTuple

import jax
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import LSTMParams, LSTMState, init_lstm, lstm_cell
from jaxlstm.layers import dense, init_embedding
from jaxlstm.models.tagger import TaggerParams, init_tagger
from jaxlstm.sequence import lstm


class Seq2SeqParams(NamedTuple):
    """The parameters of an encoder and a decoder."""

    source_embedding: Array  # [S, D]
    encoder: LSTMParams
    target_embedding: Array  # [V, D]
    decoder: TaggerParams  # its head gives V logits


def init_seq2seq(
    key: Array, source_symbols: int, target_symbols: int, embedding_size: int, hidden_size: int
) -> Seq2SeqParams:
    """Fresh parameters for S source symbols and V target symbols, start and end symbol among the latter."""
    key_source, key_encoder, key_target, key_decoder = jax.random.split(key, 4)
    return Seq2SeqParams(
        init_embedding(key_source, source_symbols, embedding_size),
        init_lstm(key_encoder, embedding_size, hidden_size),
        init_embedding(key_target, target_symbols, embedding_size),
        init_tagger(key_decoder, embedding_size, hidden_size, target_symbols),
    )


def encode_source(
    params: Seq2SeqParams, source: Array, *, lengths: ArrayLike | None = None, mask: ArrayLike | None = None
) -> LSTMState:
    """source, integers [..., T] -> the state after its last valid symbol, h and c [..., H]."""
    state, _ = lstm(params.encoder, params.source_embedding[source], lengths=lengths, mask=mask)
    return state


def target_logits(params: Seq2SeqParams, state: LSTMState, inputs: Array) -> Array:
    """Teacher forcing: the encoder's state and integers [..., T] -> logits [..., T, V] of the symbol after each."""
    _, ys = lstm(params.decoder.lstm, params.target_embedding[inputs], state)
    return dense(params.decoder.head, ys)


def next_target(params: Seq2SeqParams, state: LSTMState, symbols: Array) -> tuple[LSTMState, Array]:
    """One step: symbols, integers [...] -> the state after them and logits [..., V] of the symbol that follows."""
    state, y = lstm_cell(params.decoder.lstm, state, params.target_embedding[symbols])
    return state, dense(params.decoder.head, y)
