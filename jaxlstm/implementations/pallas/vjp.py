"""What lies around the kernels, as large products over all steps: the input's projection and the weight gradients.

The forward kernel saves the coefficients of `jaxlstm.recurrence`, so that the backward kernel is the thin
reverse loop: no activation is computed again.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlstm.cell import LSTMParams, LSTMState
from jaxlstm.implementations.pallas.arithmetic import GROUP_UNITS
from jaxlstm.implementations.pallas.interface import KEPT, Kernels, Options

# w_x [D, 4, H], w_h [H, 4, H], b [4, H]; xs [T, B, D]; h and c [H, B]; valid [T, B] in float32 and scale [H, B], or
# None. The kernels' own arrays are as `interface.Kernels` says, a block of N sequences after another: hs
# [T, B/N, H, N], and dz [T, B/N, 4, H, N].


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def recurrence(
    kernels: Kernels,
    options: Options,
    params: LSTMParams,
    xs: Array,
    state: LSTMState,
    valid: Array | None,
    scale: Array | None,
) -> tuple[LSTMState, Array]:
    """The state after the walk, and hs."""
    new, hs, _ = _forward(kernels, options, params, xs, state, valid, scale, linearise=False)
    return new, hs


def _recurrence_fwd(kernels, options, params, xs, state, valid, scale):
    new, hs, coefficients = _forward(kernels, options, params, xs, state, valid, scale, linearise=True)
    return (new, hs), (params, xs, state.h, valid, scale, hs, coefficients)


def _recurrence_bwd(kernels, options, saved, cotangents):
    params, xs, h, valid, scale, hs, coefficients = saved
    d_state, d_hs = cotangents
    steps, blocks, hidden, rows = hs.shape
    batch = blocks * rows
    out_types = [
        jax.ShapeDtypeStruct((steps, blocks, 4, hidden, rows), xs.dtype),  # dz
        jax.ShapeDtypeStruct((hidden, batch), xs.dtype),  # dh before the first step
        jax.ShapeDtypeStruct((hidden, batch), jnp.float32),  # dc
    ]
    w_h = _in_parts(jnp.transpose(params.w_h, (1, 0, 2)))  # of each gate, the rows as they are
    d_z, d_h, d_c = kernels.backward(options, out_types, w_h, coefficients, *d_state, d_hs, *_if_any(valid, scale))
    hs = jnp.moveaxis(hs, 2, 0).reshape(hidden, steps, batch)
    d_z = jnp.transpose(d_z, (2, 3, 0, 1, 4)).reshape(4, hidden, steps, batch)
    earlier = jnp.concatenate([hs[:, 1:], h[:, None]] if options.reverse else [h[:, None], hs[:, :-1]], axis=1)

    def product(subscripts: str, *arrays: Array) -> Array:
        return jnp.einsum(subscripts, *arrays, preferred_element_type=jnp.float32).astype(xs.dtype)

    read = earlier if scale is None else earlier * scale[:, None]
    d_params = LSTMParams(
        product("tbd,gutb->dgu", xs, d_z),
        product("htb,gutb->hgu", read, d_z),
        jnp.sum(d_z, axis=(2, 3), dtype=jnp.float32).astype(xs.dtype),
    )
    d_valid, d_scale = jax.tree.map(jnp.zeros_like, valid), None
    if scale is not None:  # where nobody asks for it XLA drops it
        d_read = jnp.einsum("hgu,gutb->htb", params.w_h, d_z, preferred_element_type=jnp.float32)
        d_scale = jnp.sum(d_read * earlier, axis=1).astype(scale.dtype)
    return d_params, product("gutb,dgu->tbd", d_z, params.w_x), LSTMState(d_h, d_c), d_valid, d_scale


recurrence.defvjp(_recurrence_fwd, _recurrence_bwd)


def _forward(kernels, options, params, xs, state, valid, scale, *, linearise):
    steps, batch, _ = xs.shape
    hidden, blocks = params.w_h.shape[-1], batch // options.rows
    z_x = jnp.einsum("dgu,tbd->gutb", params.w_x, xs, preferred_element_type=jnp.float32)
    z_x += params.b.astype(jnp.float32)[:, :, None, None]
    z_x = z_x.reshape(4, hidden // GROUP_UNITS, GROUP_UNITS, steps, blocks, options.rows)
    z_x = jnp.transpose(z_x, (3, 4, 1, 0, 2, 5))
    out_types = [
        jax.ShapeDtypeStruct((steps, blocks, hidden, options.rows), xs.dtype),  # hs
        jax.ShapeDtypeStruct((hidden, batch), xs.dtype),  # h
        jax.ShapeDtypeStruct((hidden, batch), jnp.float32),  # c
    ]
    if linearise:
        tile = (GROUP_UNITS, options.rows)
        out_types.append(jax.ShapeDtypeStruct((steps, blocks, hidden // GROUP_UNITS, 6, *tile), KEPT))
    # Of each gate, the columns as rows. float16 has the 11 bits of TensorFloat-32, and W_h and h need no more range.
    w_h = jnp.transpose(params.w_h, (1, 2, 0))[None]
    w_h = w_h.astype(jnp.float16) if w_h.dtype == jnp.float32 else w_h
    hs, h, c, *coefficients = kernels.forward(options, out_types, w_h, z_x, *state, *_if_any(valid, scale))
    return LSTMState(h, c), hs, coefficients[0] if linearise else None


def _in_parts(w_h: Array) -> Array:
    """[P, 4, H, H]: as it is in half precision, else the sum of two parts in bfloat16, whose range gradients need."""
    if w_h.dtype != jnp.float32:
        return w_h[None]
    first = lax.reduce_precision(w_h, exponent_bits=8, mantissa_bits=7)  # XLA may drop a cast there and back
    return jnp.stack([first, w_h - first]).astype(jnp.bfloat16)


def _if_any(*extras: Array | None) -> list[Array]:
    return [extra for extra in extras if extra is not None]
