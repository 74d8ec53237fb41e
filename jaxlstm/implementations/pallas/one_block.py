"""H of up to 128: W_h in the registers of a block of threads; no block waits for another.

    z [4H, N] = W_h^T [4H, H] h [H, N]               forward, at each step
    dh [H, N] = W_h [H, 4H] dz [4H, N]               backward, at each step

A block takes N rows of the batch. Each group of 128 threads has 64 hidden units, all four gates of them, and
keeps their weights and their cell state in registers; the groups of a block exchange h, or dz, through shared
memory, in two buffers by turns.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxlstm.implementations.pallas.arithmetic import GROUP_UNITS, advance, scaled, step_back, where
from jaxlstm.implementations.pallas.interface import Kernels, Options, interpreter
from jaxlstm.implementations.pallas.memory import Extras, load_weights, read, step_at, swizzled, write
from jaxlstm.implementations.pallas.products import accumulated

MOST_HIDDEN = 128  # two groups: 4 * 64 * H weights of two bytes are half of a group's registers
UNITS = GROUP_UNITS  # H is padded to a multiple of it


class Block(NamedTuple):
    """What a group of threads works with."""

    units: Any  # slices: its hidden units,
    rows: Any  # and the sequences of its block
    weights: list[Any]  # its rows of W_h, by gate
    shared: Any  # of the block: two buffers of h, or of dz, by turns
    ready: Any  # the barrier at which the groups of the block meet

    def meet(self) -> None:
        """What each group has written to shared memory is there for the tensor cores of all."""
        plgpu.commit_smem()
        plgpu.barrier_arrive(self.ready)
        plgpu.barrier_wait(self.ready)


def _forward(options: Options, out_types: list, w_h: Array, *inputs: Array) -> Any:
    return _launch(options, _forward_kernel, out_types, (w_h.shape[-1],), w_h, *inputs)


def _forward_kernel(options, block, inputs, outputs):
    z_x, h_0, c_0, *extras = inputs
    hs, h_last, c_last, *coefficients = outputs
    units, rows = block.units, block.rows
    steps = hs.shape[1]
    extra = Extras(options, extras, units, rows)
    scale = extra.scale()

    def read_step(s):
        t = step_at(options, s, steps)
        z = tuple(read(options, z_x, (gate, units, t, rows)) for gate in range(4))
        return z, extra.valid(t)

    h = read(options, h_0, (units, rows))
    block.shared[0, units] = scaled(h, scale)
    block.meet()

    def step(s, carry):
        h_old, c_old, (z, is_valid) = carry
        ahead = read_step(jnp.minimum(s + 1, steps - 1))  # on its way while the tensor cores compute
        buffer = lax.rem(s, 2)

        def multiply(*accumulators):
            for gate, accumulator in enumerate(accumulators):
                plgpu.wgmma(accumulator, block.weights[gate], block.shared.at[buffer])

        products = accumulated(options, 4, multiply)
        h, c, by = advance(tuple(a + b for a, b in zip(z, products, strict=True)), c_old)
        h, c = where(is_valid, h.astype(hs.dtype), h_old), where(is_valid, c, c_old)
        block.shared[1 - buffer, units] = scaled(h, scale)
        t = step_at(options, s, steps)
        write(options, hs, (units, t, rows), h)
        if coefficients:
            for number, coefficient in enumerate(by):
                write(options, coefficients[0], (number, units, t, rows), coefficient)
        block.meet()
        return h, c, ahead

    h, c, _ = lax.fori_loop(0, steps, step, (h, read(options, c_0, (units, rows)), read_step(0)))
    write(options, h_last, (units, rows), h)
    write(options, c_last, (units, rows), c)


def _backward(options: Options, out_types: list, w_h: Array, *inputs: Array) -> Any:
    return _launch(options, _backward_kernel, out_types, (4, w_h.shape[-1]), w_h, *inputs)


def _backward_kernel(options, block, inputs, outputs):
    coefficients, d_h_last, d_c_last, d_hs, *extras = inputs
    d_z_all, d_h_0, d_c_0 = outputs
    units, rows = block.units, block.rows
    steps = d_hs.shape[1]
    extra = Extras(options, extras, units, rows)
    scale = extra.scale()

    def read_step(s):
        t = steps - 1 - step_at(options, s, steps)
        by = tuple(read(options, coefficients, (number, units, t, rows)) for number in range(6))
        return by, read(options, d_hs, (units, t, rows)).astype(jnp.float32), extra.valid(t)

    def step(s, carry):
        d_h, d_c, (by, d_y, is_valid) = carry
        ahead = read_step(jnp.minimum(s + 1, steps - 1))
        buffer = lax.rem(s, 2)
        d_h += d_y
        d_gates, d_c_old = step_back(by, d_h, d_c)
        t = steps - 1 - step_at(options, s, steps)
        for gate, d_z in enumerate(d_gates):
            d_z = where(is_valid, d_z, jnp.zeros_like(d_z)).astype(d_z_all.dtype)
            write(options, d_z_all, (gate, units, t, rows), d_z)
            block.shared[buffer, gate, units] = d_z
        block.meet()

        def multiply(accumulator):
            for gate in range(4):
                plgpu.wgmma(accumulator, block.weights[gate], block.shared.at[buffer, gate])

        (product,) = accumulated(options, 1, multiply)
        return where(is_valid, scaled(product, scale), d_h), where(is_valid, d_c_old, d_c), ahead

    start = (
        read(options, d_h_last, (units, rows)).astype(jnp.float32),
        read(options, d_c_last, (units, rows)),
        read_step(0),
    )
    d_h, d_c, _ = lax.fori_loop(0, steps, step, start)
    write(options, d_h_0, (units, rows), d_h.astype(d_h_0.dtype))
    write(options, d_c_0, (units, rows), d_c)


def _launch(options: Options, body: Any, out_types: list, exchanged: tuple, w_h: Array, *inputs: Array) -> Any:
    """A block for each `options.rows` sequences, a group for each GROUP_UNITS hidden units.

    Each group runs body(options, block, inputs, outputs), whose block shares buffers of the `exchanged` shape.
    """
    _, hidden, _, batch = inputs[0].shape
    groups = hidden // GROUP_UNITS

    def kernel(w_h, *refs):
        units = pl.ds(lax.axis_index("group") * GROUP_UNITS, GROUP_UNITS)
        rows = pl.ds(lax.axis_index("block") * options.rows, options.rows)
        weights = [load_weights(options, w_h, (gate, units, slice(None))) for gate in range(4)]

        def scope(shared, ready):
            block = Block(units, rows, weights, shared, ready)
            body(options, block, refs[: len(inputs)], refs[len(inputs) :])

        pl.run_scoped(
            scope,
            plgpu.SMEM((2, *exchanged, options.rows), w_h.dtype, transforms=swizzled(options, w_h.dtype)),
            plgpu.Barrier(num_arrivals=groups),
            collective_axes="group",
        )

    launch = plgpu.kernel(
        kernel,
        out_type=out_types,
        grid=(batch // options.rows,),
        grid_names=("block",),
        num_threads=groups,
        thread_name="group",
        compiler_params=plgpu.CompilerParams(approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        interpret=interpreter(options),
    )
    return launch(w_h, *inputs)


KERNELS = Kernels(_forward, _backward)
