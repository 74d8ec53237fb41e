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
from jaxlstm.implementations.pallas.interface import KEPT, Kernels, Options, interpreter
from jaxlstm.implementations.pallas.memory import (
    FETCHED,
    Extras,
    fetch,
    keep,
    kept,
    load_weights,
    publish,
    read,
    share,
    step_at,
    step_before,
    swizzled,
    write,
)
from jaxlstm.implementations.pallas.products import TERMS, accumulated, parts_of

UNITS = GROUP_UNITS  # H is padded to a multiple of it


class Block(NamedTuple):
    """What a group of threads works with."""

    parts: int  # of which each factor of a product is a sum; forward of one
    number: Array  # of the block
    tile: Array  # of the group: which GROUP_UNITS hidden units it has
    units: Any  # slices: these units,
    rows: Any  # and the sequences of its block
    weights: list[list[Any]]  # its rows of W_h, by part and gate
    shared: Any  # of the block: two buffers of h, or of dz, by turns, each by part
    ready: Any  # the barrier at which the groups of the block meet

    def tell(self, options: Options) -> None:
        """What this group has written to shared memory is there for the tensor cores of all groups."""
        publish(options)
        plgpu.barrier_arrive(self.ready)

    def wait(self) -> None:
        """Until all groups have told."""
        plgpu.barrier_wait(self.ready)


def _forward(options: Options, out_types: list, w_h: Array, *inputs: Array) -> Any:
    return _launch(options, _forward_kernel, out_types, (w_h.shape[-1],), w_h, *inputs)


def _forward_kernel(options, block, inputs, outputs):
    z_x, h_0, c_0, *extras = inputs
    hs, h_last, c_last, *coefficients = outputs
    tile, units, rows = block.tile, block.units, block.rows
    steps = hs.shape[0]
    extra = Extras(options, extras, units, rows)
    scale = extra.scale()

    def read_step(s):
        later = step_at(options, jnp.minimum(s + FETCHED, steps - 1), steps)
        fetch(options, z_x.at[later, block.number, tile])
        t = step_at(options, jnp.minimum(s, steps - 1), steps)
        z = tuple(read(options, z_x, (t, block.number, tile, gate)) for gate in range(4))
        return z, extra.valid(t)

    def share_h(h, buffer):
        share(options, block.shared.at[buffer, 0, units], scaled(h, scale).astype(block.shared.dtype))

    h = read(options, h_0, (units, rows))
    share_h(h, 0)
    block.tell(options)

    def step(s, carry):
        h_old, c_old, (z, is_valid) = carry
        ahead = read_step(s + 1)  # on its way while the tensor cores compute
        buffer = lax.rem(s, 2)

        def multiply(*accumulators):
            for gate, accumulator in enumerate(accumulators):
                plgpu.wgmma(accumulator, block.weights[0][gate], block.shared.at[buffer, 0])

        block.wait()
        products = accumulated(options, 4, multiply)
        h, c, by = advance(tuple(a + b for a, b in zip(z, products, strict=True)), c_old, hs.dtype == jnp.float32)
        h, c = where(is_valid, h.astype(hs.dtype), h_old), where(is_valid, c, c_old)
        share_h(h, 1 - buffer)
        block.tell(options)  # first: the fence in it waits for what has been written before, to memory as well
        t = step_at(options, s, steps)
        write(options, hs, (t, block.number, units), h)
        if coefficients:
            keep(options, coefficients[0].at[t, block.number, tile], [each.astype(KEPT) for each in by])
        return h, c, ahead

    h, c, _ = lax.fori_loop(0, steps, step, (h, read(options, c_0, (units, rows)), read_step(0)))
    block.wait()
    write(options, h_last, (units, rows), h)
    write(options, c_last, (units, rows), c)


def _backward(options: Options, out_types: list, w_h: Array, *inputs: Array) -> Any:
    return _launch(options, _backward_kernel, out_types, (4, w_h.shape[-1]), w_h, *inputs)


