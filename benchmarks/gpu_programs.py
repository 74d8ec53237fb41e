"""What `gpu_check` times: one pass of one library, as calls that are started together and waited for once."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.memory import temporary_bytes
from benchmarks.programs import pass_of
from benchmarks.shapes import Shape
from jaxlstm import init_lstm, lstm


class Case(NamedTuple):
    """One pass of one library at one shape."""

    shape_name: str
    shape: Shape
    which: str  # of `programs.PASSES`; training is the outputs, and the gradients of weights and inputs
    library: str
    implementation: str
    dtype: str
    variant: str = ""
    options: Mapping[str, Any] = MappingProxyType({})  # precision, unroll, compiler_options

    @property
    def name(self) -> str:
        """In one line."""
        parts = (self.shape_name, self.which, self.library, self.implementation, self.dtype, self.variant)
        return " ".join(part for part in parts if part)

    def about(self) -> dict[str, Any]:
        """For the result."""
        return {
            "shape": self.shape_name,
            **self.shape._asdict(),
            "pass": self.which,
            "library": self.library,
            "implementation": self.implementation,
            "dtype": self.dtype,
            "variant": self.variant,
        }


class Call(NamedTuple):
    """A pass, ready to run."""

    several: Callable[[int], float]  # runs it so often; the seconds that all took
    temporary_bytes: int | None


class Layer(NamedTuple):
    """A layer of a JAX library."""

    apply: Callable[[Any, Any], Any]  # (weights, xs) -> ys
    weights: Any


def jaxlstm_layer(case: Case) -> Layer:
    """`jaxlstm.lstm`."""
    implementation = None if case.implementation == "default" else case.implementation

    def apply(params, xs):
        return lstm(params, xs, implementation=implementation, unroll=case.options.get("unroll"))[1]

    params = init_lstm(jax.random.key(0), case.shape.inputs, case.shape.hidden, dtype=jnp.dtype(case.dtype))
    return Layer(apply, params)


def flax_layer(case: Case) -> Layer:
    """`nn.RNN(nn.OptimizedLSTMCell(H))`."""
    from flax import linen as nn

    dtype = jnp.dtype(case.dtype)
    layer = nn.RNN(nn.OptimizedLSTMCell(case.shape.hidden, dtype=dtype))  # its parameters are drawn in float32 alone
    batch, steps, inputs, _ = case.shape
    return Layer(layer.apply, layer.init(jax.random.key(0), jnp.zeros((batch, steps, inputs), dtype)))


LAYERS = {"jaxlstm": jaxlstm_layer, "flax": flax_layer}


def program(case: Case) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The pass of a JAX library as a function, and its arguments."""
    apply, weights = LAYERS[case.library](case)
    batch, steps, inputs, hidden = case.shape
    keys = jax.random.split(jax.random.key(1))
    xs = jax.random.normal(keys[0], (batch, steps, inputs), case.dtype)
    d_ys = jax.random.normal(keys[1], (batch, steps, hidden), case.dtype)
    return pass_of(case.which, apply, weights, xs, d_ys)


def jax_call(case: Case) -> Call:
    """A pass of a JAX library."""
    function, arguments = program(case)
    with jax.default_matmul_precision(case.options.get("precision")):
        lowered = jax.jit(function).lower(*arguments)
    compiled = lowered.compile(compiler_options=case.options.get("compiler_options"))

    def several(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            result = compiled(*arguments)
        jax.block_until_ready(result)
        return time.perf_counter() - start

    return Call(several, temporary_bytes(compiled))


def torch_call(case: Case) -> Call:
    """`torch.nn.LSTM(batch_first=True)`: cuDNN on a GPU."""
    import torch

    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    torch.backends.cudnn.allow_tf32 = case.options.get("precision") != "highest"
    batch, steps, inputs, hidden = case.shape
    dtype = getattr(torch, case.dtype)
    layer = torch.nn.LSTM(inputs, hidden, batch_first=True).to(device, dtype)
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return torch.from_numpy(rng.standard_normal(shape, np.float32)).to(device, dtype)

    xs, d_ys = normal(batch, steps, inputs), normal(batch, steps, hidden)
    leaves = (*layer.parameters(), xs)
    if case.which == "train":
        xs.requires_grad_()

    def once() -> Any:
        if case.which == "train":
            return torch.autograd.grad(layer(xs)[0], leaves, d_ys)
        with torch.inference_mode():
            return layer(xs)

    def several(count: int) -> float:
        if device == "cpu":
            start = time.perf_counter()
            for _ in range(count):
                once()
            return time.perf_counter() - start
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(count):
            once()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    return Call(several, None)
