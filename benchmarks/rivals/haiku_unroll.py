"""Haiku: `hk.dynamic_unroll` over `hk.LSTM`."""

import haiku as hk
import jax.numpy as jnp

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm import LSTMParams


def convert(params: LSTMParams) -> dict:
    """One matrix for [x, h], gates in the order i, g, f, o, and a forget bias that Haiku adds 1 to."""

    def reorder(leaf):
        i, f, g, o = jnp.split(leaf, 4, axis=-1)
        return jnp.concatenate([i, g, f, o], axis=-1)

    i, f, g, o = jnp.split(params.b, 4)
    w = reorder(jnp.concatenate([params.w_x, params.w_h]))
    return {"lstm/linear": {"w": w, "b": jnp.concatenate([i, g, f - 1, o])}}


def prepare(problem: Problem, which: str) -> Program:
    """One pass, compiled."""

    def unroll(xs):
        core = hk.LSTM(problem.params.w_h.shape[0])
        ys, _ = hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[0]), time_major=False)
        return ys

    transformed = hk.transform(unroll)

    def apply(weights, xs):
        return transformed.apply(weights, None, xs)  # it draws nothing at random

    return compile_jax(Adapter(convert, apply), problem, which)
