"""A kernel's PTX as a list of instructions, for `ptx_machine`. Of the language it knows what Mosaic GPU writes."""

import re
from typing import NamedTuple

ENTRY = re.compile(
    r"\.visible \.entry \w+\((?P<parameters>.*?)\)\s*(?P<directives>.*?)\n\{(?P<body>.*?)\n\}", re.DOTALL
)

# Mosaic GPU waits for a barrier in a loop of its own, with labels that every such loop has.
WAIT = re.compile(r"\{[^{}]*?LAB_WAIT:\s*mbarrier\.(try_wait\.parity\S*) \w+, ([^;]*);[^{}]*?DONE:\s*\}")
# And it writes a predicate that is always true before each product.
PRODUCT = re.compile(r"\{\s*\.reg \.pred p; setp\.ne\.b32 p, 1, 0;\s*(wgmma\.mma_async[^;]*, )p,([^;]*);\s*\}")


class Instruction(NamedTuple):
    """@p0 ld.shared.v2.b32 {%r1, %r2}, [%rd3+8];"""

    text: str
    guard: str | None  # "%p0", "!%p0"
    opcode: tuple[str, ...]  # "ld", "shared", "v2", "b32"
    operands: tuple[str, ...]  # "{%r1, %r2}", "[%rd3+8]"


class Program(NamedTuple):
    """A kernel."""

    parameters: tuple[str, ...]
    threads: int  # of a block
    cluster: int  # blocks
    instructions: list[Instruction]
    labels: dict[str, int]  # to the number of the instruction that follows


def parse(text: str) -> Program:
    """The one kernel in `text`, whatever is said around it.

    Raises:
      ValueError: there is no kernel.
    """
    entry = ENTRY.search(re.sub(r"//[^\n]*", "", text))
    if entry is None:
        raise ValueError("expected the PTX of a kernel, got none")
    body = re.sub(r"\n\s*\.loc[^\n]*", "", entry["body"])
    body = PRODUCT.sub(r"\1\2;", WAIT.sub(r"mbarrier.\1 \2;", body))
    instructions: list[Instruction] = []
    labels = {}
    for statement in re.split(r";|(?<=:)\n", body):  # a label ends with its line
        statement = " ".join(statement.split())
        if label := re.fullmatch(r"(\$\w+):", statement):
            labels[label[1]] = len(instructions)
        elif statement and not statement.startswith("."):
            instructions.append(_instruction(statement))
    return Program(
        tuple(re.findall(r"\w+_param_\d+", entry["parameters"])),
        int(_directive("maxntid", entry["directives"]) or 0),
        int(_directive("reqnctapercluster", entry["directives"]) or 1),
        instructions,
        labels,
    )


def _directive(name: str, directives: str) -> str | None:
    found = re.search(rf"\.{name} (\d+)", directives)
    return found and found[1]


def _instruction(text: str) -> Instruction:
    guard, opcode, operands = re.fullmatch(r"(?:@(!?%\w+) )?(\S+) ?(.*)", text).groups()
    # Commas separate operands, but within brackets and braces.
    operands = re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[\s])+", operands)
    return Instruction(text, guard, tuple(re.split(r"::|\.", opcode)), tuple(operands))
