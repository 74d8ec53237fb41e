"""The references themselves: the oracle against numbers worked out by hand, the naive scan against the oracle."""

import jax
import jax.numpy as jnp
import naive
import numpy as np
import oracle
import pytest
from cases import CASES
from compare import assert_close
from problem import draw, draw_like

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")


def test_oracle_step_by_hand():
    # One unit, one input; the weights put z at log 1, log 3, atanh 1/2 and log 4, where the gates are
    # 1/2, 3/4, 1/2 and 4/5. So c = 3/4 * 2 + 1/2 * 1/2 = 7/4.
    z = np.array([0.0, np.log(3), np.arctanh(0.5), np.log(4)])
    w_x, w_h, b = 0.25 * z[None], 0.125 * z[None], 0.25 * z
    h, c = oracle.lstm_step((w_x, w_h, b), np.array([2.0]), np.array([2.0]), np.array([2.0]))
    np.testing.assert_allclose(c, 1.75, rtol=1e-15)
    np.testing.assert_allclose(h, 0.8 * np.tanh(1.75), rtol=1e-15)


def test_oracle_walks_the_valid_steps():
    # With z_i = z_f = z_g = z_o = 0 but for the inputs, whatever comes last weighs most: c halves at each step.
    params = (np.array([[0.0, 0.0, 1.0, 0.0]]), np.zeros((1, 4)), np.zeros(4))
    xs = np.arctanh([[0.2], [0.4], [0.8]])
    (_, c), _ = oracle.lstm(params, xs)
    np.testing.assert_allclose(c, 0.1 / 4 + 0.2 / 2 + 0.4, rtol=1e-15)
    (_, c), _ = oracle.lstm(params, xs, reverse=True)
    np.testing.assert_allclose(c, 0.1 + 0.2 / 2 + 0.4 / 4, rtol=1e-15)
    (_, c), ys = oracle.lstm(params, xs, mask=[True, False, True])
    np.testing.assert_allclose(c, 0.1 / 2 + 0.4, rtol=1e-15)
    np.testing.assert_array_equal(ys[1], 0)
    (_, c), _ = oracle.lstm(params, xs, reverse=True, lengths=2)
    np.testing.assert_allclose(c, 0.1 + 0.2 / 2, rtol=1e-15)


@pytest.mark.parametrize("name", CASES)
def test_naive_scan_equals_the_oracle(name):
    problem = draw()
    actual = naive.lstm(*problem[:3], **CASES[name].options(problem))
    (h, c), ys = oracle.lstm(*problem[:3], **CASES[name].oracle_options(problem))
    assert_close(jax.tree.leaves(actual), [h, c, ys], 1e-14)


@pytest.mark.parametrize("name", ["plain", "everything"])
def test_gradient_of_the_naive_scan_equals_the_slope_of_the_oracle(name):
    case, problem = CASES[name], draw()
    direction = draw_like(problem, seed=2)

    def loss(outputs):
        (h, c), ys = outputs
        return h.sum() + (c**2).sum() + (ys**3).sum()

    def by_naive(problem):
        return loss(naive.lstm(*problem[:3], **case.options(problem)))

    def by_oracle(step):
        moved = jax.tree.map(lambda leaf, d: np.asarray(leaf + step * d), problem, direction)
        return loss(oracle.lstm(*moved[:3], **case.oracle_options(moved)))

    gradient = jax.grad(by_naive)(problem)
    slope = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    step = 1e-4  # Richardson's extrapolation of central differences: the error is of order step**4
    central = [(by_oracle(s) - by_oracle(-s)) / (2 * s) for s in (step, 2 * step)]
    np.testing.assert_allclose(slope, (4 * central[0] - central[1]) / 3, rtol=1e-9)
