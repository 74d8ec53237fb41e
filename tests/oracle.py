"""The LSTM in NumPy and float64: the textbook equations, one row and one step at a time.

Every test of values compares with it. It shares no code with jaxlstm and knows none of its tricks.
"""

from collections.abc import Callable

import numpy as np
from walk import walk

Pair = tuple[np.ndarray, np.ndarray]


def sigmoid(z: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # exp(1000) is inf and 1 / inf is 0, which is right
        return 1 / (1 + np.exp(-z))


def relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0)


def lstm_step(params, h, c, x, activation: Callable = np.tanh, h_scale=1.0) -> Pair:
    """h, c [H] and x [D] -> the next h and c."""
    w_x, w_h, b = params
    z_i, z_f, z_g, z_o = np.split(x @ w_x + (h * h_scale) @ w_h + b, 4)
    c = sigmoid(z_f) * c + sigmoid(z_i) * activation(z_g)
    return sigmoid(z_o) * activation(c), c


def lstm(
    params, xs, state=None, *, lengths=None, mask=None, reverse=False, activation=np.tanh, h_scale=None
) -> tuple[Pair, np.ndarray]:
    """xs [..., T, D] -> (h, c) [..., H] and ys [..., T, H]."""
    params = tuple(np.asarray(leaf, np.float64) for leaf in params)
    xs = np.asarray(xs, np.float64)
    *batch_shape, steps, _ = xs.shape
    zeros = np.zeros((*batch_shape, params[1].shape[0]))
    h, c = (zeros, zeros) if state is None else state
    h_scale = np.ones_like(zeros) if h_scale is None else np.asarray(h_scale, np.float64)

    def step(s, row, t):
        h, c = lstm_step(params, s["h"], s["c"], xs[row][t], activation, h_scale[row])
        return {"h": h, "c": c}

    last, ys = walk(step, {"h": h, "c": c}, steps, lengths=lengths, mask=mask, reverse=reverse)
    return (last["h"], last["c"]), ys
