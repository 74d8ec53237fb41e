"""What a GPU is asked to launch, read from the HLO text of a compiled program.

A loop over time whose steps are small takes about as long as its launches, some microseconds each: their number in a
turn of the loop predicts its time.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# Instructions that only name, group or wait for memory.
FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "add-dependency", "opt-barrier"),
    *("partition-id", "replica-id"),
}
WAITING = ("-done", "-update")  # the ends of what runs beside; its "-start" is the launch
COPIES = ("copy", "copy-start", "dynamic-slice", "dynamic-update-slice")
SCALARS = ("s32[]", "pred[]", "u32[]", "s64[]")  # results: the counter of a loop, its condition

HEADER = re.compile(r"^(ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^\s+(ROOT )?%?(?P<name>[\w.\-]+) = (?P<rest>.*)$")
OPCODE = re.compile(r"^(?P<type>\(.*?\)|\S+) (?P<opcode>[a-z][\w\-]*)\(")
REFERENCE = re.compile(r"\b(calls|to_apply|body|condition)=%?([\w.\-]+)")
TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
OP_NAME = re.compile(r'op_name="([^"]*)"')


class Instruction(NamedTuple):
    """A line of a computation."""

    name: str
    type: str
    opcode: str
    refers: dict[str, str]  # computations by role: calls, to_apply, body, condition
    line: str


class Launch(NamedTuple):
    """One thing that the device is asked to do."""

    kind: str  # "product", "kernel", "copy", or "counter" for the scalar that counts the turns
    name: str


class Loop(NamedTuple):
    """A loop without another inside."""

    op_name: str  # from the Python code: that of a backward pass holds "transpose"
    turns: int | None  # where the compiler knows; the condition then is not asked on the device
    launches: tuple[Launch, ...]  # of the body, in each turn
    condition: tuple[Launch, ...]


class Launches(NamedTuple):
    """Of a whole program."""

    loops: tuple[Loop, ...]
    total: int | None  # of one call, loops included; None where the turns of a loop are unknown


def read(text: str) -> Launches:
    """The launches of an optimised module."""
    entry, computations = parse(text)
    loops = tuple(loops_within(computations, entry))
    return Launches(loops, total(computations, entry))


def parse(text: str) -> tuple[str, dict[str, list[Instruction]]]:
    """The name of the entry, and the instructions of every computation.

    Raises:
      ValueError: there is no entry.
    """
    computations: dict[str, list[Instruction]] = {}
    entry, current = None, None
    for line in text.splitlines():
        if header := HEADER.match(line):
            current = computations.setdefault(header["name"], [])
            entry = header["name"] if line.startswith("ENTRY") else entry
        elif current is not None and (found := INSTRUCTION.match(line)):
            rest = re.sub(r"/\*.*?\*/", "", found["rest"])
            if opcode := OPCODE.match(flat_type(rest)):
                refers = dict(REFERENCE.findall(rest))
                current.append(Instruction(found["name"], opcode["type"], opcode["opcode"], refers, rest))
        elif line.startswith("}"):
            current = None
    if entry is None:
        raise ValueError("text: expected an HLO module with an ENTRY")
    return entry, computations


def flat_type(rest: str) -> str:
    """`((a, b), c) op(...)` as `(...) op(...)`: a nested type has no part in what is read."""
    if not rest.startswith("("):
        return rest
    depth = 0
    for position, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if not depth:
            return "(...)" + rest[position + 1 :]
    return rest


def launches_of(computations: dict[str, list[Instruction]], name: str) -> Iterator[Launch]:
    """Of one computation, without its loops."""
    for instruction in computations[name]:
        if instruction.opcode == "call":
            yield from launches_of(computations, instruction.refers["to_apply"])
        elif launches(instruction):
            yield Launch(kind(computations, instruction), instruction.name)


def launches(instruction: Instruction) -> bool:
    """Whether the device is asked for something."""
    opcode = instruction.opcode
    return opcode not in FREE and opcode != "while" and not opcode.endswith(WAITING)


def kind(computations: dict[str, list[Instruction]], instruction: Instruction) -> str:
    """Which kind of launch an instruction is: "product", "kernel", "copy" or "counter"."""
    if instruction.type in SCALARS:
        return "counter"
    within = {inner.opcode for inner in computations.get(instruction.refers.get("calls", ""), [])}
    if "dot" in within or '"__cublas' in instruction.line:
        return "product"
    if instruction.opcode in COPIES or (within and within <= FREE | set(COPIES)):
        return "copy"
    return "kernel"


def loops_within(computations: dict[str, list[Instruction]], name: str) -> Iterator[Loop]:
    """The innermost loops, in their order."""
    for instruction in computations[name]:
        if instruction.opcode == "call":
            yield from loops_within(computations, instruction.refers["to_apply"])
        if instruction.opcode != "while":
            continue
        body, condition = instruction.refers["body"], instruction.refers["condition"]
        inner = list(loops_within(computations, body))
        if inner:
            yield from inner
            continue
        op_name = OP_NAME.search(instruction.line)
        yield Loop(
            op_name[1] if op_name else "",
            turns(instruction),
            tuple(launches_of(computations, body)),
            tuple(launches_of(computations, condition)),
        )


def turns(loop: Instruction) -> int | None:
    """How often a loop runs, where the compiler knows."""
    found = TURNS.search(loop.line)
    return int(found[1]) if found else None


def total(computations: dict[str, list[Instruction]], name: str) -> int | None:
    """The launches of a computation, those of its loops as often as they turn."""
    count = sum(1 for _ in launches_of(computations, name))
    for instruction in computations[name]:
        if instruction.opcode != "while":
            continue
        inner, often = total(computations, instruction.refers["body"]), turns(instruction)
        if inner is None or often is None:
            return None
        count += often * inner
    return count
