"""H of up to 128: W_h in the registers of a block of threads; no block waits for another.

    z [4H, N] = W_h^T [4H, H] h [H, N]               forward, at each step
    dh [H, N] = W_h [H, 4H] dz [4H, N]               backward, at each step

A block takes N rows of the batch. Each group of 128 threads has 64 hidden units, all four gates of them, and
keeps their weights and their cell state in registers; the groups of a block exchange h, or dz, through shared
memory, in two buffers by turns.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxlstm.implementations.pallas.arithmetic import (
    GROUP_UNITS,
    How,
    Kernels,
    advance,
    interpreter,
    keep,
    read,
    read_valid,
    retreat,
    step_at,
    swizzled,
    where,
)

MOST_HIDDEN = 128  # two groups: 4 * 64 * H weights of two bytes are half of a group's registers
UNITS = GROUP_UNITS  # H is padded to a multiple of it


def _forward(how, out_types, w_h, z_x, *rest):
    _, _, *valid = rest
    body = partial(_forward_kernel, how, bool(valid), len(out_types) > 3)
    return _launch(how, body, out_types, (w_h.shape[-1],), w_h, z_x, *rest)


def _forward_kernel(how, masked, linearise, here, w_h, h_shared, ready, z_x, h_0, c_0, *refs):
    valid = refs[0] if masked else None
    hs, h_last, c_last, *coefficients = refs[masked:]
    steps = hs.shape[1]
    units, rows = here

    def inputs(s):
        t = step_at(how, s, steps)
        z = tuple(read(how, z_x, (gate, units, t, rows)) for gate in range(4))
        return z, read_valid(how, valid, t, rows)

    h = read(how, h_0, here)
    h_shared[0, units] = h
    _meet(ready)

    def step(s, carry):
        h_old, c_old, (z, is_valid) = carry
        ahead = inputs(jnp.minimum(s + 1, steps - 1))  # on its way while the tensor cores compute
        buffer = lax.rem(s, 2)

        def multiply(*accumulators):
            for gate, accumulator in enumerate(accumulators):
                plgpu.wgmma(accumulator, w_h[gate], h_shared.at[buffer])
            return tuple(accumulator[...] for accumulator in accumulators)

        products = pl.run_scoped(multiply, *[plgpu.ACC((GROUP_UNITS, how.rows), jnp.float32)] * 4)
        h, c, by = advance(tuple(a + b for a, b in zip(z, products, strict=True)), c_old)
        h = h.astype(hs.dtype)
        t = step_at(how, s, steps)
        if linearise:
            for number, coefficient in enumerate(by):
                coefficients[0][number, units, t, rows] = coefficient
        h, c = where(is_valid, h, h_old), where(is_valid, c, c_old)
        hs[units, t, rows] = h
        h_shared[1 - buffer, units] = h
        _meet(ready)
        return h, c, ahead

    h, c, _ = lax.fori_loop(0, steps, step, (h, read(how, c_0, here), inputs(0)))
    h_last[here] = h
    c_last[here] = c


def _backward(how, out_types, w_h, coefficients, *rest):
    _, _, _, *valid = rest
    body = partial(_backward_kernel, how, bool(valid))
    return _launch(how, body, out_types, (4, w_h.shape[-1]), w_h, coefficients, *rest)


def _backward_kernel(how, masked, here, w_h, d_z_shared, ready, coefficients, d_h_last, d_c_last, d_hs, *refs):
    valid = refs[0] if masked else None
    d_z_all, d_h_0, d_c_0 = refs[masked:]
    steps = d_hs.shape[1]
    units, rows = here

    def inputs(s):
        t = steps - 1 - step_at(how, s, steps)
        by = tuple(read(how, coefficients, (number, units, t, rows)) for number in range(6))
        return by, read(how, d_hs, (units, t, rows)).astype(jnp.float32), read_valid(how, valid, t, rows)

    def step(s, carry):
        d_h, d_c, (by, d_y, is_valid) = carry
        ahead = inputs(jnp.minimum(s + 1, steps - 1))
        buffer = lax.rem(s, 2)
        d_h += d_y
        d_gates, d_c_old = retreat(by, d_h, d_c)
        t = steps - 1 - step_at(how, s, steps)
        for gate, d_z in enumerate(d_gates):
            d_z = where(is_valid, d_z, jnp.zeros_like(d_z)).astype(d_z_all.dtype)
            d_z_all[gate, units, t, rows] = d_z
            d_z_shared[buffer, gate, units] = d_z
        _meet(ready)

        def multiply(accumulator):
            for gate in range(4):
                plgpu.wgmma(accumulator, w_h[gate], d_z_shared.at[buffer, gate])
            return accumulator[...]

        product = pl.run_scoped(multiply, plgpu.ACC((GROUP_UNITS, how.rows), jnp.float32))
        return where(is_valid, product, d_h), where(is_valid, d_c_old, d_c), ahead

    start = read(how, d_h_last, here).astype(jnp.float32), read(how, d_c_last, here), inputs(0)
    d_h, d_c, _ = lax.fori_loop(0, steps, step, start)
    d_h_0[here] = d_h.astype(d_h_0.dtype)
    d_c_0[here] = d_c


def _launch(how: How, body: Any, out_types: list, exchanged: tuple, w_h: Array, *inputs: Array) -> Any:
    """A block for each `how.rows` sequences, a group for each GROUP_UNITS hidden units.

    body(here, w_h, shared, ready, *refs) gets its slice of units and rows, its own rows of w_h by gate, two buffers
    of the `exchanged` shape, the barrier at which the groups meet, and the inputs and outputs.
    """
    _, hidden, _, batch = inputs[0].shape
    groups = hidden // GROUP_UNITS

    def kernel(w_h, *refs):
        units = pl.ds(lax.axis_index("group") * GROUP_UNITS, GROUP_UNITS)
        rows = pl.ds(lax.axis_index("block") * how.rows, how.rows)
        weights = [keep(how, w_h, (gate, units, slice(None))) for gate in range(4)]

        def scope(shared, ready):
            body((units, rows), weights, shared, ready, *refs)

        pl.run_scoped(
            scope,
            plgpu.SMEM((2, *exchanged, how.rows), w_h.dtype, transforms=swizzled(how, w_h.dtype)),
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
        interpret=interpreter(how),
    )
    return launch(w_h, *inputs)


def _meet(ready: Any) -> None:
    """What each group has written to shared memory is there for the tensor cores of all."""
    plgpu.commit_smem()
    plgpu.barrier_arrive(ready)
    plgpu.barrier_wait(ready)


KERNELS = Kernels(_forward, _backward)
