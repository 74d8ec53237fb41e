"""Flax NNX: `nnx.RNN(nnx.OptimizedLSTMCell(D, H))`, split and merged around `jax.jit`."""

from flax import nnx

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm import LSTMParams
from jaxlstm.interop import to_flax


def prepare(problem: Problem, which: str) -> Program:
    """One pass, compiled."""
    inputs, hidden = problem.params.w_x.shape[0], problem.params.w_h.shape[0]
    layer = nnx.RNN(nnx.OptimizedLSTMCell(inputs, hidden, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
    graph, weights, *others = nnx.split(layer, nnx.Param, ...)

    def convert(params: LSTMParams) -> nnx.State:
        state = nnx.clone(weights)
        nnx.replace_by_pure_dict(state, {"cell": to_flax(params, "nnx-optimized")})
        return state

    def apply(weights, xs):
        return nnx.merge(graph, weights, *others, copy=True)(xs)

    return compile_jax(Adapter(convert, apply), problem, which)
