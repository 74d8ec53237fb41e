"""The recurrence however it is walked: in chunks of any size, linearised within the loop or after it."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from cases import HOLES
from compare import assert_close
from derivatives import everything
from problem import Problem, draw, draw_like

from jaxlstm import lstm
from jaxlstm.implementations import deciding_for
from jaxlstm.recurrence import Walk, recurrence

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

STEPS = 7


@partial(jax.jit, static_argnums=0)
def derivatives(walk: Walk, problem: Problem, mask, tangents: Problem):
    def run(problem):
        return recurrence(walk, problem.params, problem.xs, problem.state, mask, problem.h_scale)

    return everything(run, problem, tangents)


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
    actual = derivatives(one._replace(chunk=chunk, linearised_after=linearised_after), problem, mask, tangents)
    assert_close(actual, derivatives(one, problem, mask, tangents), 1e-12)


def test_a_gpu_takes_several_steps_in_an_iteration():
    problem = draw(steps=12)

    def loss(problem):
        return jnp.sum(jnp.sin(lstm(*problem[:3])[1]))

    expected = jax.jit(jax.grad(loss))(problem)
    with deciding_for("cuda"):
        gradient = jax.jit(jax.grad(lambda problem: loss(problem)))  # a function of its own is traced anew
        assert str(gradient.trace(problem).jaxpr).count("unroll=4") == 2
        assert_close(gradient(problem), expected, 1e-12)
