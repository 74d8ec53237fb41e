"""Keras 3 on JAX: `keras.layers.LSTM`, called through `stateless_call` under `jax.jit`."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # read once, when keras is imported

import keras

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm.interop import to_keras


def prepare(problem: Problem, which: str) -> Program:
    """One pass, compiled."""
    layer = keras.layers.LSTM(problem.params.w_h.shape[0], return_sequences=True)
    layer.build((None, *problem.xs.shape[1:]))
    others = [variable.value for variable in layer.non_trainable_variables]  # the seed of the dropout

    def apply(weights, xs):
        ys, _ = layer.stateless_call(weights, others, xs)
        return ys

    return compile_jax(Adapter(to_keras, apply), problem, which)
