"""H of up to 512: W_h in the registers of several multiprocessors, a cluster of blocks that exchange h, or dh.

Each block of a cluster has 64 hidden units, all four gates of them, and N sequences, the same for all blocks:

    z [4 * 64, N] = W_h^T [4 * 64, H] h [H, N]                forward; then h [64, N] goes to every block
    dh [H, N] = W_h [H, 4 * 64] dz [4 * 64, N]                backward; 64 rows of it go to each block, to be summed

Two groups of 128 threads make a block. The first, the cell, has the state in its registers and takes the steps;
the second helps with the products. Both keep weights in registers, where the tensor cores read them: 2 gates of
256 columns each in the forward walk; what does not fit there is in shared memory.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxlstm.implementations.pallas.arithmetic import GROUP_UNITS, advance, scaled, step_back, where
from jaxlstm.implementations.pallas.interface import KEPT, Kernels, Options, interpreter
from jaxlstm.implementations.pallas.mailbox import Mailbox, boxes
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
    zero,
)
from jaxlstm.implementations.pallas.products import TERMS, accumulated, parts_of

UNITS = 2 * GROUP_UNITS  # H is padded to a multiple of it
CELL, HELPER = range(2)  # the groups of a block
GATES = {CELL: (0, 1), HELPER: (2, 3)}  # of the forward products: i and f, g and o
COLUMNS = 256  # of W_h^T in registers, in the forward walk
# Of 64 rows of W_h in registers, in the backward walk, by the parts of W_h: the cell has coefficients there.
TILES = {1: {CELL: 1, HELPER: 3}, 2: {CELL: 1, HELPER: 2}}


class Place(NamedTuple):
    """Where a group of threads stands, and what it works with."""

    options: Options
    members: int  # C, the blocks of the cluster
    member: Array  # the number of this one in it
    block: Array  # the number of the cluster: which N sequences it has
    units: Any  # slices: the hidden units of this member,
    rows: Any  # and its sequences
    mail: Mailbox
    scratch: dict[str, Any]  # shared memory of the block, by what is in it
    loaded: Any  # the group's barrier for its weights
    handovers: Any  # barriers at which a group hands something to the other, by turns

    def ready(self, turn: Array) -> Any:
        """The barrier of a turn."""
        first = 2 * self.member if self.options.interpreted else 0
        return self.handovers.at[first + lax.rem(turn, 2)]

    def own(self, name: str) -> Any:
        """The block's own scratch. In the interpreter all members share one block (`mailbox`)."""
        return self.scratch[name].at[self.member] if self.options.interpreted else self.scratch[name]


def _forward(options: Options, out_types: list, w_h: Array, *inputs: Array) -> Any:
    hidden, dtype = w_h.shape[-1], w_h.dtype
    scratch = {
        "weights": ((2, 2, GROUP_UNITS, max(0, hidden - COLUMNS)), dtype),
        "handed": ((2, GROUP_UNITS, options.rows), jnp.float32),
    }
    operand = swizzled(options, dtype)
    return _launch(options, _forward_kernel, out_types, (dtype, operand), scratch, w_h, *inputs)


