"""The floor: the bare matrix products of the same pass, in the fastest library at hand.

No gates, no state, no copies. It is no lower bound: a layer whose chunks of steps stay in the cache may take less
time. With z [B, T, 4H] the preactivations:

    forward    xs W_x in one product; h W_h in one thin product for each step
    train      those; dz W_h^T in one thin product for each step; then xs^T dz, h^T dz and dz W_x^T

Nothing is computed that means anything: the thin products read fixed arrays.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import cores, installed
from benchmarks.programs import Problem, Program

Build = Callable[[Problem, str], Callable[[], Any]]


def products(xp: Any, empty: Callable[..., Any], xs: Any, w_x: Any, w_h: Any, train: bool) -> Callable[[], Any]:
    """The products for a library `xp` whose `matmul` writes into arrays given as `out`."""
    batch, steps, inputs = xs.shape
    hidden = w_h.shape[0]
    xs = xs.reshape(batch * steps, inputs)
    z = empty(steps, batch, 4 * hidden)
    hs = empty(steps, batch, hidden) + 1  # W_h W_h^T = I for fresh weights, so that they stay as they are
    z_flat, hs_flat = z.reshape(-1, 4 * hidden), hs.reshape(-1, hidden)
    d_w_x, d_w_h, d_xs = empty(*w_x.shape), empty(*w_h.shape), empty(*xs.shape)
    thin = [(hs[t], z[t]) for t in range(steps)]

    def run():
        xp.matmul(xs, w_x, out=z_flat)
        for h, z_t in thin:
            xp.matmul(h, w_h, out=z_t)
        if train:
            for d_h, d_z in thin:
                xp.matmul(d_z, w_h.T, out=d_h)
            xp.matmul(xs.T, z_flat, out=d_w_x)
            xp.matmul(hs_flat.T, z_flat, out=d_w_h)
            xp.matmul(z_flat, w_x.T, out=d_xs)

    return run


def in_torch(problem: Problem, which: str) -> Callable[[], Any]:
    """With torch, on the device of its LSTM."""
    import torch

    from benchmarks.rivals.torch_lstm import device, synchronised, tensor

    if device().type == "cpu":
        torch.set_num_threads(cores())

    def empty(*shape):
        return torch.zeros(shape, device=device())

    xs, w_x, w_h = map(tensor, (problem.xs, problem.params.w_x, problem.params.w_h))
    run = products(torch, empty, xs, w_x, w_h, which == "train")
    return lambda: synchronised(run())


def in_numpy(problem: Problem, which: str) -> Callable[[], Any]:
    """With NumPy and the BLAS that it brings."""
    xs, w_x, w_h = map(np.asarray, (problem.xs, problem.params.w_x, problem.params.w_h))
    return products(np, lambda *shape: np.zeros(shape, np.float32), xs, w_x, w_h, which == "train")


def in_jax(problem: Problem, which: str) -> Callable[[], Any]:
    """With JAX, one scan for each direction."""
    batch, steps, _ = problem.xs.shape
    hidden = problem.params.w_h.shape[0]

    def run(xs, w_x, w_h, hs, d_z):
        over_steps = jax.lax.scan(lambda _, h: (None, h @ w_h), None, hs)[1]
        results = [jnp.einsum("btd,dg->tbg", xs, w_x), over_steps]
        if which == "train":
            results += [
                jax.lax.scan(lambda _, d_z: (None, d_z @ w_h.T), None, d_z)[1],
                jnp.einsum("btd,tbg->dg", xs, d_z),
                jnp.einsum("tbh,tbg->hg", hs, d_z),
                jnp.einsum("tbg,dg->btd", d_z, w_x),
            ]
        return results

    z = jnp.ones((steps, batch, 4 * hidden), problem.xs.dtype)
    arguments = (problem.xs, problem.params.w_x, problem.params.w_h, z[..., :hidden], z)
    compiled = jax.jit(run).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def prepare(problem: Problem, which: str) -> Program:
    """The products in whichever library does them fastest here."""
    builds: list[Build] = [in_jax]
    if jax.default_backend() == "cpu":
        builds.append(in_numpy)
    if installed("torch"):
        builds.append(in_torch)
    runs = [build(problem, which) for build in builds]
    best = min(runs, key=fastest_of_three)
    start = time.perf_counter()
    best()
    return Program(best, time.perf_counter() - start, None, outputs=None)


def fastest_of_three(run: Callable[[], Any]) -> float:
    """Seconds, after one call that does not count."""
    run()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
