"""A label at every step: LSTM, the same dense head on each hidden state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import Activation, LSTMParams, init_lstm
from jaxlstm.layers import DenseParams, dense, init_dense
from jaxlstm.sequence import lstm


class TaggerParams(NamedTuple):
    """The parameters of `tag`."""

    lstm: LSTMParams
    head: DenseParams


def init_tagger(key: Array, input_size: int, hidden_size: int, num_labels: int) -> TaggerParams:
    """Fresh parameters for D inputs, H units and N labels."""
    key_lstm, key_head = jax.random.split(key)
    return TaggerParams(init_lstm(key_lstm, input_size, hidden_size), init_dense(key_head, hidden_size, num_labels))


def tag(
    params: TaggerParams,
    xs: Array,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    activation: Activation = jnp.tanh,
) -> Array:
    """xs [..., T, D] -> logits, or other outputs, [..., T, N]."""
    _, ys = lstm(params.lstm, xs, lengths=lengths, mask=mask, activation=activation)
    return dense(params.head, ys)
