"""A machine that runs the PTX of a kernel: blocks in clusters, warps in an order drawn at random.

What a GPU leaves open is drawn as well: how long a message to another block takes, and whether the tensor cores
compute at once or when they are waited for. What a program may not rely on raises: memory that nobody has written,
accumulators before the wait, an address out of bounds, a message to a block that has ended, warps that wait for ever,
and writes that the tensor cores need not see yet. It knows no time and no memory model beyond that.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from ptx_program import Program

LANES = 32
SHARED_BYTES = 227 * 1024  # what a block of an H100 may have
GLOBAL, CLUSTER = 1 << 44, 1 << 30  # where addresses of device memory, and of other blocks' shared memory, begin
REGION = 1 << 32  # of one array in device memory
BLOCK = 1 << 24  # of one block in the cluster's shared memory
MESSAGE, ENGINE = -2, -1  # who writes, beside the warps by their numbers: another block, the copy engine


class Memory:
    """Bytes, which of them have been written, and of each who has written it, between which of the warps' fences."""

    def __init__(self, data: np.ndarray, written: bool):
        self.bytes, self.written = data, np.full(data.size, written)
        self.writers, self.times = np.full(data.size, ENGINE, np.int8), np.zeros(data.size, np.int32)
        self.clock = 0
        self.fences = np.zeros(LANES + 2)  # the last of each warp; a block has up to 32
        self.fences[ENGINE] = np.inf

    def places(self, addresses: np.ndarray, size: int) -> np.ndarray:
        """The indices of `size` bytes at each address."""
        addresses = np.asarray(addresses).astype(np.int64)
        assert not (addresses % size).any(), "an address that is not aligned"
        assert ((addresses >= 0) & (addresses + size <= self.bytes.size)).all(), "out of bounds"
        return addresses[..., None] + np.arange(size)

    def load(self, addresses: np.ndarray, size: int) -> np.ndarray:
        """uint8 [..., size]."""
        places = self.places(addresses, size)
        assert self.written[places].all(), "memory that nobody has written"
        return self.bytes[places]

    def load_for_tensor_cores(self, addresses: np.ndarray, size: int, warp: int) -> np.ndarray:
        """As `load`. They see what came before a fence of the warp that wrote it, or of the one that asks."""
        places = self.places(addresses, size)
        fences = np.maximum(self.fences[self.writers[places]], self.fences[warp])
        found = self.load(addresses, size)
        assert (self.times[places] < fences).all(), "the tensor cores read what no fence has shown them"
        return found

    def store(self, addresses: np.ndarray, values: np.ndarray, writer: int) -> None:
        """Values uint8 [..., size]."""
        places = self.places(addresses, values.shape[-1])
        assert np.unique(places).size == places.size, "two threads write to one place"
        self.bytes[places], self.written[places] = values, True
        self.writers[places], self.times[places] = writer, self.clock

    def fence(self, warp: int) -> None:
        """Between what threads write and what the tensor cores read."""
        self.clock += 1
        self.fences[warp] = self.clock


class MemoryBarrier:
    """An mbarrier: a phase ends where all arrivals and all bytes that were expected are there."""

    def __init__(self, count: int):
        self.count = self.pending = count
        self.bytes = self.phase = 0

    def arrive(self, count: int, expected_bytes: int = 0) -> None:
        """Of `count` threads."""
        assert count <= self.pending, "more arrivals than the barrier expects"
        self.pending -= count
        self.complete(-expected_bytes)

    def complete(self, count: int) -> None:
        """Bytes that have come."""
        self.bytes -= count
        if not self.pending and not self.bytes:
            self.phase += 1
            self.pending = self.count


class Meeting:
    """A barrier at which warps wait for each other, again and again."""

    def __init__(self):
        self.here = self.times = 0

    def arrive(self, count: int, of: int) -> Callable[[], bool]:
        """What tells whether all have come."""
        time = self.times
        self.here += count
        if self.here == of:
            self.here, self.times = 0, time + 1
        return lambda: self.times > time


class TensorMap(NamedTuple):
    """What the copy engine knows: an array in tiles, [..., 8, columns], of which it copies boxes to shared memory."""

    tiles: np.ndarray
    box: tuple[int, ...]  # as many tiles along each axis


class Block:
    """What the warps of a block share."""

    def __init__(self, cluster: "Cluster", rank: int, number: int):
        self.cluster, self.rank, self.number = cluster, rank, number
        self.memory = Memory(np.zeros(SHARED_BYTES, np.uint8), written=False)
        self.barriers: dict[int, MemoryBarrier] = {}  # by address
        self.meetings: dict[int, Meeting] = {}  # by number
        self.ended = False


