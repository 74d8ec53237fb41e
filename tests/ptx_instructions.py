"""What each instruction of PTX does: `execute` for `ptx_machine`. (PTX ISA 9.0; of each what our kernels use.)"""

import re
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import ml_dtypes
import numpy as np
from ptx_machine import BLOCK, CLUSTER, ENGINE, LANES, Meeting, MemoryBarrier, Warp
from ptx_program import Instruction

TYPES = {
    "b16": np.uint16, "b32": np.uint32, "b64": np.uint64, "u32": np.uint32, "u64": np.uint64, "s32": np.int32,
    "s64": np.int64, "f32": np.float32, "pred": np.bool_, "bf16": ml_dtypes.bfloat16, "f16": np.float16,
}  # fmt: skip
LANE = np.arange(LANES)
EVERY_LANE = np.full(LANES, True)


def execute(warp: Warp, instruction: Instruction) -> None:
    """One instruction, in the lanes where its guard holds."""
    active = EVERY_LANE
    if guard := instruction.guard:
        active = warp.read(guard.lstrip("!"), np.bool_) ^ guard.startswith("!")
        if not active.any():
            return
    _operation(instruction.opcode)(warp, active, *instruction.operands)


@cache
def _operation(opcode: tuple[str, ...]) -> Callable[..., None]:
    for known, operation in OPERATIONS.items():
        if opcode[: known.count(".") + 1] == tuple(known.split(".")):
            return partial(operation, opcode)
    raise NotImplementedError(".".join(opcode))


def computes(function: Callable[..., Any]) -> Callable[..., None]:
    """Of operands that are all of the opcode's last type, to one of the same."""

    def operation(opcode, warp, _, to, *operands):
        kind = TYPES[opcode[-1]]
        value = function(*(warp.read(operand, kind) for operand in operands))
        warp.write(to, np.asarray(value, kind))

    return operation


def of_pairs(function: Callable[..., Any]) -> Callable[..., None]:
    """Of two values of bfloat16 in each operand."""

    def operation(_, warp, __, to, *operands):
        value = function(*(warp.read(operand, np.uint32).view(ml_dtypes.bfloat16) for operand in operands))
        warp.write(to, value.view(np.uint32))

    return operation


def wide(opcode, warp, _, to, *operands):
    narrow = TYPES[opcode[-1]]
    a, b = (warp.read(operand, narrow).astype(f"{np.dtype(narrow).kind}8") for operand in operands)
    warp.write(to, a * b)


def shift(opcode, warp, _, to, value, by):
    kind = TYPES[opcode[-1]]
    value, by = warp.read(value, kind), warp.read(by, np.uint32).astype(kind)
    warp.write(to, value << by if opcode[0] == "shl" else value >> by)


def extract(opcode, warp, _, to, value, start, length):
    kind = TYPES[opcode[-1]]
    warp.write(to, (warp.read(value, kind) >> kind(int(start))) & kind((1 << int(length)) - 1))


def compare(opcode, warp, _, to, a, b, also=None):
    relation = {"eq": np.equal, "ne": np.not_equal, "gt": np.greater, "lt": np.less}[opcode[1]]
    kind = TYPES[opcode[-1]]
    holds = relation(warp.read(a, kind), warp.read(b, kind))
    if also is not None:
        assert opcode[2] == "and", opcode
        holds &= warp.read(also.lstrip("!"), np.bool_) ^ also.startswith("!")
    warp.write(to, holds)


def select(opcode, warp, _, to, a, b, where):
    kind = TYPES[opcode[-1]]
    warp.write(to, np.where(warp.read(where, np.bool_), warp.read(a, kind), warp.read(b, kind)))


def convert(opcode, warp, _, to, *operands):
    kind, source = opcode[-2], TYPES[opcode[-1]]
    values = [warp.read(operand, source) for operand in operands]
    if kind in ("bf16x2", "f16x2"):  # the first operand above
        half = TYPES[kind.removesuffix("x2")]
        high, low = (value.astype(half).view(np.uint16).astype(np.uint32) for value in values)
        warp.write(to, high << np.uint32(16) | low)
    else:
        warp.write(to, values[0].astype(TYPES[kind]))


