"""Sequence to code to sequence (Srivastava, Mansimov & Salakhutdinov 2015).

The encoder's last hidden state is the code. A decoder is a tagger that reads the code at every step; a
conditional one reads its own last output beside it. The composite model has two decoders on one code: one
rebuilds the input, the other predicts what comes next. Rebuilding may walk backwards, from the last step,
which the code remembers best, to the first.

Whether a decoder is conditional is decided when its parameters are made, and shows in their shapes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import Activation, LSTMParams, init_lstm, lstm_cell, zero_state
from jaxlstm.layers import dense
from jaxlstm.layout import flipped
from jaxlstm.models.tagger import TaggerParams, init_tagger, tag
from jaxlstm.sequence import lstm


class AutoencoderParams(NamedTuple):
    """The parameters of `reconstruct`."""

    encoder: LSTMParams
    decoder: TaggerParams


class CompositeParams(NamedTuple):
    """The parameters of `reconstruct_and_predict`."""

    encoder: LSTMParams
    reconstruction: TaggerParams
    prediction: TaggerParams


def init_autoencoder(key: Array, feature_size: int, code_size: int, *, conditional: bool = False) -> AutoencoderParams:
    """Fresh parameters for sequences of D features and a code of H numbers."""
    key_encoder, key_decoder = jax.random.split(key)
    return AutoencoderParams(
        init_lstm(key_encoder, feature_size, code_size),
        _init_decoder(key_decoder, feature_size, code_size, conditional),
    )


def init_composite(key: Array, feature_size: int, code_size: int, *, conditional: bool = False) -> CompositeParams:
    """Fresh parameters for sequences of D features and a code of H numbers; both decoders are of one kind."""
    key_encoder, key_reconstruction, key_prediction = jax.random.split(key, 3)
    return CompositeParams(
        init_lstm(key_encoder, feature_size, code_size),
        _init_decoder(key_reconstruction, feature_size, code_size, conditional),
        _init_decoder(key_prediction, feature_size, code_size, conditional),
    )


def _init_decoder(key: Array, feature_size: int, code_size: int, conditional: bool) -> TaggerParams:
    input_size = code_size + feature_size if conditional else code_size
    return init_tagger(key, input_size, code_size, feature_size)


def encode(
    encoder: LSTMParams, xs: Array, *, lengths: ArrayLike | None = None, activation: Activation = jnp.tanh
) -> Array:
    """xs [..., T, D] and lengths [...] -> the code [..., H]."""
    state, _ = lstm(encoder, xs, lengths=lengths, activation=activation)
    return state.h


def decode(
    decoder: TaggerParams,
    code: Array,
    steps: int,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    activation: Activation = jnp.tanh,
) -> Array:
    """The code [..., H] -> outputs [..., steps, D].

    With `reverse` the last output, that of step `lengths` [...], is written first; all of them stay in place.
    A conditional decoder reads zeros beside the code at its first step, and then its last output, in training
    as ever.
    """
    if decoder.lstm.w_x.shape[0] == code.shape[-1]:
        repeated = jnp.broadcast_to(code[..., None, :], (*code.shape[:-1], steps, code.shape[-1]))
        outputs = tag(decoder, repeated, activation=activation)
    else:
        outputs = _decode_conditionally(decoder, code, steps, activation)
    return flipped(outputs, lengths) if reverse else outputs


def _decode_conditionally(decoder: TaggerParams, code: Array, steps: int, activation: Activation) -> Array:
    def step(carry, _):
        state, output = carry
        state, y = lstm_cell(decoder.lstm, state, jnp.concatenate([code, output], axis=-1), activation=activation)
        output = dense(decoder.head, y)
        return (state, output), output

    state = zero_state(code.shape[:-1], decoder.lstm.w_h.shape[0], code.dtype)
    nothing = jnp.zeros((*code.shape[:-1], decoder.head.b.shape[0]), code.dtype)
    # Over an array of that many steps, not `length=steps`, which `jax.export` may keep symbolic.
    _, outputs = jax.lax.scan(step, (state, nothing), jnp.zeros((steps, 0)))
    return jnp.moveaxis(outputs, 0, -2)


def reconstruct(
    params: AutoencoderParams,
    xs: Array,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    activation: Activation = jnp.tanh,
) -> Array:
    """xs [..., T, D] -> the same sequence, rebuilt from its code, with `reverse` from its end to its beginning."""
    code = encode(params.encoder, xs, lengths=lengths, activation=activation)
    return decode(params.decoder, code, xs.shape[-2], lengths=lengths, reverse=reverse, activation=activation)


def reconstruct_and_predict(
    params: CompositeParams,
    xs: Array,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    activation: Activation = jnp.tanh,
) -> tuple[Array, Array]:
    """xs [..., T, D] -> the sequence rebuilt [..., T, D], and for steps 1 to T - 1 the one after [..., T - 1, D].

    With `reverse` it is rebuilt from its end to its beginning; the prediction goes forward as ever.
    """
    code = encode(params.encoder, xs, lengths=lengths, activation=activation)
    steps = xs.shape[-2]
    # Of a T that it keeps symbolic `jax.export` cannot tell that T - 1 is a size: one step more, and it is left out.
    ahead = steps - 1 if isinstance(steps, int) else steps
    return (
        decode(params.reconstruction, code, steps, lengths=lengths, reverse=reverse, activation=activation),
        decode(params.prediction, code, ahead, activation=activation)[..., : steps - 1, :],
    )
