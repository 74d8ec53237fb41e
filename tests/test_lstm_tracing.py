"""When `lstm` is traced and compiled anew, and when it is not."""

import chex
import jax
import numpy as np
from problem import draw
from tracing import counting_tanh

from jaxlstm import lstm


def test_outside_of_jit_a_shape_is_traced_once():
    tanh = counting_tanh()

    def traced_by(problem, **options):
        before = tanh.calls
        lstm(*problem[:3], activation=tanh, **options)
        return tanh.calls > before

    for steps in (7, 8):
        assert traced_by(draw(steps=steps, dtype=np.float32))
        assert not traced_by(draw(steps=steps, dtype=np.float32, seed=1))
    assert not traced_by(draw(steps=7, dtype=np.float32))
    problem = draw(dtype=np.float32)
    assert traced_by(problem, lengths=[7, 0, 3])
    assert not traced_by(problem, lengths=[1, 2, 7])  # the lengths are data
    assert traced_by(problem, mask=np.ones((3, 7), bool))
    assert not traced_by(problem, mask=np.zeros((3, 7), bool))
    assert traced_by(problem, reverse=True)
    assert not traced_by(problem, reverse=True)


def test_outside_of_jit_a_gradient_is_traced_once():
    tanh = counting_tanh()
    problem = draw(dtype=np.float32)

    def loss(problem):
        return lstm(*problem[:3], activation=tanh)[1].sum()

    jax.grad(loss)(problem)
    first = tanh.calls
    jax.grad(loss)(problem)
    assert tanh.calls == first


def test_under_jit_a_training_step_is_traced_once_for_each_shape():
    @jax.jit
    @chex.assert_max_traces(n=2)
    def step(params, xs, lengths):
        return jax.grad(lambda params: lstm(params, xs, lengths=lengths)[1].sum())(params)

    for seed in range(3):
        for steps in (7, 9):
            problem = draw(steps=steps, dtype=np.float32, seed=seed)
            step(problem.params, problem.xs, np.array([seed, 7, 0]))


def test_a_step_is_traced_once_however_many_there_are():
    # A loop over steps in Python would trace the activation for each of them.
    counts = []
    for steps in (2, 200):
        tanh = counting_tanh()
        lstm(*draw(steps=steps, dtype=np.float32)[:3], activation=tanh)
        counts.append(tanh.calls)
    assert counts[0] == counts[1]
