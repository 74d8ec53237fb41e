"""The LSTM in JAX as one would write it at a first sitting: a scan that autodiff takes apart.

Every test of derivatives compares with it. It shares no code with jaxlstm; `test_references.py`
holds it to the oracle, its gradient included.
"""

import jax
import jax.numpy as jnp

from jaxlstm import LSTMState


def sigmoid(z):
    return 1 / (1 + jnp.exp(-z))


def lstm(params, xs, state, *, lengths=None, mask=None, reverse=False, activation=jnp.tanh, h_scale=None):
    """xs [B, T, D] -> the state, h and c [B, H], and ys [B, T, H]."""
    batch, steps, _ = xs.shape
    if lengths is not None:
        mask = jnp.arange(steps)[None, :] < jnp.asarray(lengths)[:, None]
    if mask is None:
        mask = jnp.ones((batch, steps), bool)

    def step(state, inputs):
        x, valid = inputs
        h = state.h if h_scale is None else state.h * h_scale
        z_i, z_f, z_g, z_o = jnp.split(x @ params.w_x + h @ params.w_h + params.b[None, :], 4, axis=-1)
        c = sigmoid(z_f) * state.c + sigmoid(z_i) * activation(z_g)
        h = sigmoid(z_o) * activation(c)
        state = LSTMState(jnp.where(valid[:, None], h, state.h), jnp.where(valid[:, None], c, state.c))
        return state, jnp.where(valid[:, None], h, 0)

    inputs = (jnp.swapaxes(xs, 0, 1), jnp.swapaxes(jnp.asarray(mask), 0, 1))
    state, ys = jax.lax.scan(step, state, inputs, reverse=reverse)
    return state, jnp.swapaxes(ys, 0, 1)