class Cluster:
    """Blocks that reach each other's shared memory, and the messages between them that are on their way."""

    def __init__(self, size: int, first: int):
        self.blocks = [Block(self, rank, first + rank) for rank in range(size)]
        self.meeting = Meeting()
        self.messages: list[Callable[[], None]] = []

    def locate(self, address: int) -> tuple[Block, int]:
        """The block whose shared memory it is, and the address there."""
        rank, offset = divmod(int(address) - CLUSTER, BLOCK)
        return self.blocks[rank], offset

    def send(self, address: int, value: np.ndarray, barrier: int) -> None:
        """`st.async`: the value arrives some time, and its bytes are counted at a barrier of the same block."""
        (block, place), (told, signal) = self.locate(address), self.locate(barrier)
        assert block is told, "the barrier of another block"

        def arrive():
            assert not block.ended, "a message to a block that has ended"
            block.memory.store(np.array(place), value, MESSAGE)
            block.barriers[signal].complete(value.size)

        self.messages.append(arrive)


class Warp:
    """32 threads that walk together, with a value of each in every register."""

    def __init__(self, machine: "Machine", block: Block, number: int):
        self.machine, self.block, self.number = machine, block, number
        threads = number * LANES + np.arange(LANES)
        ids = {"%tid.x": threads, "%ctaid.x": block.number, "%cluster_ctaid.x": block.rank}
        self.registers = {name: np.array(np.broadcast_to(each, LANES), np.uint32) for name, each in ids.items()}
        self.next = 0
        self.waits: Callable[[], bool] | None = None  # until this is true
        self.all_of_cluster_here: Callable[[], bool] | None = None  # of the last time that it came
        self.ended = False
        self.products: list[Callable[[], None]] = []  # that the tensor cores have not computed yet
        self.in_flight: set[str] = set()  # the accumulators of what was asked for

    def read(self, operand: str, kind: Any) -> np.ndarray:
        """A register, or a constant, as an array [32] of a NumPy type of the same size."""
        assert operand not in self.in_flight, "an accumulator is read before the wait"
        if operand in self.registers:
            return self.registers[operand].view(kind)
        kind = np.dtype(kind)
        if operand.startswith("0f"):
            return np.full(LANES, int(operand[2:], 16), np.uint32).view(kind)
        if operand.startswith("__dynamic_shmem") or operand in self.machine.program.parameters:
            return np.zeros(LANES, kind)
        value = int(operand) % (1 << 8 * kind.itemsize)
        return np.full(LANES, value, f"u{kind.itemsize}").view(kind)

    def write(self, register: str, value: np.ndarray) -> None:
        """An array [32]."""
        assert register not in self.in_flight, "an accumulator is written before the wait"
        self.registers[register] = np.array(value)


class Machine:
    """A kernel, and the arrays that it is given."""

    def __init__(
        self, program: Program, arrays: list[tuple[np.ndarray, bool]], tensor_map: TensorMap | None, seed: int
    ):
        """`arrays` in the order of the kernel's parameters, each with whether it holds anything yet."""
        self.program, self.tensor_map, self.random = program, tensor_map, random.Random(seed)
        self.memories = [Memory(array.reshape(-1).view(np.uint8), written) for array, written in arrays]

    def address_of(self, parameter: int) -> int:
        """Where the array begins."""
        return GLOBAL + parameter * REGION

    def memory_at(self, addresses: np.ndarray) -> tuple[Memory, np.ndarray]:
        """The array in device memory that these addresses are of, and the offsets there."""
        number, offsets = np.divmod(addresses.astype(np.int64) - GLOBAL, REGION)
        assert (number == number[0]).all(), "out of bounds"
        return self.memories[number[0]], offsets

    def run(self, blocks: int, execute: Callable[[Warp, Any], None]) -> None:
        """All blocks, a cluster after another; `execute` does one instruction of a warp."""
        for first in range(0, blocks, self.program.cluster):
            cluster = Cluster(self.program.cluster, first)
            warps = [
                Warp(self, block, number) for block in cluster.blocks for number in range(self.program.threads // LANES)
            ]
            while warps:
                ready = [warp for warp in warps if warp.waits is None or warp.waits()]
                assert ready or cluster.messages, "all that are left wait for each other"
                if cluster.messages and (not ready or self.random.random() < 0.5):
                    for _ in range(self.random.randint(1, len(cluster.messages))):
                        number = self.random.randrange(len(cluster.messages))
                        cluster.messages.pop(number)()
                    continue
                self._walk(self.random.choice(ready), execute)
                warps = [warp for warp in warps if not warp.ended]
                for block in cluster.blocks:
                    block.ended = all(warp.block is not block for warp in warps)
            assert not cluster.messages, "messages are on their way when all have ended"

    def _walk(self, warp: Warp, execute: Callable[[Warp, Any], None]) -> None:
        """Some instructions, until it has to wait."""
        warp.waits = None
        for _ in range(self.random.choice([5, 50, 500, 5000])):
            instruction = self.program.instructions[warp.next]
            warp.next += 1
            try:
                execute(warp, instruction)
            except Exception as error:
                error.add_note(f"block {warp.block.rank}, warp {warp.number}: {instruction.text}")
                raise
            if warp.waits is not None or warp.ended:
                return
