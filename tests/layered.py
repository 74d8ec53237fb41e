"""Stacks, directions and projections over ragged batches: what converted weights must compute."""

import cell_oracles
import numpy as np
from problem import draw

from jaxlstm import LSTMState, lstm
from jaxlstm.interop import BidirectionalParams, ProjectedLSTMParams

TOLERANCES = {np.float64: 1e-12, np.float32: 1e-6}
LENGTHS = np.array([4, 1, 7], np.int32)
VALID = np.arange(7) < LENGTHS[:, None]


def params_of(dtype=np.float32, seed=0):
    """The weights of one LSTM, D = 5 and H = 4."""
    return draw(dtype=dtype, seed=seed).params


def pair_of(dtype=np.float32):
    """Those of two directions."""
    return BidirectionalParams(params_of(dtype, 1), params_of(dtype, 2))


def inputs_of(dtype):
    """[3, 7, 5]"""
    return draw(dtype=dtype).xs


def only_valid(ys):
    """The outputs with zeros in the padding, where other libraries leave what they please."""
    return np.where(VALID[..., None], ys, 0)


def run_direction(params, xs, lengths, reverse=False):
    """xs [B, T, D] -> the final state and the outputs [B, T, H or P], from a state of zeros."""
    if not isinstance(params, ProjectedLSTMParams):
        return lstm(params, xs, lengths=lengths, reverse=reverse)
    hidden_size, projection_size = params.w_p.shape
    zeros = {"h": np.zeros((len(xs), projection_size)), "c": np.zeros((len(xs), hidden_size))}
    state, ys = cell_oracles.scan(cell_oracles.projected, params, xs, zeros, lengths=lengths, reverse=reverse)
    return LSTMState(**state), ys


def run_layer(layer, xs, lengths):
    """The final states of the layer's directions, and the outputs, those of the forward direction first."""
    if not isinstance(layer, BidirectionalParams):
        state, ys = run_direction(layer, xs, lengths)
        return [state], ys
    forward, backward = run_direction(layer.forward, xs, lengths), run_direction(layer.backward, xs, lengths, True)
    return [forward[0], backward[0]], np.concatenate([forward[1], backward[1]], axis=-1).astype(xs.dtype)


def run_stack(layers, xs, lengths):
    """h and c [layers * directions, B, ...] in the order of PyTorch and cuDNN, and the outputs of the last layer."""
    states = []
    for layer in layers:
        layer_states, xs = run_layer(layer, xs, lengths)
        states += layer_states
    return LSTMState(*(np.stack(leaves) for leaves in zip(*states, strict=True))), xs
