"""What is deployed: a function with its parameters, what goes in and what comes out."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jax.typing import DTypeLike


class Input(NamedTuple):
    """One array that goes in."""

    shape: tuple[int | str, ...]  # a name stands for a size that may vary, such as ("batch", "time", 8)
    dtype: DTypeLike


class Model(NamedTuple):
    """A model that can be written for other runtimes."""

    apply: Callable[..., Any]  # (params, *inputs) -> an array, or a tuple of arrays
    params: Any
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]
    graph: Callable[..., Any] | None = None  # the same as ONNX nodes: (Graph, params, *names of inputs) -> names

    def check_outputs(self, count: int) -> None:
        """Raises ValueError unless there are as many names as outputs."""
        if count != len(self.outputs):
            raise ValueError(f"model.outputs: expected {count} names, got {', '.join(self.outputs)}")
