"""The LSTM in NumPy and float64: the textbook equations, one row and one step at a time.

Every test of values compares with it. It shares no code with jaxlstm and knows none of its tricks.
"""

import itertools
from collections.abc import Callable

import numpy as np

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
    hidden_size = params[1].shape[0]
    h, c = np.zeros((2, *batch_shape, hidden_size)) if state is None else map(np.array, state)
    h, c = h.astype(np.float64), c.astype(np.float64)
    ys = np.zeros((*batch_shape, steps, hidden_size))
    for row in itertools.product(*map(range, batch_shape)):
        for t in reversed(range(steps)) if reverse else range(steps):
            if lengths is not None and t >= np.asarray(lengths)[row]:
                continue
            if mask is not None and not np.asarray(mask)[row][t]:
                continue
            scale = 1.0 if h_scale is None else np.asarray(h_scale, np.float64)[row]
            h[row], c[row] = lstm_step(params, h[row], c[row], xs[row][t], activation, scale)
            ys[row][t] = h[row]
    return (h, c), ys
