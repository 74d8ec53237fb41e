"""What each of 128 threads holds of an array [64, N], as words of 32 bits, four of which move at once.

The tensor cores leave an array so that the values of a thread lie apart from each other in memory: eight stores of
4 bytes where two of 16 would do. What only threads with the same number read need not lie in any order but theirs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jax.experimental.mosaic import gpu as mgpu
from jax.experimental.mosaic.gpu import utils
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import arith, gpu, vector

THREADS = 128  # of a group
QUAD = 4  # words


def words_of(array: Any) -> list[Any]:
    """Of an array in registers (`mgpu.FragmentedArray`): two values of 16 bits in each, or one of 32."""
    return [word for register in array.registers.flat for word in _split(register)]


def array_of(words: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    """The array [64, N] whose words these are."""
    layout = mgpu.WGMMA_LAYOUT
    kind = ir.VectorType.get((2,), utils.dtype_to_ir_type(dtype))
    each = utils.bitwidth(kind) // 32
    registers = [vector.bitcast(kind, _joined(words[at : at + each])) for at in range(0, len(words), each)]
    shaped = np.array(registers, dtype=object).reshape(layout.registers_shape(shape))
    return mgpu.FragmentedArray(_registers=shaped, _layout=layout, _is_signed=None)


def quads_of(words: Sequence[Any]) -> Iterator[Any]:
    """Four words after another in one."""
    for at in range(0, len(words), QUAD):
        yield _joined(words[at : at + QUAD])


def split(quads: Sequence[Any]) -> list[Any]:
    """The words of quads."""
    return [word for quad in quads for word in _split(quad)]


def row_of_operand(array: Any) -> tuple[Any, Any]:
    """Eight values of a row of an array [64, 16], and where they lie in shared memory for the tensor cores, in quads.

    Four threads have a row of 16 values, and one eight rows below, two values of each eight: they exchange words, so
    that each has eight values that lie together. The place is that of `memory.swizzled`: rows of two quads, which
    change places in every second four rows.
    """
    i32 = number_type()
    lane = arith.andi(thread(), utils.c(31, i32))
    odd, upper = (_is_set(lane, bit) for bit in (0, 1))
    words = words_of(array)  # of the left and the right half, the row and the one below in each
    kept = [arith.select(upper, words[number + 2], words[number]) for number in range(2)]
    sent = [arith.select(upper, words[number], words[number + 2]) for number in range(2)]
    come = [utils.shfl_bfly(word, 2) for word in sent]
    halves = [[arith.select(upper, come[number], kept[number]) for number in range(2)]]  # from the lower two threads
    halves += [[arith.select(upper, kept[number], come[number]) for number in range(2)]]  # and from the upper two
    row = []
    for above, below in halves:
        other = utils.shfl_bfly(arith.select(odd, above, below), 1)
        row += [arith.select(odd, other, above), arith.select(odd, below, other)]
    part = _bits(thread(), 5, 2)  # of 16 rows, the number of the warp
    half, lower = _bits(lane, 1, 1), _bits(lane, 0, 1)
    number = _bits(lane, 2, 3)  # of the row among eight
    tile = arith.addi(arith.shli(part, utils.c(1, i32)), lower)
    at = arith.addi(arith.shli(tile, utils.c(4, i32)), arith.shli(number, utils.c(1, i32)))
    return _joined(row), arith.addi(at, arith.xori(half, _bits(number, 2, 1)))


def pointer(ref: Any, number: int) -> Any:
    """Where this thread has its quad of that number, in memory that begins at `ref`: the threads next to each other."""
    i32 = number_type()
    at = arith.addi(thread(), utils.c(THREADS * number, i32))
    return utils.getelementptr(utils.memref_ptr(ref), [at], quad_type())


def thread() -> Any:
    """The number of the thread in its group."""
    number = arith.index_cast(number_type(), gpu.thread_id(gpu.Dimension.x))
    return arith.remui(number, utils.c(THREADS, number_type()))


def number_type() -> Any:
    """Integers of 32 bits."""
    return ir.IntegerType.get_signless(32)


def quad_type() -> Any:
    """Four words."""
    return ir.VectorType.get((QUAD,), number_type())


def _bits(value: Any, first: int, count: int) -> Any:
    shifted = arith.shrui(value, utils.c(first, number_type()))
    return arith.andi(shifted, utils.c((1 << count) - 1, number_type()))


def _is_set(value: Any, bit: int) -> Any:
    return arith.trunci(ir.IntegerType.get_signless(1), _bits(value, bit, 1))


def _split(value: Any) -> list[Any]:
    count = utils.bitwidth(value.type) // 32
    words = vector.bitcast(ir.VectorType.get((count,), number_type()), value)
    at = ir.DenseI64ArrayAttr.get
    return [vector.extract(words, dynamic_position=[], static_position=at([number])) for number in range(count)]


def _joined(words: Sequence[Any]) -> Any:
    return vector.from_elements(ir.VectorType.get((len(words),), number_type()), list(words))
