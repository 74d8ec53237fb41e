"""The recurrence over time and its derivative.

The input is projected, z_x[t] = x_t W_x, for a chunk of steps at once, so that the loop over the steps
of the chunk holds one thin product only, h_{t-1} W_h. The derivative is a rule of our own. With d
for a tangent, ' for a derivative and phi for the activation (tanh in the textbook), and without the scale of h, the
rule is linear in the tangents,

    dz[t] = dx_t W_x + x_t dW_x + h_{t-1} dW_h + db + dh_{t-1} W_h
    dc[t] = f dc_{t-1} + (g i') dz_i + (c_{t-1} f') dz_f + (i g') dz_g
    dh[t] = (o phi'(c)) dc + (phi(c) o') dz_o

with coefficients, in brackets, of the forward scan: saved by its steps, or computed once more for many steps at a
time from the states that it has saved (`Walk.linearised_after`). All terms of dz but the last are known
for every step before the loop begins, so the tangents of the weights enter as large products, one for
each chunk. JAX transposes the rule by itself: the backward pass becomes a thin reverse scan that emits
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

from jaxlstm.cell import Activation, Gates, LSTMParams, LSTMState, advance, cell_dtype, gates, product
from jaxlstm.layout import select_rows
from jaxlstm.products import over_steps, product_of_columns, scaled
from jaxlstm.segments import in_segments


class Walk(NamedTuple):
    """How the steps are taken; hashable."""

    activation: Activation  # phi, applied to the candidate and to the cell state
    reverse: bool  # from the last step to the first
    unroll: int  # steps in one iteration of the loop
    chunk: int  # steps whose inputs are projected at once
    linearised_after: bool  # the loop saves h and c alone; the coefficients of a chunk are computed after it


class Coefficients(NamedTuple):
    """What the tangents of one step are multiplied by."""

    z: Array  # [B, 4H]: dz into dc (blocks i, f, g) and into dh (block o)
    c: Array  # [B, H]: dc_{t-1} into dc
    h: Array  # [B, H]: dc into dh


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def recurrence(
    walk: Walk, params: LSTMParams, xs: Array, state: LSTMState, mask: Array | None, h_scale: Array | None
) -> tuple[LSTMState, Array]:
    """Runs the cell over time.

    Args:
      walk: how.
      params: the layer's weights.
      xs: [T, B, D].
      state: h and c [B, H] before the first step walked.
      mask: [T, B] or None; where False the state is carried through unchanged.
      h_scale: [B, H] or None; h_{t-1} is multiplied by it before the recurrent product, at every step.

    Returns:
      The state after the last step walked, and h [T, B, H] after each step.
    """
    state, (hs, _) = _forward(walk, params, xs, state, mask, h_scale, linearise=False)
    return state, hs


def _forward(walk, params, xs, state, mask, h_scale, *, linearise):
    def advanced(state: LSTMState, z_x: Array, linearise: bool) -> tuple[LSTMState, Coefficients | None]:
        z = z_x + product(scaled(state.h, h_scale), params.w_h)
        # Added here the bias joins a pass over the gates; outside of the loop it would be a pass of its own.
        z += jnp.broadcast_to(params.b.astype(z.dtype), z.shape)
        gate = gates(z, walk.activation)
        new = advance(gate, state, walk.activation)
        return new, _coefficients(gate, z, state, new, walk.activation) if linearise else None

    def step(state: LSTMState, inputs):
        z_x, valid = inputs
        new, coefficients = advanced(state, z_x, linearise and not walk.linearised_after)
        if valid is not None:
            new = select_rows(valid, new, state)
        return new, (new.h, new.c if linearise and walk.linearised_after else coefficients)

    def chunk(state: LSTMState, inputs):
        xs, mask = inputs
        z_x = over_steps(product, xs, params.w_x)
        last, (hs, saved) = jax.lax.scan(step, state, (z_x, mask), reverse=walk.reverse, unroll=walk.unroll)
        if linearise and walk.linearised_after:
            old = LSTMState(_before(state.h, hs, walk.reverse)[0], _before(state.c, saved, walk.reverse)[0])
            _, saved = advanced(old, z_x, linearise=True)
        return last, (hs, saved)

    return in_segments(chunk, state, (xs, mask), walk.chunk, walk.reverse)


def _before(first: Array, after: Array, reverse: bool) -> tuple[Array, Array]:
    """What each step started from, [K, ...], and what the last one walked left; `after` is what each of them left."""
    whole = jnp.concatenate([after, first[None]] if reverse else [first[None], after])
    return (whole[1:], whole[0]) if reverse else (whole[:-1], whole[-1])


def _coefficients(gate: Gates, z: Array, old: LSTMState, new: LSTMState, activation: Activation) -> Coefficients:
    i, f, g, o = gate
    if activation is jnp.tanh:
        d_g = 1 - g * g  # from the value at hand; its own derivative would compute tanh once more
    else:
        z_g = jnp.split(z, 4, axis=-1)[2]
        _, d_g = jax.jvp(activation, (z_g,), (jnp.ones_like(z_g),))
    phi_c, d_phi_c = jax.jvp(activation, (new.c,), (jnp.ones_like(new.c),))
    dz = [g * i * (1 - i), old.c * f * (1 - f), i * d_g, phi_c * o * (1 - o)]
    return Coefficients(jnp.concatenate(dz, axis=-1), f, o * d_phi_c)


@partial(recurrence.defjvp, symbolic_zeros=True)
def _recurrence_jvp(walk, primals, tangents):
    params, xs, state, mask, h_scale = primals
    d_params, d_xs, d_state, _, d_h_scale = tangents

    new_state, (hs, coefficients) = _forward(walk, *primals, linearise=True)
    w_h_columns = params.w_h.T  # so that the thin product of the backward loop meets rows of memory

    # What of dz is known before the loop begins. Recomputed rather than saved between the passes.
    @partial(jax.checkpoint, prevent_cse=False)
    def known(xs: Array, h_prev: Array, d_xs: Array | None) -> Array:
        d_z = jnp.zeros((*xs.shape[:2], params.b.size), cell_dtype(xs.dtype))
        if d_xs is not None:
            d_z += over_steps(product, d_xs, params.w_x)
        if not isinstance(d_params.w_x, SymbolicZero):
            d_z += over_steps(product_of_columns, xs, d_params.w_x)
        if not isinstance(d_params.w_h, SymbolicZero):
            d_z += over_steps(product_of_columns, scaled(h_prev, h_scale), d_params.w_h)
        if not isinstance(d_params.b, SymbolicZero):
            d_z += jnp.broadcast_to(d_params.b.astype(d_z.dtype), d_z.shape)
        if h_scale is not None and not isinstance(d_h_scale, SymbolicZero):
            d_z += over_steps(product, h_prev * d_h_scale[None], params.w_h)
        return d_z

    # Checkpointed so that its transpose saves the step's inputs alone; else JAX adds a loop, to save the mask as wide
    # as h.
    @partial(jax.checkpoint, prevent_cse=False)
    def step(d_state: LSTMState, inputs):
        d_z, valid, by = inputs
        # Rounded to the dtype of h here, so that a bfloat16 gradient meets bfloat16 weights.
        d_h = scaled(d_state.h, h_scale)
        d_z += jax.lax.dot_general(d_h, w_h_columns, (((1,), (1,)), ((), ()))).astype(d_z.dtype)
        by_i, by_f, by_g, by_o = jnp.split(by.z * d_z, 4, axis=-1)
        d_c = by.c * d_state.c + by_i + by_f + by_g
        d_h = by_o + by.h * d_c
        new = LSTMState(d_h.astype(d_state.h.dtype), d_c)
        if valid is not None:
            new = select_rows(valid, new, d_state)
        return new, new.h

    def chunk(carry, inputs):
        d_state, h = carry
        d_xs, xs, hs, mask, coefficients = inputs
        h_prev, h_last = _before(h, hs, walk.reverse)
        d_z = known(xs, h_prev, d_xs)
        d_state, d_hs = jax.lax.scan(step, d_state, (d_z, mask, coefficients), reverse=walk.reverse, unroll=walk.unroll)
        return (d_state, h_last), d_hs

    d_state = jax.tree.map(_instantiate, d_state, state, is_leaf=lambda leaf: isinstance(leaf, SymbolicZero))
    d_xs = None if isinstance(d_xs, SymbolicZero) else d_xs
    sequences = (d_xs, xs, hs, mask, coefficients)
    (d_new_state, _), d_hs = in_segments(chunk, (d_state, state.h), sequences, walk.chunk, walk.reverse)
    return (new_state, hs), (d_new_state, d_hs)


def _instantiate(tangent: Array | SymbolicZero, primal: Array) -> Array:
    return jnp.zeros_like(primal) if isinstance(tangent, SymbolicZero) else tangent