def move(opcode, warp, _, to, value):
    kind = np.dtype(TYPES[opcode[-1]])
    if to.startswith("{"):  # in two halves, the lower first
        halves = warp.read(value, kind).view(f"u{kind.itemsize // 2}").reshape(LANES, 2)
        for number, register in enumerate(_names(to)):
            warp.write(register, halves[:, number])
    elif value.startswith("{"):
        halves = [warp.read(operand, f"u{kind.itemsize // 2}") for operand in _names(value)]
        warp.write(to, np.stack(halves, axis=1).view(kind)[:, 0])
    else:
        warp.write(to, warp.read(value, kind))


def elect(_, warp, active, to, members):
    register, predicate = to.split("|")
    warp.write(register, np.zeros(LANES, np.uint32))
    warp.write(predicate, LANE == 0)


def shuffle(_, warp, active, to, value, lane, *limits):
    warp.write(to, np.full(LANES, warp.read(value, np.uint32)[int(lane)]))


def exchange(_, warp, active, to, value, distance, *limits):
    """Between the threads of a warp whose numbers differ in some bits."""
    assert active.all(), "the threads of a warp part"
    assert limits == ("31", "-1"), limits
    warp.write(to, warp.read(value, np.uint32)[LANE ^ int(distance)])


def branch(_, warp, active, label):
    assert active.all(), "the threads of a warp part"
    warp.next = warp.machine.program.labels[label]


def end(_, warp, active):
    assert active.all(), "the threads of a warp part"
    assert not warp.in_flight, "products that nobody has waited for"
    warp.ended = True


def nothing(*_):
    """Other fences: the machine computes in order; what is not on a GPU is for ptxas or drawn at random here."""


def show_tensor_cores(_, warp, active):
    assert active.all(), "the threads of a warp part"
    warp.block.memory.fence(warp.number)


# ---- memory


def load_parameter(_, warp, active, to, place):
    number = warp.machine.program.parameters.index(place.strip("[]"))
    warp.write(to, np.full(LANES, warp.machine.address_of(number), np.uint64))


def load(opcode, warp, _, to, place):
    kind, registers = TYPES[opcode[-1]], _names(to)
    memory, addresses = _located(opcode, warp, place)
    found = memory.load(addresses, len(registers) * np.dtype(kind).itemsize).view(kind)
    for number, register in enumerate(registers):
        warp.write(register, found[:, number])


def store(opcode, warp, active, place, value):
    memory, addresses = _located(opcode, warp, place)
    memory.store(addresses[active], _bytes(opcode, warp, value)[active], warp.number)


def store_matrices(_, warp, active, place, value):
    """stmatrix: 8 x 8 values of 16 bits from each register, two of each thread; a thread has the address of a row."""
    rows = _addresses(warp, place)
    for number, register in enumerate(_names(value)):
        matrix = warp.read(register, np.uint8).reshape(8, 16)
        warp.block.memory.store(rows[8 * number : 8 * number + 8], matrix, warp.number)


def prefetch(opcode, warp, active, place, size):
    """To a cache, which the machine does not have; pieces of 16 bytes that lie within an array."""
    memory, addresses = _located(opcode, warp, place)
    for offset in (0, int(size) - 16):
        memory.places(addresses[active] + offset, 16)


def store_to_another_block(opcode, warp, active, place, value, barrier):
    addresses, barriers, values = _addresses(warp, place), _addresses(warp, barrier), _bytes(opcode, warp, value)
    assert np.unique(addresses[active]).size == active.sum(), "two threads write to one place"
    for lane in LANE[active]:
        warp.block.cluster.send(addresses[lane], values[lane], barriers[lane])


def address_in_another_block(opcode, warp, _, to, address, rank):
    kind = TYPES[opcode[-1]]
    rank = warp.read(rank, np.uint32).astype(kind)
    warp.write(to, warp.read(address, kind) + rank * kind(BLOCK) + kind(CLUSTER))


def copy_box(_, warp, active, place, box, barrier):
    """The copy engine, for one thread: a box of tiles from device memory, `swizzled` in shared memory."""
    (lane,) = LANE[active]
    tiles, size = warp.machine.tensor_map
    at = [int(warp.read(name, np.uint32)[lane]) for name in _names(box[box.index("{") : box.index("}")])][::-1]
    part = tiles[tuple(slice(start, start + count) for start, count in zip(at, size, strict=True))]
    assert part.shape == size, "out of bounds"
    target = int(_addresses(warp, place)[lane])
    block, signal = warp.block, block_barrier(warp, active, barrier)
    chunks = np.frombuffer(part.tobytes(), np.uint8).reshape(-1, 16)

    def arrive():
        block.memory.store(swizzled(target + 16 * np.arange(len(chunks)), 2 * tiles.shape[-1]), chunks, ENGINE)
        signal.complete(chunks.size)

    block.cluster.messages.append(arrive)


