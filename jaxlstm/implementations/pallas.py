"""A persistent kernel: one launch walks over all steps, with W_h kept on chip (Pallas, Mosaic GPU).

At each step the scan reads W_h from memory anew and starts kernels of its own. Here a block of threads
takes N rows of the batch, copies W_h into its shared memory once, and walks over all steps by itself; no
block waits for another. Everything is laid out by features, [F, T, B], so that the tensor cores multiply

    z [4H, N] = W_h^T [4H, H] h [H, N]               forward, at each step
    dh [H, N] = W_h [H, 4H] dz [4H, N]               backward, at each step

in instructions of 64 rows, which are hidden units, by N columns, which are sequences: a batch of 16 fills
them. Each group of 128 threads has UNITS hidden units, all four gates of them, and keeps their cell state in
registers; the groups of a block exchange h, or dz, through shared memory, in two buffers by turns.

The input is projected outside, x W_x + b for all steps at once, and the weight gradients are products
over all steps outside too. The forward kernel saves the coefficients of `jaxlstm.recurrence`, so that the
backward kernel is the thin reverse loop: no activation is computed again.

The weights of one layer have to fit into the shared memory of one multiprocessor: H is at most 128. Half
precision alone: a float32 product on the tensor cores is rounded to TensorFloat-32.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxlstm.cell import LSTMParams, LSTMState
from jaxlstm.implementations.choice import Call, kernel_refusal
from jaxlstm.implementations.guard import guarded

NAME = "pallas"
UNITS = 64  # hidden units of a warpgroup: the rows of one instruction of the tensor cores
MOST_HIDDEN = 128  # 4 H^2 numbers of two bytes in the shared memory of one multiprocessor, 227 kB, and room for dz
MULTIPROCESSORS = 132  # of an H100 or H200: with more blocks than that a block takes more rows
DTYPES = (jnp.bfloat16, jnp.float16)


class How(NamedTuple):
    """How the kernels walk; hashable."""

    rows: int  # N, the sequences of a block
    reverse: bool
    interpreted: bool  # by JAX, on whatever machine


def refusal(call: Call) -> str | None:
    """Why the kernel cannot run the call; None where it can."""
    if call.platform not in ("cuda", "interpreter"):
        return f"needs an NVIDIA GPU, the platform is {call.platform}"
    if call.capability not in (None, "9.0"):
        return f"is written for compute capability 9.0 (H100, H200), this GPU has {call.capability}"
    if call.dtype not in DTYPES:
        return f"computes in bfloat16 or float16, xs is {call.dtype}"
    if call.hidden > MOST_HIDDEN:
        return f"keeps W_h in one multiprocessor, 227 kB: expected H of at most {MOST_HIDDEN}, got {call.hidden}"
    return kernel_refusal(call)


def run(
    call: Call, params: LSTMParams, xs: Array, state: LSTMState, lengths: Array | None, mask: Array | None
) -> tuple[LSTMState, Array]:
    """See `jaxlstm.implementations`."""
    params, xs, state = guarded(NAME, (params, xs, state))
    rows = 16 if call.batch <= 16 * MULTIPROCESSORS else 32
    how = How(rows, call.reverse, call.platform == "interpreter")
    more_rows, more_units = -call.batch % rows, -call.hidden % UNITS  # padding: all zero, and stays zero
    weights = LSTMParams(
        _padded(params.w_x.reshape(call.inputs, 4, call.hidden), (0, 0, more_units)),
        _padded(params.w_h.reshape(call.hidden, 4, call.hidden), (more_units, 0, more_units)),
        _padded(params.b.reshape(4, call.hidden), (0, more_units)),
    )
    by_features = LSTMState(*(_padded(leaf.T, (more_units, more_rows)) for leaf in state))
    valid = None if mask is None else _padded(mask.astype(jnp.float32), (0, more_rows))
    new, hs = _recurrence(how, weights, _padded(xs, (0, more_rows, 0)), by_features, valid)
    new, hs = jax.tree.map(lambda leaf: leaf[: call.hidden, ..., : call.batch], (new, hs))
    return guarded(NAME, (LSTMState(*(leaf.T for leaf in new)), jnp.moveaxis(hs, 0, -1)))


def _padded(array: Array, more: tuple[int, ...]) -> Array:
    """Zeros at the end of each axis."""
    return jnp.pad(array, [(0, size) for size in more]) if any(more) else array


# All around the kernels. w_x [D, 4, H], w_h [H, 4, H], b [4, H]; xs [T, B, D]; h and c [H, B]; valid [T, B] in
# float32, or None; hs [H, T, B], the coefficients [6, H, T, B] and dz [4, H, T, B].


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(how: How, params: LSTMParams, xs: Array, state: LSTMState, valid: Array | None):
    new, hs, _ = _forward(how, params, xs, state, valid, linearise=False)
    return new, hs


def _recurrence_fwd(how, params, xs, state, valid):
    new, hs, coefficients = _forward(how, params, xs, state, valid, linearise=True)
    return (new, hs), (params, xs, state.h, valid, hs, coefficients)


def _recurrence_bwd(how, saved, cotangents):
    params, xs, h, valid, hs, coefficients = saved
    d_state, d_hs = cotangents
    d_z, d_state = _backward(how, params.w_h, coefficients, d_state, d_hs, valid)
    earlier = jnp.concatenate([hs[:, 1:], h[:, None]] if how.reverse else [h[:, None], hs[:, :-1]], axis=1)

    def product(subscripts: str, *arrays: Array) -> Array:
        return jnp.einsum(subscripts, *arrays, preferred_element_type=jnp.float32).astype(xs.dtype)

    d_params = LSTMParams(
        product("tbd,gutb->dgu", xs, d_z),
        product("htb,gutb->hgu", earlier, d_z),
        jnp.sum(d_z, axis=(2, 3), dtype=jnp.float32).astype(xs.dtype),
    )
    return d_params, product("gutb,dgu->tbd", d_z, params.w_x), d_state, jax.tree.map(jnp.zeros_like, valid)


_recurrence.defvjp(_recurrence_fwd, _recurrence_bwd)


def _forward(how, params, xs, state, valid, *, linearise):
    steps, batch, _ = xs.shape
    hidden = params.w_h.shape[0]
    z_x = jnp.einsum("dgu,tbd->gutb", params.w_x, xs, preferred_element_type=jnp.float32)
    z_x += params.b.astype(jnp.float32)[:, :, None, None]
    out_types = [
        jax.ShapeDtypeStruct((hidden, steps, batch), xs.dtype),  # hs
        jax.ShapeDtypeStruct((hidden, batch), xs.dtype),  # h
        jax.ShapeDtypeStruct((hidden, batch), jnp.float32),  # c
    ]
    if linearise:
        out_types.append(jax.ShapeDtypeStruct((6, hidden, steps, batch), jnp.float32))
    w_h = jnp.transpose(params.w_h, (1, 2, 0))  # [4, H, H]: of each gate, the columns as rows
    inputs = [z_x, w_h, *state] + ([] if valid is None else [valid])
    body = partial(_forward_kernel, how, valid is not None, linearise)
    hs, h, c, *coefficients = _launch(how, body, out_types, hidden, batch, exchanged=(hidden,), inputs=inputs)
    return LSTMState(h, c), hs, coefficients[0] if linearise else None


def _forward_kernel(how, masked, linearise, here, w_h, h_shared, ready, z_x, h_0, c_0, *refs):
    valid = refs[0] if masked else None
    hs, h_last, c_last, *coefficients = refs[masked:]
    steps = hs.shape[1]
    units, rows = here

    def inputs(s):
        t = _step(how, s, steps)
        z = tuple(_read(how, z_x, (gate, units, t, rows)) for gate in range(4))
        return z, _read_valid(how, valid, t, rows)

    h = _read(how, h_0, here)
    h_shared[0, units] = h
    _meet(ready)

    def step(s, carry):
        h_old, c_old, (z, is_valid) = carry
        ahead = inputs(jnp.minimum(s + 1, steps - 1))  # on its way while the tensor cores compute
        buffer = lax.rem(s, 2)

        def multiply(*accumulators):
            for gate, accumulator in enumerate(accumulators):
                plgpu.wgmma(accumulator, w_h.at[gate], h_shared.at[buffer])
            return tuple(accumulator[...] for accumulator in accumulators)

        products = pl.run_scoped(multiply, *[plgpu.ACC((UNITS, how.rows), jnp.float32)] * 4)
        z_i, z_f, z_g, z_o = (a + b for a, b in zip(z, products, strict=True))
        i, f, g, o = _sigmoid(z_i), _sigmoid(z_f), jnp.tanh(z_g), _sigmoid(z_o)
        c = f * c_old + i * g
        phi_c = jnp.tanh(c)
        h = (o * phi_c).astype(hs.dtype)
        t = _step(how, s, steps)
        if linearise:
            by = (
                g * i * (1 - i),
                c_old * f * (1 - f),
                i * (1 - g * g),
                phi_c * o * (1 - o),
                f,
                o * (1 - phi_c * phi_c),
            )
            for number, coefficient in enumerate(by):
                coefficients[0][number, units, t, rows] = coefficient
        if is_valid is not None:
            h, c = jnp.where(is_valid, h, h_old), jnp.where(is_valid, c, c_old)
        hs[units, t, rows] = h
        h_shared[1 - buffer, units] = h
        _meet(ready)
        return h, c, ahead

    h, c, _ = lax.fori_loop(0, steps, step, (h, _read(how, c_0, here), inputs(0)))
    h_last[here] = h
    c_last[here] = c


def _backward(how, w_h, coefficients, d_state, d_hs, valid):
    _, hidden, steps, batch = coefficients.shape
    out_types = [
        jax.ShapeDtypeStruct((4, hidden, steps, batch), d_hs.dtype),  # dz
        jax.ShapeDtypeStruct((hidden, batch), d_hs.dtype),  # dh before the first step
        jax.ShapeDtypeStruct((hidden, batch), jnp.float32),  # dc
    ]
    w_h = jnp.transpose(w_h, (1, 0, 2))  # [4, H, H]: of each gate, the rows as they are
    inputs = [coefficients, w_h, *d_state, d_hs] + ([] if valid is None else [valid])
    body = partial(_backward_kernel, how, valid is not None)
    d_z, d_h, d_c = _launch(how, body, out_types, hidden, batch, exchanged=(4, hidden), inputs=inputs)
    return d_z, LSTMState(d_h, d_c)


def _backward_kernel(how, masked, here, w_h, d_z_shared, ready, coefficients, d_h_last, d_c_last, d_hs, *refs):
    valid = refs[0] if masked else None
    d_z_all, d_h_0, d_c_0 = refs[masked:]
    steps = d_hs.shape[1]
    units, rows = here

    def inputs(s):
        t = steps - 1 - _step(how, s, steps)
        by = tuple(_read(how, coefficients, (number, units, t, rows)) for number in range(6))
        return by, _read(how, d_hs, (units, t, rows)).astype(jnp.float32), _read_valid(how, valid, t, rows)

    def step(s, carry):
        d_h, d_c, ((by_i, by_f, by_g, by_o, by_c, by_h), d_y, is_valid) = carry
        ahead = inputs(jnp.minimum(s + 1, steps - 1))
        buffer = lax.rem(s, 2)
        d_h += d_y
        d_new = d_c + by_h * d_h
        t = steps - 1 - _step(how, s, steps)
        for gate, d_z in enumerate((by_i * d_new, by_f * d_new, by_g * d_new, by_o * d_h)):
            if is_valid is not None:
                d_z = jnp.where(is_valid, d_z, 0.0)
            d_z = d_z.astype(d_z_all.dtype)
            d_z_all[gate, units, t, rows] = d_z
            d_z_shared[buffer, gate, units] = d_z
        _meet(ready)

        def multiply(accumulator):
            for gate in range(4):
                plgpu.wgmma(accumulator, w_h.at[gate], d_z_shared.at[buffer, gate])
            return accumulator[...]

        product = pl.run_scoped(multiply, plgpu.ACC((UNITS, how.rows), jnp.float32))
        d_new *= by_c
        if is_valid is None:
            return product, d_new, ahead
        return jnp.where(is_valid, product, d_h), jnp.where(is_valid, d_new, d_c), ahead

    start = _read(how, d_h_last, here).astype(jnp.float32), _read(how, d_c_last, here), inputs(0)
    d_h, d_c, _ = lax.fori_loop(0, steps, step, start)
    d_h_0[here] = d_h.astype(d_h_0.dtype)
    d_c_0[here] = d_c


def _launch(how: How, body: Any, out_types: list, hidden: int, batch: int, exchanged: tuple, inputs: list) -> Any:
    """A block for each `how.rows` sequences, a warpgroup for each UNITS hidden units, W_h in shared memory.

    `inputs` are the one that is read at each step, w_h [4, H, H] and the rest; body(here, w_h, shared, ready,
    *refs) gets its slice of units and rows, its own rows of w_h, two buffers of the `exchanged` shape, and the
    barrier at which the groups meet.
    """
    groups = hidden // UNITS
    dtype = inputs[1].dtype
    # Both operands of a product on the tensor cores want the same pattern in shared memory.
    pattern = (plgpu.TilingTransform((8, how.rows)), plgpu.SwizzleTransform(how.rows * dtype.itemsize))

    def kernel(stream, w_h, *refs):
        group = lax.axis_index("group")
        units = pl.ds(group * UNITS, UNITS)
        rows = pl.ds(lax.axis_index("block") * how.rows, how.rows)

        def scope(w_shared, shared, loaded, ready):
            for gate in range(4):
                plgpu.copy_gmem_to_smem(w_h.at[gate, units], w_shared.at[group, gate], loaded.at[group])
            plgpu.barrier_wait(loaded.at[group])
            body((units, rows), w_shared.at[group], shared, ready, stream, *refs)

        pl.run_scoped(
            scope,
            plgpu.SMEM((groups, 4, UNITS, hidden), dtype, transforms=pattern),
            plgpu.SMEM((2, *exchanged, how.rows), dtype, transforms=pattern),
            plgpu.Barrier(num_arrivals=4, num_barriers=groups),
            plgpu.Barrier(num_arrivals=groups),
            collective_axes="group",
        )

    launch = plgpu.kernel(
        kernel,
        out_type=out_types,
        grid=(batch // how.rows,),
        grid_names=("block",),
        num_threads=groups,
        thread_name="group",
        compiler_params=plgpu.CompilerParams(approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        interpret=_interpreter() if how.interpreted else None,
    )
    return launch(*inputs)


def _meet(ready: Any) -> None:
    """What each group has written to shared memory is there for the tensor cores of all."""
    plgpu.commit_smem()
    plgpu.barrier_arrive(ready)
    plgpu.barrier_wait(ready)


def _step(how: How, s: Array, steps: int) -> Array:
    """The step that the forward walk takes as its number `s`."""
    return steps - 1 - s if how.reverse else s


def _read(how: How, ref: Any, index: tuple) -> Array:
    # Straight from memory to registers; the interpreter of jax 0.10 knows plain reads alone.
    return ref[index] if how.interpreted else plgpu.load(ref, index, optimized=False)


def _read_valid(how: How, valid: Any, t: Array, rows: Any) -> Array | None:
    """Booleans [UNITS, N] of a step, or None where every step is valid."""
    if valid is None:
        return None
    return lax.broadcast_in_dim(_read(how, valid, (t, rows)), (UNITS, how.rows), (1,)) > 0


def _sigmoid(z: Array) -> Array:
    return 0.5 * jnp.tanh(0.5 * z) + 0.5


def _interpreter() -> Any:
    if hasattr(plgpu, "InterpretGPUParams"):
        return plgpu.InterpretGPUParams()
    from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

    return InterpretGPUParams()
