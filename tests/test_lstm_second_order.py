"""Second and third derivatives of `lstm` against the naive scan."""

import jax
import jax.numpy as jnp
import naive
import numpy as np
import pytest
from cases import CASES
from compare import assert_close
from derivatives import lstm_of_a_gpu, masking, outputs
from jax.flatten_util import ravel_pytree
from problem import draw

from jaxlstm import lstm

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")


def flat_loss(run, case):
    """A function of one vector, all of a tiny problem; every output enters it, none linearly. And the vector."""
    flat, unravel = ravel_pytree(draw((3,), 7, 2, 2))

    def loss(flat):
        (h, c), ys = outputs(run, case, masking(run, case), unravel(flat))
        return jnp.sum(h**2) + jnp.sum(c**3) + jnp.sum(jnp.sin(ys))

    return loss, flat


@pytest.mark.parametrize(("name", "run"), [("plain", lstm), ("holes-reverse", lstm), ("holes-reverse", lstm_of_a_gpu)])
def test_hessian(name, run):
    loss, flat = flat_loss(run, CASES[name])
    by_naive, _ = flat_loss(naive.lstm, CASES[name])
    assert_close(jax.jit(jax.hessian(loss))(flat), jax.jit(jax.hessian(by_naive))(flat), 1e-10)


def test_hessian_in_every_order_of_modes():
    loss, flat = flat_loss(lstm, CASES["everything"])
    by_naive, _ = flat_loss(naive.lstm, CASES["everything"])
    expected = jax.jit(jax.hessian(by_naive))(flat)
    for outer in (jax.jacfwd, jax.jacrev):
        for inner in (jax.jacfwd, jax.jacrev):
            assert_close(jax.jit(outer(inner(loss)))(flat), expected, 1e-10)


def test_third_derivative():
    direction = jnp.asarray(np.random.default_rng(0).standard_normal(flat_loss(lstm, CASES["plain"])[1].shape))

    def gradient_of_curvature(run):
        loss, flat = flat_loss(run, CASES["everything"])

        def slope(x):
            return jax.jvp(loss, (x,), (direction,))[1]

        return jax.jit(jax.grad(lambda x: jax.jvp(slope, (x,), (direction,))[1]))(flat)

    assert_close(gradient_of_curvature(lstm), gradient_of_curvature(naive.lstm), 1e-10)