def _forward_kernel(place, w_h, inputs, outputs):
    options, mail, block, units, rows = place.options, place.mail, place.block, place.units, place.rows
    z_x, h_0, c_0, *extras = inputs
    hs, h_last, c_last, *coefficients = outputs
    steps, dtype = hs.shape[0], hs.dtype
    handed = place.own("handed")
    extra = Extras(options, extras, units, rows)

    def products(group):
        """A function from h, the parts of a box, to the group's share of z; its weights are read now."""
        weights = [_columns(place, w_h, group, number) for number in range(2)]

        def of_h(h):
            def multiply(*accumulators):
                for accumulator, parts in zip(accumulators, weights, strict=True):
                    for part, columns in enumerate(parts):
                        plgpu.wgmma(accumulator, columns(), h.at[part])

            return accumulated(options, len(weights), multiply)

        return of_h

    # What the next step needs is on its way while the tensor cores compute: asked for after the fence, which might
    # wait for it.
    def read_z(group, s):
        if group == HELPER:  # for both
            later = step_at(options, jnp.minimum(s + FETCHED, steps - 1), steps)
            fetch(options, z_x.at[later, block, place.member])
        t = step_at(options, jnp.minimum(s, steps - 1), steps)
        return tuple(read(options, z_x, (t, block, place.member, gate)) for gate in GATES[group])

    def help_with_products():
        product = products(HELPER)

        def step(s, z):
            h = mail.collect(s, arm=False)
            publish(options)
            ahead = read_z(HELPER, s + 1)
            keep(options, handed, [a + b for a, b in zip(z, product(h), strict=True)])
            plgpu.barrier_arrive(place.ready(s))
            return ahead

        lax.fori_loop(0, steps, step, read_z(HELPER, 0))

    def take_steps():
        product, scale = products(CELL), extra.scale()

        def step(s, carry):
            h_old, c_old, z = carry
            t = step_at(options, s, steps)
            all_h = mail.collect(s, arm=True)
            publish(options)
            ahead = read_z(CELL, s + 1)
            is_valid = extra.valid(t)
            z = tuple(a + b for a, b in zip(z, product(all_h), strict=True))
            plgpu.barrier_wait(place.ready(s))
            h, c, by = advance((*z, *kept(options, handed)), c_old, dtype == jnp.float32)
            h, c = where(is_valid, h.astype(dtype), h_old), where(is_valid, c, c_old)
            mail.broadcast(scaled(h, scale).astype(w_h.dtype), s + 1, place.members)
            write(options, hs, (t, block, units), h)
            if coefficients:
                keep(options, coefficients[0].at[t, block, place.member], [each.astype(KEPT) for each in by])
            return h, c, ahead

        h = read(options, h_0, (units, rows))
        mail.broadcast(scaled(h, scale).astype(w_h.dtype), jnp.int32(0), place.members)
        h, c, _ = lax.fori_loop(0, steps, step, (h, read(options, c_0, (units, rows)), read_z(CELL, 0)))
        write(options, h_last, (units, rows), h)
        write(options, c_last, (units, rows), c)

    _by_group(place, take_steps, help_with_products)
    mail.collect(jnp.int32(steps), arm=False)  # nothing is on its way to a block that has ended


def _columns(place: Place, w_h: Any, group: int, number: int) -> list[Callable[[], Any]]:
    """One of the group's two gates of W_h^T, by 64 columns: the first in registers, the rest in shared memory."""
    gate, hidden = GATES[group][number], w_h.shape[-1]

    def loaded(start):
        weights = load_weights(place.options, w_h, (0, gate, place.units, pl.ds(start, GROUP_UNITS)))
        return lambda: weights

    def shared(start):
        return lambda: place.own("weights").at[group, number + zero(place.options), :, pl.ds(start, GROUP_UNITS)]

    parts = [loaded(start) for start in range(0, min(hidden, COLUMNS), GROUP_UNITS)]
    if hidden > COLUMNS:
        rest = w_h.at[0, gate, place.units, pl.ds(COLUMNS, hidden - COLUMNS)]
        plgpu.copy_gmem_to_smem(rest, place.own("weights").at[group, number], place.loaded)
        plgpu.barrier_wait(place.loaded)
    return parts + [shared(start) for start in range(0, hidden - COLUMNS, GROUP_UNITS)]


def _backward(options: Options, out_types: list, w_h: Array, *inputs: Array) -> Any:
    parts, members = w_h.shape[0], w_h.shape[-1] // GROUP_UNITS
    streamed = sum(len(tiles) for group in (CELL, HELPER) for tiles in _streamed(members, group, parts))
    scratch = {
        "weights": ((streamed, 4, GROUP_UNITS, GROUP_UNITS), w_h.dtype),
        # By turns: a cell may be a step, but never two, ahead of the products that its helper takes of dz.
        "d_z": ((2, parts, 4, GROUP_UNITS, options.rows), w_h.dtype),
    }
    return _launch(options, _backward_kernel, out_types, (jnp.float32, ()), scratch, w_h, *inputs)


