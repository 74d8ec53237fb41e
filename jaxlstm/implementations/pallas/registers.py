"""What each of 128 threads holds of an array [64, N], as words of 32 bits, four of which move at once.

The tensor cores leave an array so that the values of a thread lie apart from each other in memory: eight stores of
4 bytes where two of 16 would do. What only threads with the same number read need not lie in any order but theirs.
"""

from collections.abc import Iterable, Iterator, Sequence
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
    return split(array.registers.flat)


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


def split(vectors: Iterable[Any]) -> list[Any]:
    """The words of vectors, such as quads, one after another."""
    at, words = ir.DenseI64ArrayAttr.get, []
    for each in vectors:
        count = utils.bitwidth(each.type) // 32
        whole = vector.bitcast(ir.VectorType.get((count,), number_type()), each)
        words += [vector.extract(whole, dynamic_position=[], static_position=at([place])) for place in range(count)]
    return words


def row_of_operand(array: Any) -> tuple[Any, Any]:
    """Eight values of a row of an array [64, 16], and where they lie in shared memory for the tensor cores, in quads.

    Four threads have a row of 16 values, and one eight rows below, two values of each eight: they exchange words, so
    that each has eight values that lie together. The place is that of `memory.swizzled`: rows of two quads, which
    change places in every second four rows.
    """
    lane = arith.andi(thread(), number(31))
    odd, upper = (_is_set(lane, bit) for bit in (0, 1))
    words = words_of(array)  # of the left and the right half, the row and the one below in each
    kept = [arith.select(upper, words[each + 2], words[each]) for each in range(2)]
    sent = [arith.select(upper, words[each], words[each + 2]) for each in range(2)]
    come = [utils.shfl_bfly(word, 2) for word in sent]
    halves = [[arith.select(upper, come[each], kept[each]) for each in range(2)]]  # from the lower two threads
    halves += [[arith.select(upper, kept[each], come[each]) for each in range(2)]]  # and from the upper two
    row = []
    for above, below in halves:
        other = utils.shfl_bfly(arith.select(odd, above, below), 1)
        row += [arith.select(odd, other, above), arith.select(odd, below, other)]
    part = _bits(thread(), 5, 2)  # of 16 rows, the number of the warp
    half, lower = _bits(lane, 1, 1), _bits(lane, 0, 1)
    of_eight = _bits(lane, 2, 3)  # rows, the number of this one
    tile = arith.addi(arith.shli(part, number(1)), lower)
    at = arith.addi(arith.shli(tile, number(4)), arith.shli(of_eight, number(1)))
    return _joined(row), arith.addi(at, arith.xori(half, _bits(of_eight, 2, 1)))


def pointer(ref: Any, which: int) -> Any:
    """Where this thread has its quad of that number, in memory that begins at `ref`: the threads next to each other."""
    at = arith.addi(thread(), number(THREADS * which))
    return utils.getelementptr(utils.memref_ptr(ref), [at], quad_type())


def thread() -> Any:
    """The number of the thread in its group."""
    of_block = arith.index_cast(number_type(), gpu.thread_id(gpu.Dimension.x))
    return arith.remui(of_block, number(THREADS))


def number(value: int) -> Any:
    """A constant."""
    return utils.c(value, number_type())


def number_type() -> Any:
    """Integers of 32 bits."""
    return ir.IntegerType.get_signless(32)


def quad_type() -> Any:
    """Four words."""
    return ir.VectorType.get((QUAD,), number_type())


def _bits(value: Any, first: int, count: int) -> Any:
    return arith.andi(arith.shrui(value, number(first)), number((1 << count) - 1))


def _is_set(value: Any, bit: int) -> Any:
    return arith.trunci(ir.IntegerType.get_signless(1), _bits(value, bit, 1))


def _joined(words: Sequence[Any]) -> Any:
    return vector.from_elements(ir.VectorType.get((len(words),), number_type()), list(words))
