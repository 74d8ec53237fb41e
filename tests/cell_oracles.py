"""Every cell in NumPy and float64: the equations of its paper, one row and one step at a time.

A step takes params, the state as a dict, and x [D]; it returns the new state, whose h is the output.
"""

import numpy as np
from oracle import lstm_step, sigmoid
from walk import walk


def lstm(p, s, x):
    h, c = lstm_step((p.w_x, p.w_h, p.b), s["h"], s["c"], x)
    return {"h": h, "c": c}


def peephole(p, s, x):
    i, f, g, o = np.split(x @ p.w_x + s["h"] @ p.w_h + p.b, 4)
    p_i, p_f, p_o = np.split(p.p, 3)
    c = sigmoid(f + p_f * s["c"]) * s["c"] + sigmoid(i + p_i * s["c"]) * np.tanh(g)
    return {"h": sigmoid(o + p_o * c) * np.tanh(c), "c": c}


def coupled(p, s, x):
    i, g, o = np.split(x @ p.w_x + s["h"] @ p.w_h + p.b, 3)
    c = (1 - sigmoid(i)) * s["c"] + sigmoid(i) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(c), "c": c}


def no_forget_gate(p, s, x):
    i, g, o = np.split(x @ p.w_x + s["h"] @ p.w_h + p.b, 3)
    c = s["c"] + sigmoid(i) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(c), "c": c}


def normalised(v, gain):
    return gain * (v - v.mean()) / np.sqrt(v.var() + 1e-6)


def layer_norm(p, s, x):
    i, f, g, o = np.split(normalised(x @ p.w_x, p.gain_x) + normalised(s["h"] @ p.w_h, p.gain_h) + p.b, 4)
    c = sigmoid(f) * s["c"] + sigmoid(i) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(normalised(c, p.gain_c) + p.b_c), "c": c}


def projected(p, s, x):
    new = lstm(p, s, x)
    return new | {"h": new["h"] @ p.w_p}


def gru(p, s, x):
    z_r, z_u, z_n = np.split(x @ p.w_x + p.b, 3)
    v_r, v_u, v_n = np.split(s["h"] @ p.w_h, 3)
    u = sigmoid(z_u + v_u)
    n = np.tanh(z_n + sigmoid(z_r + v_r) * (v_n + p.b_n))
    return {"h": (1 - u) * n + u * s["h"]}


def slstm(p, s, x):
    """Without a stabiliser: the exponentials as they are. `cell_cases.unstabilised` makes the states comparable."""
    heads, units, _ = p.w_h.shape
    blocks = np.zeros((heads * units, 4, heads * units))
    for head in range(heads):
        rows = slice(head * units, (head + 1) * units)
        blocks[rows, :, rows] = p.w_h[head].reshape(units, 4, units)
    i, f, g, o = np.split(x @ p.w_x + s["h"] @ blocks.reshape(heads * units, -1) + p.b, 4)
    c = sigmoid(f) * s["c"] + np.exp(i) * np.tanh(g)
    n = sigmoid(f) * s["n"] + np.exp(i)
    return {"h": sigmoid(o) * c / n, "c": c, "n": n}


def scan(step, params, xs, state, **options):
    """xs [..., T, D] and a state, a dict of [..., N] -> the final state and ys [..., T, H]; options as of `walk`."""
    params = type(params)(*(np.asarray(leaf, np.float64) for leaf in params))
    xs = np.asarray(xs, np.float64)
    return walk(lambda s, row, t: step(params, s, xs[row][t]), state, xs.shape[-2], **options)
