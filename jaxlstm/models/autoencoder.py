"""Sequence to code to sequence (Srivastava, Mansimov & Salakhutdinov 2015).

The encoder's last hidden state is the code. A decoder is a tagger that reads the code at every step.
The composite model has two decoders on one code: one rebuilds the input, the other predicts what comes
next.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlstm.cell import Activation, LSTMParams, init_lstm
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


def init_autoencoder(key: Array, feature_size: int, code_size: int) -> AutoencoderParams:
    """Fresh parameters for sequences of D features and a code of H numbers."""
    key_encoder, key_decoder = jax.random.split(key)
    return AutoencoderParams(
        init_lstm(key_encoder, feature_size, code_size), init_tagger(key_decoder, code_size, code_size, feature_size)
    )


def init_composite(key: Array, feature_size: int, code_size: int) -> CompositeParams:
    """Fresh parameters for sequences of D features and a code of H numbers."""
    key_encoder, key_reconstruction, key_prediction = jax.random.split(key, 3)
    return CompositeParams(
        init_lstm(key_encoder, feature_size, code_size),
        init_tagger(key_reconstruction, code_size, code_size, feature_size),
        init_tagger(key_prediction, code_size, code_size, feature_size),
    )


def encode(encoder: LSTMParams, xs: Array, *, activation: Activation = jnp.tanh) -> Array:
    """xs [..., T, D] -> the code [..., H]."""
    state, _ = lstm(encoder, xs, activation=activation)
    return state.h


def decode(decoder: TaggerParams, code: Array, steps: int, *, activation: Activation = jnp.tanh) -> Array:
    """The code [..., H] -> outputs [..., steps, D]."""
    repeated = jnp.broadcast_to(code[..., None, :], (*code.shape[:-1], steps, code.shape[-1]))
    return tag(decoder, repeated, activation=activation)


def reconstruct(params: AutoencoderParams, xs: Array, *, activation: Activation = jnp.tanh) -> Array:
    """xs [..., T, D] -> the same sequence, rebuilt from its code."""
    return decode(
        params.decoder, encode(params.encoder, xs, activation=activation), xs.shape[-2], activation=activation
    )


def reconstruct_and_predict(
    params: CompositeParams, xs: Array, *, activation: Activation = jnp.tanh
) -> tuple[Array, Array]:
    """xs [..., T, D] -> the sequence rebuilt [..., T, D], and for steps 1 to T - 1 the one after [..., T - 1, D]."""
    code = encode(params.encoder, xs, activation=activation)
    steps = xs.shape[-2]
    return (
        decode(params.reconstruction, code, steps, activation=activation),
        decode(params.prediction, code, steps - 1, activation=activation),
    )
