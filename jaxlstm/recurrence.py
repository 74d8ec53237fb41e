"""The recurrence over time and its derivative.

The input enters projected, z_x[t] = x_t W_x for all steps at once, so that the loop holds one thin
product only, h_{t-1} W_h. Its derivative is a rule of our own. With the dot for a tangent, ' for a
derivative and phi for the activation (tanh in the textbook), the rule is linear in the tangents,

    dz[t] = dz_x[t] + h_{t-1} dW_h + db + dh_{t-1} W_h
    dc[t] = f dc_{t-1} + (g i') dz_i + (c_{t-1} f') dz_f + (i g') dz_g
    dh[t] = (o phi'(c)) dc + (phi(c) o') dz_o

with coefficients, in brackets, that the forward scan has saved. The first three terms of dz are
known for every step before the loop begins, so the tangent of the weights enters as one large
product. JAX transposes the rule by itself: the backward pass becomes a thin reverse scan that emits
the gradient of z, followed by one product for each weight gradient. A naive scan carries a [H, 4H]
gradient through every step instead.

The rule is a `custom_jvp`, not a `custom_vjp`: forward mode, Hessians and `vmap` work through it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from jaxlstm.cell import Activation, LSTMState, advance, gates, product


class Coefficients(NamedTuple):
    """What the tangents of one step are multiplied by."""

    z: Array  # [B, 4H]: dz into dc (blocks i, f, g) and into dh (block o)
    c: Array  # [B, H]: dc_{t-1} into dc
    h: Array  # [B, H]: dc into dh


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def recurrence(
    activation: Activation,
    reverse: bool,
    unroll: int,
    z_x: Array,
    w_h: Array,
    b: Array,
    state: LSTMState,
    mask: Array | None,
    h_scale: Array | None,
) -> tuple[LSTMState, Array]:
    """Runs the cell over time from its projected inputs.

    Args:
      activation: phi, applied to the candidate and to the cell state.
      reverse: walks from the last step to the first.
      unroll: steps in one turn of the loop.
      z_x: [T, B, 4H], the projected inputs in the dtype of the cell state, without the bias: added
        here it joins a pass over the gates, added outside it would be a pass of its own.
      w_h: [H, 4H].
      b: [4H].
      state: h and c [B, H] before the first step walked.
      mask: [T, B] or None; where False the state is carried through unchanged.
      h_scale: [B, H] or None; h_{t-1} is multiplied by it before the recurrent product, at every step.

    Returns:
      The state after the last step walked, and h [T, B, H] after each step.
    """
    state, (hs, _) = _forward(activation, reverse, unroll, z_x, w_h, b, state, mask, h_scale, linearise=False)
    return state, hs


def _forward(activation, reverse, unroll, z_x, w_h, b, state, mask, h_scale, *, linearise):
    def step(state: LSTMState, inputs):
        z_x, valid = inputs
        z = z_x + product(_scaled(state.h, h_scale), w_h)
        z += jnp.broadcast_to(b, z.shape)
        new = advance(gates(z, activation), state, activation)
        coefficients = _coefficients(z, state, new, activation) if linearise else None
        if valid is not None:
            new = jax.tree.map(partial(jnp.where, valid[:, None]), new, state)
        return new, (new.h, coefficients)

    return jax.lax.scan(step, state, (z_x, mask), reverse=reverse, unroll=unroll)


def _coefficients(z: Array, old: LSTMState, new: LSTMState, activation: Activation) -> Coefficients:
    i, f, g, o = gates(z, activation)
    z_g = jnp.split(z, 4, axis=-1)[2]
    _, d_g = jax.jvp(activation, (z_g,), (jnp.ones_like(z_g),))
    phi_c, d_phi_c = jax.jvp(activation, (new.c,), (jnp.ones_like(new.c),))
    dz = [g * i * (1 - i), old.c * f * (1 - f), i * d_g, phi_c * o * (1 - o)]
    return Coefficients(jnp.concatenate(dz, axis=-1), f, o * d_phi_c)


@partial(recurrence.defjvp, symbolic_zeros=True)
def _recurrence_jvp(activation, reverse, unroll, primals, tangents):
    z_x, w_h, _, state, mask, h_scale = primals
    d_z_x, d_w_h, d_b, d_state, _, d_h_scale = tangents
    steps, batch, _ = z_x.shape

    new_state, (hs, coefficients) = _forward(activation, reverse, unroll, *primals, linearise=True)
    h_prev = jnp.concatenate([hs, state.h[None]])[1:] if reverse else jnp.concatenate([state.h[None], hs])[:-1]

    # What of dz is known before the loop begins. The products run over [T * B, H]: with the steps
    # left as an axis of their own, XLA would copy a transposed dz for the gradient of the weights.
    def over_all_steps(h: Array, w: Array) -> Array:
        return product(h.reshape(steps * batch, h.shape[-1]), w).reshape(z_x.shape)

    d_z = _instantiate(d_z_x, z_x)
    if not isinstance(d_w_h, SymbolicZero):
        d_z += over_all_steps(_scaled(h_prev, h_scale), d_w_h)
    if not isinstance(d_b, SymbolicZero):
        d_z += jnp.broadcast_to(d_b, d_z.shape)
    if h_scale is not None and not isinstance(d_h_scale, SymbolicZero):
        d_z += over_all_steps(h_prev * d_h_scale[None], w_h)

    def step(d_state: LSTMState, inputs):
        d_z, valid, by = inputs
        # Rounded to the dtype of h here, so that a bfloat16 gradient meets bfloat16 weights.
        d_z += (_scaled(d_state.h, h_scale) @ w_h).astype(d_z.dtype)
        by_i, by_f, by_g, by_o = jnp.split(by.z * d_z, 4, axis=-1)
        d_c = by.c * d_state.c + by_i + by_f + by_g
        d_h = by_o + by.h * d_c
        new = LSTMState(d_h.astype(d_state.h.dtype), d_c)
        if valid is not None:
            new = jax.tree.map(partial(jnp.where, valid[:, None]), new, d_state)
        return new, new.h

    d_state = jax.tree.map(_instantiate, d_state, state, is_leaf=lambda leaf: isinstance(leaf, SymbolicZero))
    d_new_state, d_hs = jax.lax.scan(step, d_state, (d_z, mask, coefficients), reverse=reverse, unroll=unroll)
    return (new_state, hs), (d_new_state, d_hs)


def _scaled(h: Array, h_scale: Array | None) -> Array:
    return h if h_scale is None else h * jnp.broadcast_to(h_scale, h.shape)


def _instantiate(tangent: Array | SymbolicZero, primal: Array) -> Array:
    return jnp.zeros_like(primal) if isinstance(tangent, SymbolicZero) else tangent