def swizzled(addresses: np.ndarray, width: int) -> np.ndarray:
    """Where a byte lies if rows of `width` bytes are swizzled: chunks of 16 change places, by the number of the row."""
    return addresses ^ (addresses >> 3 & width - 16)


# ---- barriers


def block_barrier(warp: Warp, active: np.ndarray, place: str) -> MemoryBarrier:
    (address,) = set(_addresses(warp, place)[active].tolist())
    return warp.block.barriers[address]


def begin_barrier(_, warp, active, place, count):
    (address,) = _addresses(warp, place)[active]
    (count,) = warp.read(count, np.uint32)[active]
    warp.block.barriers[int(address)] = MemoryBarrier(int(count))


def arrive(_, warp, active, token, place, count):
    for each in warp.read(count, np.uint32)[active]:
        block_barrier(warp, active, place).arrive(int(each))


def arrive_and_expect(_, warp, active, token, place, size):
    for each in warp.read(size, np.uint32)[active]:
        block_barrier(warp, active, place).arrive(1, int(each))


def wait_for_parity(_, warp, active, place, parity, *limit):
    barrier, parity = block_barrier(warp, active, place), int(warp.read(parity, np.uint32)[0])
    warp.waits = lambda: barrier.phase % 2 != parity


def meet(_, warp, active, number, count=None):
    meeting = warp.block.meetings.setdefault(int(warp.read(number, np.uint32)[0]), Meeting())
    warp.waits = meeting.arrive(LANES, warp.machine.program.threads if count is None else int(count))


def arrive_in_cluster(_, warp, active):
    program, meeting = warp.machine.program, warp.block.cluster.meeting
    warp.all_of_cluster_here = meeting.arrive(LANES, program.threads * program.cluster)


def wait_for_cluster(_, warp, active):
    warp.waits = warp.all_of_cluster_here


# ---- tensor cores


def multiply(opcode, warp, active, accumulators, a, b, sign_a, sign_b, *transpositions):
    """wgmma: D [64, N] += A [64, 16] B [16, N], of which this warp has 16 rows; A from registers, or shared memory.

    In shared memory both lie in tiles of eight swizzled rows; a descriptor has the first address, and the distance of
    the tiles.
    """
    columns, kind = int(opcode[4].removeprefix("m64n").removesuffix("k16")), TYPES[opcode[-1]]
    names = _names(accumulators)
    from_registers = a.startswith("{")
    # Of B the columns lie next to each other, of A in shared memory the terms of a sum.
    assert (sign_a, sign_b, *transpositions) == (("1", "1", "1") if from_registers else ("1", "1", "0", "1"))
    warp.in_flight.update(names)

    def compute():
        if from_registers:
            left = _from_fragment([warp.registers[name] for name in _names(a)], kind)
        else:
            left = _matrix(warp, a, kind, range(16 * (warp.number % 4), 16 * (warp.number % 4) + 16), 16)
        product = left.astype(np.float32) @ _matrix(warp, b, kind, range(16), columns).astype(np.float32)
        for number, part in enumerate(_to_fragment(product)):
            warp.registers[names[number]] = (warp.registers[names[number]].view(np.float32) + part).view(np.uint32)

    warp.products.append(compute)
    if warp.machine.random.random() < 0.5:  # now, or when somebody waits
        _compute(warp)


def wait_for_products(_, warp, active, groups):
    assert groups == "0"
    _compute(warp)
    warp.in_flight.clear()


def _compute(warp: Warp) -> None:
    for product in warp.products:
        product()
    warp.products.clear()


def _matrix(warp: Warp, descriptor: str, kind: Any, rows: range, columns: int) -> np.ndarray:
    """[rows, columns] from shared memory."""
    (descriptor,) = set(warp.read(descriptor, np.uint64).tolist())
    start, distance = (descriptor & 0x3FFF) << 4, (descriptor >> 32 & 0x3FFF) << 4
    width = {3: 32, 2: 64, 1: 128}[descriptor >> 62]
    assert 2 * columns == width
    row = np.array(rows)[:, None]
    addresses = start + row // 8 * distance + row % 8 * width + 16 * np.arange(columns // 8)
    found = warp.block.memory.load_for_tensor_cores(swizzled(addresses, width), 16, warp.number)
    return found.view(kind).reshape(len(rows), columns)


