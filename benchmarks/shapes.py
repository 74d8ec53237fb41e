"""The named shapes: those of the five systems, larger ones, and sweeps around one in the middle.

Defined once, so that what is tested is what is timed.
"""

from typing import NamedTuple


class Shape(NamedTuple):
    """A batch of sequences through one layer."""

    batch: int  # B
    steps: int  # T
    inputs: int  # D
    hidden: int  # H

    def __str__(self) -> str:
        return f"batch {self.batch}, steps {self.steps}, inputs {self.inputs}, hidden {self.hidden}"


SHAPES = {
    "echo": Shape(64, 50, 100, 25),
    "single": Shape(1, 50, 100, 25),  # one sequence at a time, as the original echo trained
    "langid": Shape(128, 5, 44, 128),
    "sentiment": Shape(32, 80, 128, 128),
    "cumsum": Shape(32, 10, 1, 20),
    "medium": Shape(64, 128, 256, 256),
    "large": Shape(32, 256, 512, 512),
    "long": Shape(16, 1024, 256, 256),
    "flashrnn": Shape(16, 1024, 768, 768),
}

TINY = Shape(3, 5, 4, 8)  # for programs that are only to be tried

QUICK = ("echo", "langid", "sentiment", "cumsum", "medium")
FULL = (*QUICK, "large", "long")
GPU_ONLY = ("flashrnn",)  # by default; by name it runs anywhere

Sweeps = dict[str, tuple[int, ...]]  # the sizes by the axis that they vary: T, B or H

# One size at a time is varied around MIDDLE; D goes with H, as between the layers of a stack.
MIDDLE = Shape(32, 64, 128, 128)
QUICK_SWEEPS: Sweeps = {"T": (16, 64, 256), "B": (4, 32, 128), "H": (32, 128, 256)}
FULL_SWEEPS: Sweeps = {"T": (16, 64, 256, 1024), "B": (1, 4, 16, 32, 64, 256), "H": (16, 32, 64, 128, 256, 512)}


def sweep_shapes(sweeps: Sweeps) -> dict[str, Shape]:
    """MIDDLE, and each shape that differs from it in one size: {"middle": ..., "T=16": ...}."""
    shapes = {"middle": MIDDLE}
    for axis, sizes in sweeps.items():
        for size in sizes:
            match axis:
                case "T":
                    shape = MIDDLE._replace(steps=size)
                case "B":
                    shape = MIDDLE._replace(batch=size)
                case "H":
                    shape = MIDDLE._replace(inputs=size, hidden=size)
            if shape != MIDDLE:
                shapes[f"{axis}={size}"] = shape
    return shapes