def _tiles(members: int, parts: int) -> dict[int, range]:
    """The tiles of 64 rows of W_h that each group multiplies.

    A quarter for the cell, which has more to do; half where three products of parts make one.
    """
    few = max(1, members // (4 if parts == 1 else 2))
    return {CELL: range(few), HELPER: range(few, members)}


def _streamed(members: int, group: int, parts: int) -> list[range]:
    """The tiles in shared memory: of the first part what the registers do not hold, of the second all."""
    tiles = _tiles(members, parts)[group]
    return [tiles[TILES[parts][group] :], tiles][:parts]


def _rows(place: Place, w_h: Any, group: int) -> dict[int, list]:
    """The group's tiles of W_h, by part functions of the gate: the first in registers, the rest in shared memory."""
    parts, before = w_h.shape[0], 0
    if group == HELPER:  # there is what the cell has put there
        before = sum(len(tiles) for tiles in _streamed(place.members, CELL, parts))
    weights: dict[int, list] = {tile: [] for tile in _tiles(place.members, parts)[group]}
    for part, streamed in enumerate(_streamed(place.members, group, parts)):
        for tile in weights:
            here = [(part, gate, pl.ds(tile * GROUP_UNITS, GROUP_UNITS), place.units) for gate in range(4)]
            if tile not in streamed:
                weights[tile].append([load_weights(place.options, w_h, index) for index in here].__getitem__)
                continue
            there = place.own("weights").at[before]
            before += 1
            for gate, index in enumerate(here):
                plgpu.copy_gmem_to_smem(w_h.at[index], there.at[gate], place.loaded)
                plgpu.barrier_wait(place.loaded)
            weights[tile].append(lambda gate, there=there: there.at[gate + zero(place.options)])
    return weights


def _backward_kernel(place, w_h, inputs, outputs):
    options, mail, block, units, rows = place.options, place.mail, place.block, place.units, place.rows
    coefficients, d_h_last, d_c_last, d_hs, *extras = inputs
    d_z_all, d_h_0, d_c_0 = outputs
    steps, dtype = d_hs.shape[0], d_hs.dtype
    parts, d_z_shared = w_h.shape[0], place.own("d_z")
    extra = Extras(options, extras, units, rows)

    def products(group):
        """A function that posts the group's share of dh, each tile to the block whose units it is."""
        weights = _rows(place, w_h, group)

        def of_turn(turn):
            def multiply(tile, accumulator):
                for gate in range(4):
                    for of_weights, part in TERMS[parts]:
                        there = d_z_shared.at[lax.rem(turn, 2), part, gate]
                        plgpu.wgmma(accumulator, weights[tile][of_weights](gate), there)

            for tile in weights:
                (d_h,) = accumulated(options, 1, partial(multiply, tile))
                mail.post(d_h, turn, tile)

        return of_turn

    def help_with_products():
        post_products = products(HELPER)

        def step(s, carry):
            plgpu.barrier_wait(place.ready(s))
            post_products(s)
            return carry

        lax.fori_loop(0, steps, step, ())

    def take_steps():
        post_products, scale = products(CELL), extra.scale()

        def read_step(s):
            later = step_before(options, jnp.minimum(s + FETCHED, steps - 1), steps)
            fetch(options, coefficients.at[later, block, place.member])
            fetch(options, d_hs.at[later, block, units])
            t = step_before(options, jnp.minimum(s, steps - 1), steps)
            by = kept(options, coefficients.at[t, block, place.member])
            return by, read(options, d_hs, (t, block, units)), extra.valid(t)

        def step(s, carry):
            d_h, d_c, (by, d_y, is_valid) = carry
            d_h += d_y.astype(jnp.float32)
            d_gates, d_c_old = step_back(by, d_h, d_c, is_valid, dtype)
            for gate, d_z in enumerate(d_gates):
                for number, part in enumerate(parts_of(d_z, parts, w_h.dtype)):
                    share(options, d_z_shared.at[lax.rem(s, 2), number, gate], part)
            publish(options)
            plgpu.barrier_arrive(place.ready(s))
            t = step_before(options, s, steps)
            for gate, d_z in enumerate(d_gates):
                write(options, d_z_all, (t, block, gate, units), d_z)
            ahead = read_step(s + 1)  # on its way while the tensor cores compute
            plgpu.barrier_wait(place.ready(s))  # for dz of the cell's other warps
            post_products(s)
            product, *others = kept(options, mail.collect(s, arm=True))
            for other in others:
                product += other
            return where(is_valid, scaled(product, scale), d_h), where(is_valid, d_c_old, d_c), ahead

        start = (
            read(options, d_h_last, (units, rows)).astype(jnp.float32),
            read(options, d_c_last, (units, rows)),
            read_step(0),
        )
        d_h, d_c, _ = lax.fori_loop(0, steps, step, start)
        write(options, d_h_0, (units, rows), d_h.astype(dtype))
        write(options, d_c_0, (units, rows), d_c)

    _by_group(place, take_steps, help_with_products)


def _by_group(place: Place, cell: Any, helper: Any) -> None:
    group = lax.axis_index("group")
    if place.options.interpreted:
        group = lax.rem(group, 2)
    pl.when(group == CELL)(cell)
    pl.when(group == HELPER)(helper)


def _launch(
    options: Options, body: Any, out_types: list, posted: Any, scratch: dict, w_h: Array, *inputs: Array
) -> Any:
    """A cluster for each `options.rows` sequences; body(place, w_h, inputs, outputs) in each group.

    `posted` is the dtype of what every member sends at each turn, [64, N], and the pattern in which it lies where it
    arrives; `scratch` has shapes and dtypes in the shared memory of a block.
    """
    hidden, blocks = w_h.shape[-1], inputs[0].shape[1]
    members = hidden // GROUP_UNITS
    together = members if options.interpreted else 1  # in one block
    leading = (members,) if options.interpreted else ()
    scratch = {name: (shape, dtype) for name, (shape, dtype) in scratch.items() if 0 not in shape}

    def kernel(w_h, *refs):
        group = lax.axis_index("group")
        member = lax.div(group, 2) if options.interpreted else lax.axis_index("member")
        units = pl.ds(member * GROUP_UNITS, GROUP_UNITS)
        block = lax.axis_index("block")
        rows = pl.ds(block * options.rows, options.rows)

        def scope(boxes, signals, loaded, handovers, *memory):
            mail = Mailbox(options, member, posted[1], boxes, signals)
            mail.open()
            own = dict(zip(scratch, memory, strict=True))
            place = Place(options, members, member, block, units, rows, mail, own, loaded.at[group], handovers)
            body(place, w_h, refs[: len(inputs)], refs[len(inputs) :])

        pl.run_scoped(
            scope,
            *boxes(options, members, *posted),
            plgpu.Barrier(num_barriers=2 * together),
            plgpu.Barrier(num_barriers=2 * together),
            *(
                plgpu.SMEM((*leading, *shape), dtype, transforms=swizzled(options, dtype) if dtype == w_h.dtype else ())
                for shape, dtype in scratch.values()
            ),
            collective_axes="group",
        )

    cluster: dict[str, Any] = {"num_threads": 2 * members if options.interpreted else 2}
    if not options.interpreted:
        cluster |= {"cluster": (members,), "cluster_names": ("member",)}
    launch = plgpu.kernel(
        kernel,
        out_type=out_types,
        grid=(blocks,),
        grid_names=("block",),
        thread_name="group",
        compiler_params=plgpu.CompilerParams(approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        interpret=interpreter(options),
        **cluster,
    )
    return launch(w_h, *inputs)


KERNELS = Kernels(_forward, _backward)