def _backward_kernel(options, block, inputs, outputs):
    coefficients, d_h_last, d_c_last, d_hs, *extras = inputs
    d_z_all, d_h_0, d_c_0 = outputs
    tile, units, rows = block.tile, block.units, block.rows
    steps, dtype = d_hs.shape[0], d_z_all.dtype
    extra = Extras(options, extras, units, rows)
    scale = extra.scale()

    def read_step(s):
        later = step_before(options, jnp.minimum(s + FETCHED, steps - 1), steps)
        fetch(options, coefficients.at[later, block.number, tile])
        fetch(options, d_hs.at[later, block.number, units])
        t = step_before(options, jnp.minimum(s, steps - 1), steps)
        by = kept(options, coefficients.at[t, block.number, tile])
        return by, read(options, d_hs, (t, block.number, units)), extra.valid(t)

    def step(s, carry):
        d_h, d_c, (by, d_y, is_valid) = carry
        ahead = read_step(s + 1)
        buffer = lax.rem(s, 2)
        d_h += d_y.astype(jnp.float32)
        d_gates, d_c_old = step_back(by, d_h, d_c, is_valid, dtype)
        for gate, d_z in enumerate(d_gates):
            for number, part in enumerate(parts_of(d_z, block.parts, block.shared.dtype)):
                share(options, block.shared.at[buffer, number, gate, units], part)
        block.tell(options)
        t = step_before(options, s, steps)
        for gate, d_z in enumerate(d_gates):
            write(options, d_z_all, (t, block.number, gate, units), d_z)

        def multiply(accumulator):
            for gate in range(4):
                for of_weights, part in TERMS[block.parts]:
                    there = block.shared.at[buffer, part, gate]
                    plgpu.wgmma(accumulator, block.weights[of_weights][gate], there)

        block.wait()
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
    parts, hidden, blocks = w_h.shape[0], w_h.shape[-1], inputs[0].shape[1]
    groups = hidden // GROUP_UNITS

    def kernel(w_h, *refs):
        group, number = lax.axis_index("group"), lax.axis_index("block")
        units = pl.ds(group * GROUP_UNITS, GROUP_UNITS)
        rows = pl.ds(number * options.rows, options.rows)
        rows_of_gate = [(gate, units, slice(None)) for gate in range(4)]
        weights = [[load_weights(options, w_h, (0, *index)) for index in rows_of_gate]]

        def scope(shared, ready, *more):
            if more:  # the second parts of the weights, for which there are no registers left
                there, loaded = more[0].at[group], more[1].at[group]
                for gate, index in enumerate(rows_of_gate):
                    plgpu.copy_gmem_to_smem(w_h.at[1, *index], there.at[gate], loaded)
                    plgpu.barrier_wait(loaded)
                weights.append([there.at[gate] for gate in range(4)])
            block = Block(parts, number, group, units, rows, weights, shared, ready)
            body(options, block, refs[: len(inputs)], refs[len(inputs) :])

        def memory(*shape):
            return plgpu.SMEM(shape, w_h.dtype, transforms=swizzled(options, w_h.dtype))

        second = [memory(groups, 4, GROUP_UNITS, hidden), plgpu.Barrier(num_barriers=groups)] if parts > 1 else []
        pl.run_scoped(
            scope,
            memory(2, parts, *exchanged, options.rows),
            plgpu.Barrier(num_arrivals=groups),
            *second,
            collective_axes="group",
        )

    launch = plgpu.kernel(
        kernel,
        out_type=out_types,
        grid=(blocks,),
        grid_names=("block",),
        num_threads=groups,
        thread_name="group",
        compiler_params=plgpu.CompilerParams(approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        interpret=interpreter(options),
    )
    return launch(w_h, *inputs)


KERNELS = Kernels(_forward, _backward)