def _places() -> tuple[np.ndarray, np.ndarray]:
    """The rows and the first columns of what each thread of a warp has of a matrix [8, 8]: two values of a row."""
    return LANE // 4, LANE % 4 * 2


def _from_fragment(registers: list[np.ndarray], kind: Any) -> np.ndarray:
    """A [16, 16] from the four registers of each thread: two values in each, of a quarter of it."""
    matrix = np.empty((16, 16), kind)
    rows, columns = _places()
    for register, (down, right) in zip(registers, [(0, 0), (8, 0), (0, 8), (8, 8)], strict=True):
        pairs = register.view(kind).reshape(LANES, 2)
        for number in range(2):
            matrix[rows + down, columns + right + number] = pairs[:, number]
    return matrix


def _to_fragment(matrix: np.ndarray) -> list[np.ndarray]:
    """What each thread has of a matrix [16, N]: for eight columns two values of a row, and two of one below."""
    rows, columns = _places()
    return [
        matrix[rows + down, columns + right + number]
        for right in range(0, matrix.shape[1], 8)
        for down in (0, 8)
        for number in range(2)
    ]


# ---- operands


def _names(operand: str) -> list[str]:
    """Of the registers in braces, or of the one."""
    return [name.strip() for name in operand.strip("{}").split(",")]


def _addresses(warp: Warp, place: str) -> np.ndarray:
    """[%rd1+8] in each lane."""
    base, offset = re.fullmatch(r"\[(\w+|%\w+)(?:\+(-?\d+))?\]", place).groups()
    kind = np.uint64 if base.startswith("%rd") else np.uint32
    return warp.read(base, kind).astype(np.int64) + int(offset or 0)


def _located(opcode: tuple[str, ...], warp: Warp, place: str) -> tuple[Any, np.ndarray]:
    addresses = _addresses(warp, place)
    return (warp.block.memory, addresses) if "shared" in opcode else warp.machine.memory_at(addresses)


def _bytes(opcode: tuple[str, ...], warp: Warp, value: str) -> np.ndarray:
    """uint8 [32, size]."""
    return np.stack([warp.read(name, TYPES[opcode[-1]]) for name in _names(value)], axis=1).view(np.uint8)


# By the longest beginning of an opcode, before shorter ones.
OPERATIONS: dict[str, Callable[..., None]] = {
    "mov": move,
    "cvta": computes(lambda a: a),
    "cvt": convert,
    "add": computes(np.add),
    "sub": computes(np.subtract),
    "neg": computes(np.negative),
    "mul.wide": wide,
    "mul.bf16x2": of_pairs(np.multiply),
    "mul": computes(np.multiply),
    "mad.lo": computes(lambda a, b, c: a * b + c),
    "fma": computes(lambda a, b, c: a.astype(np.float64) * b + c),
    "tanh": computes(np.tanh),
    "ex2": computes(np.exp2),
    "rsqrt": computes(lambda a: 1 / np.sqrt(a)),
    "min": computes(np.minimum),
    "max": computes(np.maximum),
    "and": computes(np.bitwise_and),
    "or": computes(np.bitwise_or),
    "xor": computes(np.bitwise_xor),
    "shl": shift,
    "shr": shift,
    "bfe": extract,
    "setp": compare,
    "selp": select,
    "elect": elect,
    "shfl.sync.idx": shuffle,
    "shfl.sync.bfly": exchange,
    "bra": branch,
    "ret": end,
    "fence.proxy.async": show_tensor_cores,
    "fence": nothing,
    "ld.param": load_parameter,
    "ld": load,
    "st.async": store_to_another_block,
    "st": store,
    "stmatrix.sync.aligned.m8n8.x4.shared": store_matrices,
    "prefetch.tensormap": nothing,
    "mapa": address_in_another_block,
    "cp.async.bulk.tensor": copy_box,
    "cp.async.bulk.prefetch": prefetch,
    "mbarrier.init": begin_barrier,
    "mbarrier.arrive.expect_tx": arrive_and_expect,
    "mbarrier.arrive": arrive,
    "mbarrier.try_wait.parity": wait_for_parity,
    "bar.sync": meet,
    "barrier.cluster.arrive": arrive_in_cluster,
    "barrier.cluster.wait": wait_for_cluster,
    "wgmma.mma_async": multiply,
    "wgmma.wait_group": wait_for_products,
    "wgmma.commit_group": nothing,
    "wgmma.fence": nothing,
}
