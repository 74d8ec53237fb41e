"""Every cell in NumPy and float64: the equations of its paper, one row and one step at a time.

A step takes params, the state as a dict, and x [D]; it returns the new state, whose h is the output.
"""

import itertools

import numpy as np
from oracle import sigmoid


def lstm(p, s, x):
    i, f, g, o = np.split(x @ p.w_x + s["h"] @ p.w_h + p.b, 4)
    c = sigmoid(f) * s["c"] + sigmoid(i) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(c), "c": c}


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
    """Without a stabiliser: the exponentials as they are. `stabilised` compares the states."""
    heads, units, _ = p.w_h.shape
    blocks = np.zeros((heads * units, 4, heads * units))
    for head in range(heads):
        rows = slice(head * units, (head + 1) * units)
        blocks[rows, :, rows] = p.w_h[head].reshape(units, 4, units)
    i, f, g, o = np.split(x @ p.w_x + s["h"] @ blocks.reshape(heads * units, -1) + p.b, 4)
    c = sigmoid(f) * s["c"] + np.exp(i) * np.tanh(g)
    n = sigmoid(f) * s["n"] + np.exp(i)
    return {"h": sigmoid(o) * c / n, "c": c, "n": n}


def scan(step, params, xs, state, *, lengths=None, mask=None, reverse=False, resets=None):
    """xs [..., T, D] and a dict of [..., N] -> the final state, a dict, and ys [..., T, H]."""
    params = type(params)(*(np.asarray(leaf, np.float64) for leaf in params))
    xs = np.asarray(xs, np.float64)
    *batch_shape, steps, _ = xs.shape
    state = {name: np.array(leaf, np.float64) for name, leaf in state.items()}
    ys = np.zeros((*batch_shape, steps, state["h"].shape[-1]))
    for row in itertools.product(*map(range, batch_shape)):
        s = {name: leaf[row] for name, leaf in state.items()}
        for t in reversed(range(steps)) if reverse else range(steps):
            starts = t + 1 if reverse else t
            if resets is not None and starts < steps and resets[row][starts]:
                s = {name: np.zeros_like(leaf) for name, leaf in s.items()}
            if lengths is not None and t >= np.asarray(lengths)[row]:
                continue
            if mask is not None and not np.asarray(mask)[row][t]:
                continue
            s = step(params, s, xs[row][t])
            ys[row][t] = s["h"]
        for name, leaf in s.items():
            state[name][row] = leaf
    return state, ys
