"""What fits: a shape that does not is skipped with a line, before the machine starts to swap."""

from typing import Any

from benchmarks.machine import free_bytes
from benchmarks.shapes import Shape
from jaxlstm.errors import UserError


class DoesNotFitError(UserError):
    """A pass needs more memory than there is."""


def training_bytes(shape: Shape, itemsize: int = 4) -> int:
    """What a training pass holds at its height, in whatever library.

    Inputs and outputs with their gradients, gates, their gradients and the cell state for every
    step, and all of it once more: a library keeps its projected inputs or a transposed copy.
    """
    batch, steps, inputs, hidden = shape
    over_steps = batch * steps * (2 * inputs + 2 * hidden + 8 * hidden + hidden)
    weights = 2 * 4 * hidden * (inputs + hidden + 1)
    return 2 * (over_steps + weights) * itemsize


def check_fits(needed: int) -> None:
    """Compares what a pass needs, in bytes, with what is free.

    Raises:
      DoesNotFitError: it is more.
    """
    free = free_bytes()
    if needed > free:
        raise DoesNotFitError(f"it needs about {needed / 2**30:.3g} GiB, {free / 2**30:.3g} GiB are free")


def temporary_bytes(compiled: Any) -> int | None:
    """What a compiled program needs beside its arguments and results; None where the platform does not say."""
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, in the words of NumPy, JAX or torch."""
    words = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)
