"""PyTorch: `torch.nn.LSTM(batch_first=True)` on all cores, or on the GPU if JAX has one."""

import time
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.machine import cores
from benchmarks.programs import Problem, Program
from jaxlstm import LSTMParams
from jaxlstm.interop import torch_arrays


def device() -> torch.device:
    """The GPU where JAX computes on one, the CPU otherwise."""
    return torch.device("cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu")


def tensor(array: jax.Array) -> torch.Tensor:
    """A copy on torch's device."""
    return torch.from_numpy(np.array(array)).to(device())


def convert(params: LSTMParams) -> dict[str, Any]:
    """The state dict of one layer. Its second bias is a constant zero."""
    return torch_arrays((params,))


def prepare(problem: Problem, which: str) -> Program:
    """One pass, called once."""
    if device().type == "cpu":
        torch.set_num_threads(cores())
    inputs, hidden = problem.params.w_x.shape[0], problem.params.w_h.shape[0]
    layer = torch.nn.LSTM(inputs, hidden, batch_first=True).to(device())
    weights, pull_back = jax.vjp(convert, problem.params)
    layer.load_state_dict({name: tensor(array) for name, array in weights.items()})
    names, leaves = zip(*layer.named_parameters(), strict=True)
    xs, d_ys = tensor(problem.xs), tensor(problem.d_ys)

    def forward():
        with torch.inference_mode():
            ys = layer(xs)[0]
        return synchronised(ys)

    def train():
        ys = layer(xs)[0]
        return synchronised((ys.detach(), *torch.autograd.grad(ys, (*leaves, xs), d_ys)))

    def outputs(result):
        if which == "forward":
            return result.cpu().numpy()
        ys, *d_weights, d_xs = (array.cpu().numpy() for array in result)
        return ys, pull_back(dict(zip(names, d_weights, strict=True)))[0], d_xs

    if which == "train":
        xs.requires_grad_()
    run = forward if which == "forward" else train
    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if device().type == "cuda" else None
    return Program(run, seconds, peak, outputs)


def synchronised(result: Any) -> Any:
    """The result, once it is there."""
    if device().type == "cuda":
        torch.cuda.synchronize()
    return result
