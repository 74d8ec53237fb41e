"""How the blocks of a cluster tell each other what they have computed: through each other's shared memory.

Each block has two boxes, used by turns. Members post into a box; where all bytes of a turn have arrived, its
signal completes. The signal is an mbarrier of the box's own block, which alone arms it, and a post is `st.async`,
which counts its bytes there: no memory fence, which would wait for every store on its way to device memory.
(`plgpu.async_store_smem` arrives at the other block's signal with a release at the cluster's scope; it compiles
to such a fence for each post. PTX ISA: st.async, mbarrier.)

Two boxes are enough where a member posts its next turn only after it has collected all of this one: a post into
a box then follows, through the other box, all reads of what was there before.

In JAX's interpreter, which knows no clusters, the members are threads of one block and share its memory.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.mosaic import gpu as mgpu
from jax.experimental.mosaic.gpu import utils
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import arith, llvm, nvvm

from jaxlstm.implementations.pallas import registers
from jaxlstm.implementations.pallas.arithmetic import GROUP_UNITS
from jaxlstm.implementations.pallas.interface import Options
from jaxlstm.implementations.pallas.memory import ptx

BOXES = 2


class Mailbox(NamedTuple):
    """The boxes of one member of a cluster."""

    options: Options
    member: Array  # whose they are
    pattern: tuple  # in which they lie in shared memory
    boxes: Any  # [2, places, 64, N]; in the interpreter [members, 2, ...]
    signals: Any

    def open(self) -> None:
        """Before the first post; every thread of every block comes here."""
        if self.options.interpreted:
            return

        @plgpu.inline_mgpu(arg_types=(plgpu.RefType(),))
        def open_boxes(_, signals):
            first = mgpu.single_thread_predicate(scope=mgpu.ThreadSubset.BLOCK)
            for box in range(BOXES):
                signal = _signal(signals, registers.number(box))
                nvvm.mbarrier_init(signal.get_ptr(), registers.number(1), predicate=first)
                signal.arrive_expect_tx(self._bytes, predicate=first)
            ptx("fence.mbarrier_init.release.cluster;")
            ptx("barrier.cluster.arrive.release.aligned;")
            ptx("barrier.cluster.wait.acquire.aligned;")

        open_boxes(self.signals)

    def post(self, value: Array, turn: Array, to: int) -> None:
        """Sends value [64, N] to the member `to`, which finds it with `memory.kept`; returns at once."""
        if self.options.interpreted:
            self._put(value, turn, to)
            return

        def send(there, signal, value):
            for number, quad in enumerate(registers.quads_of(registers.words_of(value))):
                _send(registers.pointer(there, number), quad, signal, to)

        self._inline(send, value, turn)

    def broadcast(self, value: Array, turn: Array, members: int) -> None:
        """Sends value [64, 16] to every member, whose tensor cores read it there; returns at once."""
        if self.options.interpreted:
            for to in range(members):
                self._put(value, turn, to)
            return

        def send(there, signal, value):
            quad, at = registers.row_of_operand(value)
            pointer = utils.getelementptr(utils.memref_ptr(there), [at], registers.quad_type())
            for to in range(members):
                _send(pointer, quad, signal, to)

        self._inline(send, value, turn)

    def _put(self, value: Array, turn: Array, to: Any) -> None:
        box = lax.rem(turn, BOXES)
        self.boxes[to, box, self.member] = value
        plgpu.commit_smem()
        plgpu.barrier_arrive(self.signals.at[to * BOXES + box])

    def _inline(self, send: Callable[..., None], value: Array, turn: Array) -> None:
        """Runs send(this member's place in its own box, the box's signal, value): other members have theirs there."""
        box = lax.rem(turn, BOXES)

        @plgpu.inline_mgpu(
            arg_types=(plgpu.RefType(self.pattern), plgpu.RefType(), plgpu.Layout.WG_SPLAT, plgpu.Layout.WGMMA)
        )
        def run(_, there, signals, box, value):
            send(there, _signal(signals, box.registers.item()), value)

        run(self.boxes.at[box, self.member], self.signals, box, value)

    def collect(self, turn: Array, *, arm: bool) -> Any:
        """Waits until all of a turn has arrived, and gives the box; one group of threads of a block arms it anew."""
        box = lax.rem(turn, BOXES)
        if self.options.interpreted:
            plgpu.barrier_wait(self.signals.at[self.member * BOXES + box])
            return self.boxes.at[self.member, box]

        @plgpu.inline_mgpu(arg_types=(plgpu.RefType(), plgpu.Layout.WG_SPLAT, plgpu.Layout.WG_SPLAT))
        def wait(_, signals, box, uses):
            signal = _signal(signals, box.registers.item())
            odd = arith.trunci(ir.IntegerType.get_signless(1), uses.registers.item())
            signal.wait_parity(odd)
            if arm:  # the next phase cannot end before all threads have seen this one: they have to post before
                one = mgpu.single_thread_predicate(scope=mgpu.ThreadSubset.WARPGROUP)
                signal.arrive_expect_tx(self._bytes, predicate=one)

        wait(self.signals, box, lax.div(turn, BOXES))
        return self.boxes.at[box]

    @property
    def _bytes(self) -> int:
        return math.prod(self.boxes.shape[1:]) * jnp.dtype(self.boxes.dtype).itemsize  # of a box


def boxes(options: Options, members: int, dtype: Any, pattern: tuple) -> tuple[Any, Any]:
    """What `pl.run_scoped` allocates for a mailbox: the boxes, with a place for every member, and the signals."""
    leading = (members,) if options.interpreted else ()
    memory = plgpu.SMEM((*leading, BOXES, members, GROUP_UNITS, options.rows), dtype, transforms=pattern)
    if options.interpreted:
        return memory, plgpu.Barrier(num_arrivals=members, num_barriers=members * BOXES)
    return memory, plgpu.SMEM((2 * BOXES,), jnp.int32)  # 8 bytes for each mbarrier


def _signal(signals: Any, box: Any) -> Any:
    no_phases: Any = None  # of the waiting thread: it is told which one it waits for
    return mgpu.BarrierRef(utils.memref_ptr(signals), box, no_phases, 1)


def _send(pointer: Any, quad: Any, signal: Any, to: int) -> None:
    """To the same place in the shared memory of another block, whose barrier counts the bytes."""
    rank = registers.number(to)
    there = utils.get_cluster_ptr(pointer, rank, generic=False)
    barrier = utils.get_cluster_ptr(signal.get_ptr(), rank, generic=False)
    llvm.inline_asm(
        ir.Type.parse("!llvm.void"),
        [there, *registers.split([quad]), barrier],
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [$0], {$1, $2, $3, $4}, [$5];",
        "l,r,r,r,r,l",
        has_side_effects=True,
    )
