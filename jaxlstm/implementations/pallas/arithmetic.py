"""A step of the recurrence on what a group of 128 threads holds in registers: [64 hidden units, N sequences]."""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

GROUP_UNITS = 64  # hidden units of a group: the rows of one instruction of the tensor cores


def advance(z: tuple[Array, ...], c_old: Array, exact: bool) -> tuple[Array, Array, tuple[Array, ...]]:
    """h and c of a step from z of the four gates, and what their tangents are multiplied by.

    These are the coefficients of `jaxlstm.recurrence`: dz_i, dz_f and dz_g into dc, dz_o into dh, dc_{t-1}
    into dc, dc into dh. Where nobody uses them the compiler drops them.
    """
    sigmoid, tanh = (_sigmoid, _tanh) if exact else (_quick_sigmoid, jnp.tanh)
    i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), tanh(z[2]), sigmoid(z[3])
    c = f * c_old + i * g
    phi_c = tanh(c)
    by = (g * i * (1 - i), c_old * f * (1 - f), i * (1 - g * g), phi_c * o * (1 - o), f, o * (1 - phi_c * phi_c))
    return o * phi_c, c, by


def step_back(
    by: tuple[Array, ...], d_h: Array, d_c: Array, valid: Array | None, dtype: Any
) -> tuple[tuple[Array, ...], Array]:
    """dz of the four gates in dtype, zero where the step is not valid, and dc before it, from dh and dc after it."""
    by_i, by_f, by_g, by_o, by_c, by_h = (each.astype(jnp.float32) for each in by)
    d_c += by_h * d_h
    d_z, d_c_old = (by_i * d_c, by_f * d_c, by_g * d_c, by_o * d_h), by_c * d_c
    return tuple(where(valid, each, jnp.zeros_like(each)).astype(dtype) for each in d_z), d_c_old


def scaled(h: Array, scale: Array | None) -> Array:
    """h [64, N] times its scale, in the dtype of h."""
    return h if scale is None else (h.astype(jnp.float32) * scale).astype(h.dtype)


def where(valid: Array | None, new: Array, old: Array) -> Array:
    """`new` where the step is valid."""
    return new if valid is None else jnp.where(valid, new, old)


def _quick_sigmoid(z: Array) -> Array:
    """By the GPU's own tanh, which is right to 2^-11: one instruction, enough for half precision."""
    return 0.5 * jnp.tanh(0.5 * z) + 0.5


def _sigmoid(z: Array) -> Array:
    """By its exponential and its reciprocal square root, both right to 2^-22."""
    root = lax.rsqrt(1 + jnp.exp(-z))
    return root * root


def _tanh(z: Array) -> Array:
    return 2 * _sigmoid(2 * z) - 1
