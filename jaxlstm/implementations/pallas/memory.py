"""How the kernels read from and write to memory, and how what the tensor cores multiply lies in it."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.mosaic import gpu as mgpu
from jax.experimental.mosaic.gpu import utils
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import llvm

from jaxlstm.implementations.pallas import registers
from jaxlstm.implementations.pallas.arithmetic import GROUP_UNITS
from jaxlstm.implementations.pallas.interface import Options

FETCHED = 4  # steps before they are read: 4 to 8 microseconds, and memory answers in one


def step_at(options: Options, s: Array, steps: int) -> Array:
    """The step that the forward walk takes as its number `s`."""
    return steps - 1 - s if options.reverse else s


def step_before(options: Options, s: Array, steps: int) -> Array:
    """The step that the backward walk takes as its number `s`."""
    return steps - 1 - step_at(options, s, steps)


def read(options: Options, ref: Any, index: tuple, layout: Any = None) -> Array:
    """Straight from memory to registers."""
    if options.interpreted:  # knows plain reads alone
        return ref[index]
    load: Any = plgpu.load
    view = (ref, index) if jax.version.__version_info__ < (0, 11) else (ref.at[index],)
    return load(*view, layout=layout, optimized=False)


def fetch(options: Options, ref: Any) -> None:
    """Has memory in one piece brought to where it is near (the second cache), for `read` or `kept` some steps later."""
    if options.interpreted:
        return
    size = math.prod(ref.shape) * ref.dtype.itemsize

    @plgpu.inline_mgpu(arg_types=(plgpu.RefType(),))
    def prefetch(_, there):
        address = llvm.addrspacecast(llvm.PointerType.get(address_space=1), utils.memref_ptr(there))
        one = mgpu.single_thread_predicate(scope=mgpu.ThreadSubset.WARPGROUP)
        instruction = f"@$1 cp.async.bulk.prefetch.L2.global [$0], {size};"
        llvm.inline_asm(ir.Type.parse("!llvm.void"), [address, one], instruction, "l,b", has_side_effects=True)

    prefetch(ref)


def write(options: Options, ref: Any, index: tuple, value: Array) -> None:
    """From registers to memory, where no other thread reads it: none waits."""
    if options.interpreted:
        ref[index] = value
        return

    @plgpu.inline_mgpu(arg_types=(plgpu.RefType(), plgpu.Layout.WGMMA))
    def store(_, there, value):
        value.store_untiled(there, optimized=False)

    store(ref.at[index], value)


def share(options: Options, ref: Any, value: Array) -> None:
    """To shared memory as the tensor cores read it, once `publish` and a barrier have followed."""
    if options.interpreted:
        ref[...] = value
        return
    pattern = swizzled(options, value.dtype)

    @plgpu.inline_mgpu(arg_types=(plgpu.RefType(pattern), plgpu.Layout.WGMMA))
    def store(_, there, value):
        value.store_tiled(there, pattern[1].swizzle, tiling_rank=2)

    store(ref, value)


def publish(options: Options) -> None:
    """What this thread has written to shared memory, or knows to be there, is there for the tensor cores."""
    if options.interpreted:
        plgpu.commit_smem()
        return

    @plgpu.inline_mgpu()
    def fence(_):
        ptx("fence.proxy.async.shared::cta;")

    fence()


def keep(options: Options, ref: Any, values: Sequence[Array]) -> None:
    """Puts values [64, N] into ref [count, 64, N], where `kept` finds them.

    As the registers hold them, 16 bytes of a thread at a time: a warp fills whole lines of memory. The threads that
    read have the same numbers within their groups.
    """
    if options.interpreted:
        for number, value in enumerate(values):
            ref[number] = value
        return

    @plgpu.inline_mgpu(arg_types=(plgpu.RefType(), [plgpu.Layout.WGMMA] * len(values)))
    def store(_, there, values):
        words = [word for value in values for word in registers.words_of(value)]
        for number, quad in enumerate(registers.quads_of(words)):
            llvm.store(quad, registers.pointer(there, number))

    store(ref, list(values))


def kept(options: Options, ref: Any) -> tuple[Array, ...]:
    """What `keep` has put into ref [count, 64, N]."""
    count, *shape = ref.shape
    if options.interpreted:
        return tuple(ref[number] for number in range(count))
    like: Any = plgpu.ShapeDtypeStruct(tuple(shape), ref.dtype, layout=plgpu.Layout.WGMMA)
    quads = count * math.prod(shape) * ref.dtype.itemsize // (16 * registers.THREADS)

    @plgpu.inline_mgpu(arg_types=(plgpu.RefType(),), return_type=[like] * count)
    def load(_, there):
        loaded = [llvm.load(registers.quad_type(), registers.pointer(there, number)) for number in range(quads)]
        words = registers.split(loaded)
        each = len(words) // count
        return [registers.array_of(words[at : at + each], like.shape, like.dtype) for at in range(0, len(words), each)]

    return tuple(load(ref))


def load_weights(options: Options, w: Any, index: tuple) -> Any:
    """A part of the weights [64, K] in registers, as the tensor cores read it, step after step.

    From shared memory they would read as much at each step: 128 bytes in a cycle, 1024 cycles for H = 128.
    """
    if options.interpreted:  # multiplies what lies in memory alone
        return w.at[index]
    return read(options, w, index, plgpu.Layout.WGMMA)


def zero(options: Options) -> Any:
    """0, of which LLVM knows nothing.

    In the index of weights in shared memory it keeps their many addresses, for each product another, from being
    computed before the loop over time, which would put them where registers are spilled to.
    """
    if options.interpreted:
        return 0
    scalar: Any = plgpu.ShapeDtypeStruct((), jnp.int32, layout=plgpu.Layout.WG_SPLAT(()))

    @plgpu.inline_mgpu(return_type=scalar)
    def unknown(_):
        value: Any = llvm.inline_asm(registers.number_type(), [], "mov.b32 $0, 0;", "=r", has_side_effects=True)
        return mgpu.FragmentedArray.splat(value, (), is_signed=True)

    return unknown()


class Extras:
    """What is there for some calls only, in the memory of the device: which steps are valid, and the scale of h."""

    def __init__(self, options: Options, refs: Sequence[Any], units: Any, rows: Any):
        refs = list(refs)
        self._options, self._units, self._rows = options, units, rows
        self._valid = refs.pop(0) if options.masked else None
        self._scale = refs.pop(0) if options.scaled else None

    def valid(self, t: Array) -> Array | None:
        """Booleans [64, N] of a step, or None: every step is."""
        if self._valid is None:
            return None
        valid = read(self._options, self._valid, (t, self._rows))
        return lax.broadcast_in_dim(valid, (GROUP_UNITS, self._options.rows), (1,)) > 0

    def scale(self) -> Array | None:
        """[64, N] in float32, or None: every h is what it is."""
        if self._scale is None:
            return None
        return read(self._options, self._scale, (self._units, self._rows)).astype(jnp.float32)


def swizzled(options: Options, dtype: Any) -> tuple:
    """The pattern in shared memory that the tensor cores read; both operands of a product want the same."""
    size = options.rows * jnp.dtype(dtype).itemsize
    transforms: Any = plgpu  # whose classes are abstract to type checkers
    return transforms.TilingTransform((8, options.rows)), transforms.SwizzleTransform(size)


def ptx(instruction: str) -> None:
    """An instruction by its name in NVIDIA's PTX, where Mosaic GPU has no word for it."""
    llvm.inline_asm(ir.Type.parse("!llvm.void"), [], instruction, "~{memory}", has_side_effects=True)
