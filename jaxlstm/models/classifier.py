"""One label for a sequence: (embedding,) LSTM, dense head on the last hidden state."""

from typing import NamedTuple

import jax
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import LSTMParams, LSTMState, init_lstm
from jaxlstm.layers import DenseParams, dense, dropout_scale, init_dense, init_embedding
from jaxlstm.sequence import lstm


class ClassifierParams(NamedTuple):
    """The parameters of `classify`."""

    embedding: Array | None  # [V, D]; None where the inputs are vectors
    lstm: LSTMParams
    head: DenseParams


def init_classifier(
    key: Array,
    input_size: int,
    hidden_size: int,
    num_labels: int,
    *,
    vocabulary_size: int | None = None,
    forget_bias: float = 1.0,
    chrono: int | None = None,
) -> ClassifierParams:
    """Fresh parameters; a `vocabulary_size` V adds an embedding [V, input_size] of integer inputs."""
    key_embedding, key_lstm, key_head = jax.random.split(key, 3)
    embedding = None if vocabulary_size is None else init_embedding(key_embedding, vocabulary_size, input_size)
    return ClassifierParams(
        embedding,
        init_lstm(key_lstm, input_size, hidden_size, forget_bias=forget_bias, chrono=chrono),
        init_dense(key_head, hidden_size, num_labels),
    )


def classify(
    params: ClassifierParams,
    inputs: Array,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    key: Array | None = None,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    output_dropout: float = 0.0,
) -> Array:
    """inputs [..., T, D], or integers [..., T] with an embedding -> logits [..., N].

    With a `key`, variational dropout (Gal & Ghahramani 2016): one mask for each sequence, the same at
    every step, on the inputs of the LSTM and on h_{t-1}; and dropout on the last hidden state. Without a
    key there is none.
    """
    state, _ = _read(params, inputs, key, dropout, recurrent_dropout, lengths=lengths, mask=mask)
    h = state.h
    if key is not None and output_dropout:
        h *= dropout_scale(jax.random.fold_in(key, 2), output_dropout, h.shape, h.dtype)
    return dense(params.head, h)


def classify_prefixes(
    params: ClassifierParams,
    inputs: Array,
    *,
    key: Array | None = None,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> Array:
    """inputs [..., T, D], or integers [..., T] with an embedding -> logits [..., T, N] of the first 1, 2 .. T steps.

    Those of the first t are what `classify` says of these steps alone; dropout is the same.
    """
    _, ys = _read(params, inputs, key, dropout, recurrent_dropout)
    return dense(params.head, ys)


def _read(
    params: ClassifierParams, inputs: Array, key: Array | None, dropout: float, recurrent_dropout: float, **valid
) -> tuple[LSTMState, Array]:
    xs = inputs if params.embedding is None else params.embedding[inputs]
    h_scale = None
    if key is not None:
        key_input, key_recurrent = jax.random.split(key)
        if dropout:
            xs *= dropout_scale(key_input, dropout, (*xs.shape[:-2], 1, xs.shape[-1]), xs.dtype)
        if recurrent_dropout:
            shape = (*xs.shape[:-2], params.lstm.w_h.shape[0])
            h_scale = dropout_scale(key_recurrent, recurrent_dropout, shape, xs.dtype)
    return lstm(params.lstm, xs, h_scale=h_scale, **valid)
