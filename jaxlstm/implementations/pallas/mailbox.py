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
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.mosaic import gpu as mgpu
from jax.experimental.mosaic.gpu import utils
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import arith, gpu, llvm, nvvm

from jaxlstm.implementations.pallas.interface import Options
from jaxlstm.implementations.pallas.memory import swizzled

BOXES = 2
AXIS = gpu.Dimension.x  # of the cluster, the only one that is used


class Mailbox(NamedTuple):
    """The boxes of one member of a cluster."""

    options: Options
    member: Array  # whose they are
    boxes: Any  # [2, places, rows, N] in shared memory; in the interpreter [members, 2, ...]
    signals: Any

    def open(self) -> None:
        """Before the first post; every thread of every block comes here."""
        if self.options.interpreted:
            return

        @plgpu.inline_mgpu(arg_types=(plgpu.RefType(),))
        def open_boxes(_, signals):
            first = mgpu.single_thread_predicate(scope=mgpu.ThreadSubset.BLOCK)
            for box in range(BOXES):
                signal = _signal(signals, _number(box))
                nvvm.mbarrier_init(signal.get_ptr(), _number(1), predicate=first)
                signal.arrive_expect_tx(self._bytes, predicate=first)
            _ptx("fence.mbarrier_init.release.cluster;")
            _ptx("barrier.cluster.arrive.release.aligned;")
            _ptx("barrier.cluster.wait.acquire.aligned;")

        open_boxes(self.signals)

    def post(self, value: Array, turn: Array, place: Any, to: Any) -> None:
        """Sends value [64, N], as the tensor cores leave it, to the box of member `to`; returns at once."""
        box = lax.rem(turn, BOXES)
        if self.options.interpreted:
            self.boxes[to, box, place] = value
            plgpu.commit_smem()
            plgpu.barrier_arrive(self.signals.at[to * BOXES + box])
            return
        pattern = swizzled(self.options, value.dtype)

        @plgpu.inline_mgpu(
            arg_types=(
                plgpu.Layout.WGMMA,
                plgpu.RefType(pattern),
                plgpu.RefType(),
                plgpu.Layout.WG_SPLAT,
                plgpu.Layout.WG_SPLAT,
            )
        )
        def store(_, value, there, signals, box, to):
            value.store_tiled_async(
                there,
                _signal(signals, box.registers.item()),
                cluster_dim=AXIS,
                cluster_idx=arith.index_cast(ir.IndexType.get(), to.registers.item()),
                swizzle=pattern[1].swizzle,
                optimized=False,
                tiling_rank=2,
            )

        store(value, self.boxes.at[box, place], self.signals, box, jnp.int32(to))

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
        plgpu.commit_smem()  # what others have stored is there for the tensor cores
        return self.boxes.at[box]

    @property
    def _bytes(self) -> int:
        return math.prod(self.boxes.shape[1:]) * jnp.dtype(self.boxes.dtype).itemsize  # of a box


def boxes(options: Options, members: int, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """What `pl.run_scoped` allocates for a mailbox: the boxes of `shape` [places, rows, N], and the signals."""
    leading = (members,) if options.interpreted else ()
    memory = plgpu.SMEM((*leading, BOXES, *shape), dtype, transforms=swizzled(options, dtype))
    if options.interpreted:
        return memory, plgpu.Barrier(num_arrivals=members, num_barriers=members * BOXES)
    return memory, plgpu.SMEM((2 * BOXES,), jnp.int32)  # 8 bytes for each mbarrier


def _signal(signals: Any, box: Any) -> Any:
    no_phases: Any = None  # of the waiting thread: it is told which one it waits for
    return mgpu.BarrierRef(utils.memref_ptr(signals), box, no_phases, 1)


def _number(value: int) -> Any:
    return utils.c(value, ir.IntegerType.get_signless(32))


def _ptx(instruction: str) -> None:
    llvm.inline_asm(ir.Type.parse("!llvm.void"), [], instruction, "~{memory}", has_side_effects=True)
