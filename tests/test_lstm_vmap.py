"""`lstm` under `vmap`, and `vmap` with `grad` in either order, against a Python loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import HOLES, LEFT_PADDED
from compare import assert_close
from derivatives import lstm_of_a_gpu
from problem import Problem, draw, draw_like

from jaxlstm import lstm

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

MASKS = np.stack([HOLES, LEFT_PADDED])
LENGTHS = np.array([[7, 0, 3], [1, 7, 2]])


@pytest.fixture(scope="module")
def networks(float64) -> Problem:
    """Two problems, stacked."""
    return stack([draw(seed=0), draw(seed=1)])


def pick(tree, axis, index):
    """What a function under `vmap` sees of one argument."""
    return tree if axis is None else jax.tree.map(lambda leaf: leaf[index], tree)


# By parameters (an ensemble), by inputs, by both, by mask or h_scale alone, by everything.
AXES = {
    "params": (0, None, None, None, None),
    "inputs": (None, 0, None, None, None),
    "both": (0, 0, None, None, None),
    "state": (None, None, 0, None, None),
    "h_scale": (None, None, None, 0, None),
    "mask": (None, None, None, None, 0),
    "everything": (0, 0, 0, 0, 0),
}


def run(params, xs, state, h_scale, mask):
    return lstm(params, xs, state, h_scale=h_scale, mask=mask, reverse=True)


def loss(*arguments):
    (h, c), ys = run(*arguments)
    return jnp.sum(h**2) + jnp.sum(c**3) + jnp.sum(jnp.sin(ys))


@jax.jit
def value_and_gradient(*arguments):
    return run(*arguments), jax.grad(loss, argnums=(0, 1, 2, 3))(*arguments)


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def mapped_or_first(networks, axes):
    """The arguments, of which those with no axis to map over are the first network's."""
    arguments = (*networks, jnp.asarray(MASKS))
    return [pick(argument, 0 if axis is None else None, 0) for argument, axis in zip(arguments, axes, strict=True)]


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_value_and_gradient(axes, networks):
    arguments = mapped_or_first(networks, axes)
    each = jax.jit(jax.vmap(value_and_gradient, in_axes=axes))(*arguments)
    looped = [value_and_gradient(*map(pick, arguments, axes, [n] * 5)) for n in range(2)]
    assert_close(each, stack(looped), 1e-13)


@pytest.mark.parametrize("name", ["params", "inputs", "everything"])
def test_gradient_of_the_mapped_function(name, networks):
    axes = AXES[name]
    arguments = mapped_or_first(networks, axes)

    def total(*arguments):
        return jax.vmap(loss, in_axes=axes)(*arguments).sum()

    # One gradient for each network, or the sum of both where they share the argument.
    looped = [value_and_gradient(*map(pick, arguments, axes, [n] * 5))[1] for n in range(2)]
    expected = tuple(
        entry if axis == 0 else jax.tree.map(lambda leaf: leaf.sum(0), entry)
        for entry, axis in zip(stack(looped), axes[:4], strict=True)
    )
    assert_close(jax.jit(jax.grad(total, argnums=(0, 1, 2, 3)))(*arguments), expected, 1e-12)


def test_lengths(networks):
    problem = pick(networks, 0, 0)
    actual = jax.vmap(lambda lengths: lstm(*problem[:3], lengths=lengths))(LENGTHS)
    looped = [lstm(*problem[:3], lengths=lengths) for lengths in LENGTHS]
    assert_close(actual, stack(looped), 1e-13)


def test_forward_mode_over_a_batch_of_tangents(networks):
    problem = pick(networks, 0, 0)
    tangents = draw_like(networks)

    @jax.jit
    def push(tangent):
        return jax.jvp(lambda problem: lstm(*problem[:3], mask=HOLES, h_scale=problem.h_scale), (problem,), (tangent,))

    looped = [push(pick(tangents, 0, n)) for n in range(2)]
    assert_close(jax.vmap(push)(tangents), stack(looped), 1e-13)


def test_as_on_a_gpu(networks):
    def gradient(params, xs, mask):
        return jax.grad(lambda params: jnp.sum(jnp.sin(lstm_of_a_gpu(params, xs, mask=mask)[1])))(params)

    arguments = (networks.params, networks.xs, jnp.asarray(MASKS))
    looped = [jax.jit(gradient)(*pick(arguments, 0, n)) for n in range(2)]
    assert_close(jax.jit(jax.vmap(gradient))(*arguments), stack(looped), 1e-12)


def test_vmap_twice_equals_two_batch_dimensions():
    problem = draw((2, 3))
    mapped = jax.vmap(jax.vmap(lambda xs, state: lstm(problem.params, xs, state)))(problem.xs, problem.state)
    assert_close(mapped, lstm(*problem[:3]), 1e-13)
