"""The recurrence however it is walked: in chunks of any size, linearised within the loop or after it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import HOLES
from compare import assert_close
from problem import Problem, draw, draw_like

from jaxlstm import init_lstm, lstm
from jaxlstm.implementations import deciding_for
from jaxlstm.layout import layout_of
from jaxlstm.recurrence import Walk, recurrence
from jaxlstm.schedule import chunk_of, unroll_of

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

STEPS = 7


@partial(jax.jit, static_argnums=0)
def everything(walk: Walk, problem: Problem, mask, tangents: Problem):
    """Outputs, their movement along the tangents, the gradient of their squares, and how that one moves."""

    def run(problem):
        return recurrence(walk, problem.params, problem.xs, problem.state, mask, problem.h_scale)

    def loss(problem):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(run(problem)))

    return jax.jvp(run, (problem,), (tangents,)), jax.jvp(jax.grad(loss), (problem,), (tangents,))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("chunk", "linearised_after"), [(1, False), (2, False), (3, False), (6, False), (7, True), (3, True)]
)
def test_any_way_to_walk_is_the_same(chunk, linearised_after, reverse, masked):
    problem = draw()
    problem = problem._replace(xs=jnp.swapaxes(problem.xs, 0, 1))
    mask = jnp.asarray(HOLES.T) if masked else None
    one = Walk(jnp.tanh, reverse, unroll=1, chunk=STEPS, linearised_after=False)
    tangents = draw_like(problem)
    actual = everything(one._replace(chunk=chunk, linearised_after=linearised_after), problem, mask, tangents)
    assert_close(actual, everything(one, problem, mask, tangents), 1e-12)


@pytest.mark.parametrize(
    ("shape", "chunk"),
    [
        ((64, 128, 256, 256), 8),  # 640 rows are 10 steps; 8 divides 128
        ((16, 1024, 256, 256), 32),
        ((32, 80, 128, 128), 20),
        ((40, 211, 8, 64), 16),  # no divisor of 211 is near
        ((1, 50, 100, 25), 50),  # small enough for one product
        ((512, 20, 64, 64), 20),  # too few steps for four chunks
        ((0, 1000, 64, 64), 1000),
    ],
)
def test_chunks_on_a_cpu(shape, chunk):
    batch, steps, input_size, hidden_size = shape
    xs = jax.ShapeDtypeStruct((steps, batch, input_size), np.float32)
    params = jax.eval_shape(partial(init_lstm, input_size=input_size, hidden_size=hidden_size), jax.random.key(0))
    assert chunk_of(xs, params, "cpu") == chunk
    assert chunk_of(xs, params, "cuda") == steps  # whatever this machine has


@pytest.mark.parametrize(
    ("steps", "segment", "on_a_cpu", "on_a_gpu"),
    [(8, 0, 8, 8), (9, 0, 1, 1), (10, 0, 1, 2), (500, 0, 1, 4), (500, 22, 1, 2), (500, 25, 1, 1)],
)
def test_unroll(steps, segment, on_a_cpu, on_a_gpu):
    layout = layout_of(jax.ShapeDtypeStruct((3, steps, 5), np.float32), time_major=False)
    assert unroll_of(None, layout, "cpu", segment) == on_a_cpu
    assert unroll_of(None, layout, "cuda", segment) == unroll_of(None, layout, "rocm", segment) == on_a_gpu
    assert unroll_of(3, layout, "cuda", segment) == 3


def test_a_gpu_takes_several_unroll_of():
    problem = draw(steps=12)

    def loss(problem):
        return jnp.sum(jnp.sin(lstm(*problem[:3])[1]))

    expected = jax.jit(jax.grad(loss))(problem)
    with deciding_for("cuda"):
        gradient = jax.jit(jax.grad(lambda problem: loss(problem)))  # a function of its own is traced anew
        assert str(gradient.trace(problem).jaxpr).count("unroll=4") == 2
        assert_close(gradient(problem), expected, 1e-12)
