"""Flax NNX: `nnx.RNN(nnx.OptimizedLSTMCell(D, H))`, split and merged around `jax.jit`."""

from flax import nnx

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm import LSTMParams


def prepare(problem: Problem, which: str) -> Program:
    """One pass, compiled."""
    inputs, hidden = problem.params.w_x.shape[0], problem.params.w_h.shape[0]
    layer = nnx.RNN(nnx.OptimizedLSTMCell(inputs, hidden, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
    graph, weights, *others = nnx.split(layer, nnx.Param, ...)

    def convert(params: LSTMParams) -> nnx.State:
        pure = {
            "cell": {
                "dense_i": {"kernel": params.w_x},
                "dense_h": {"kernel": params.w_h, "bias": params.b},
            }
        }
        state = nnx.clone(weights)
        nnx.replace_by_pure_dict(state, pure)
        return state

    def apply(weights, xs):
        return nnx.merge(graph, weights, *others, copy=True)(xs)

    return compile_jax(Adapter(convert, apply), problem, which)
