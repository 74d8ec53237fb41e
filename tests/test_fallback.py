"""A kernel that nobody has named: it runs where it can, and every transformation gives what it gives of the scan."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import draw_cotangents
from devices import run_on_devices
from problem import draw

from jaxlstm import lstm
from jaxlstm.implementations.fallback import kernel_or_scan
from jaxlstm.implementations.guard import guarded

LENGTHS = np.array([3, 0, 2])
PROBLEM = draw((3,), 3, 2, 4, dtype=jnp.float32)
PARAMS, XS = PROBLEM.params, PROBLEM.xs
STACKED = jnp.stack([XS, 2 * XS])


def scan(inputs, fixed):
    params, xs = inputs
    (lengths,) = fixed
    return lstm(params, xs, lengths=lengths, implementation="scan")


def either(kernel, inputs, fixed, platform="cpu"):
    return kernel_or_scan(kernel, scan, partial(joined, kernel), inputs, fixed, platform)


def joined(kernel, size, inputs, fixed, axes):
    """Under `vmap` over the inputs alone a call with a larger batch."""
    (params, xs), (lengths,) = inputs, fixed
    (of_params, of_xs), (of_lengths,) = axes
    if any(of_params) or not of_xs or of_lengths:
        return None
    batch = xs.shape[1]
    found = either(kernel, (params, xs.reshape(-1, *xs.shape[2:])), (jnp.tile(lengths, size),))
    return jax.tree.map(lambda leaf: leaf.reshape(size, batch, *leaf.shape[1:]), found)


@pytest.fixture
def kernel_and_computed():
    """A kernel that refuses what one written by hand does, and what of it has been computed."""
    computed = set()

    def says(what):
        jax.debug.callback(lambda: computed.add(what))

    @jax.custom_vjp
    def alone(params, xs, lengths):
        says("values")
        return scan((params, xs), (lengths,))

    def save(params, xs, lengths):
        says("values to differentiate")
        return jax.vjp(lambda *inputs: scan(inputs, (lengths,)), params, xs)

    def pull(saved, cotangents):
        says("gradient")
        return *saved(cotangents), None

    alone.defvjp(save, pull)

    def kernel(inputs, fixed):
        return guarded("pallas", alone(*guarded("pallas", inputs), *fixed))

    return kernel, computed


def loss_by(run):
    """A number, of a function of the inputs and of what is fixed."""

    @jax.jit
    def loss(params, xs):
        state, ys = run((params, xs), (jnp.asarray(LENGTHS),))
        return jnp.sum(ys**2) + jnp.sum(jnp.sin(state.c)) + jnp.sum(state.h**3)

    return loss


def gradient(loss):
    return jax.grad(loss, argnums=(0, 1))


TRAINED = {"values to differentiate", "gradient"}
TRANSFORMATIONS = {  # and what a kernel computes of each
    "values": (lambda loss: loss(PARAMS, XS), {"values"}),
    "a gradient": (lambda loss: gradient(loss)(PARAMS, XS), TRAINED),
    "a gradient under jit": (
        lambda loss: jax.jit(gradient(loss))(PARAMS, XS),
        TRAINED,
    ),
    "a gradient under checkpoint": (
        lambda loss: gradient(jax.checkpoint(loss))(PARAMS, XS),
        TRAINED,
    ),
    "a gradient in a loop": (
        lambda loss: jax.lax.map(lambda xs: gradient(loss)(PARAMS, xs), STACKED),
        TRAINED,
    ),
    "vmap": (lambda loss: jax.vmap(loss, (None, 0))(PARAMS, STACKED), {"values"}),
    "vmap along another axis": (
        lambda loss: jax.vmap(loss, (None, 2))(PARAMS, jnp.moveaxis(STACKED, 0, 2)),
        {"values"},
    ),
    "vmap of vmap": (
        lambda loss: jax.vmap(jax.vmap(loss, (None, 0)), (None, 0))(PARAMS, jnp.stack([STACKED, -STACKED])),
        {"values"},
    ),
    "vmap of a gradient": (lambda loss: jax.vmap(gradient(loss), (None, 0))(PARAMS, STACKED), set()),
    "vmap over parameters": (
        lambda loss: jax.vmap(gradient(loss), (0, None))(jax.tree.map(lambda w: jnp.stack([w, -w]), PARAMS), XS),
        set(),
    ),
    "a gradient of vmap": (
        lambda loss: jax.grad(lambda params: jnp.sum(jax.vmap(loss, (None, 0))(params, STACKED)))(PARAMS),
        TRAINED,
    ),
    "forward mode": (lambda loss: jax.jvp(loss, (PARAMS, XS), (PARAMS, XS)), {"values to differentiate"}),
    "linearize": (lambda loss: jax.linearize(loss, PARAMS, XS)[1](PARAMS, XS), {"values to differentiate"}),
    "forward over reverse": (
        lambda loss: jax.jvp(gradient(loss), (PARAMS, XS), (PARAMS, XS)),
        TRAINED,
    ),
    "reverse over reverse": (
        lambda loss: jax.grad(lambda xs: jnp.sum(jax.grad(loss, argnums=1)(PARAMS, xs) ** 2))(XS),
        TRAINED,
    ),
    "a hessian": (
        lambda loss: jax.hessian(lambda b: loss(PARAMS._replace(b=b), XS))(PARAMS.b),
        {"values to differentiate"},
    ),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_every_transformation(name, kernel_and_computed):
    transform, by_kernel = TRANSFORMATIONS[name]
    kernel, computed = kernel_and_computed
    actual = transform(loss_by(lambda inputs, fixed: either(kernel, inputs, fixed)))
    expected = transform(loss_by(scan))
    jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6), actual, expected)
    jax.effects_barrier()
    assert computed == by_kernel


def test_another_platform_takes_the_scan(kernel_and_computed):
    kernel, computed = kernel_and_computed
    gradient(loss_by(lambda inputs, fixed: either(kernel, inputs, fixed, "cuda")))(PARAMS, XS)
    jax.effects_barrier()
    assert not computed


def test_a_batch_divided_among_devices_takes_the_scan():
    """A kernel would be given the whole batch on each."""
    run_on_devices(
        """
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from test_fallback import PARAMS, STACKED, either, kernel_and_computed, loss_by, gradient

kernel, computed = kernel_and_computed.__wrapped__()
xs = STACKED.reshape(-1, *STACKED.shape[2:])[:4]
loss = loss_by(lambda inputs, _: either(kernel, inputs, (None,)))
expected = gradient(loss)(PARAMS, xs)
jax.effects_barrier()
assert computed == {"values to differentiate", "gradient"}, computed
computed.clear()
mesh = Mesh(jax.devices(), ("batch",))
actual = jax.jit(gradient(loss))(PARAMS, jax.device_put(xs, NamedSharding(mesh, P("batch"))))
jax.effects_barrier()
assert not computed, computed
for got, want in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    assert abs(got - want).max() < 1e-5
""",
        2,
    )


def test_states_and_outputs_have_their_own_derivatives(kernel_and_computed):
    kernel, _ = kernel_and_computed
    fixed = (jnp.asarray(LENGTHS),)
    cotangents = draw_cotangents(PROBLEM)
    nothing = jax.tree.map(jnp.zeros_like, cotangents)
    for only in ((cotangents[0], nothing[1]), (nothing[0], cotangents[1])):
        pulled = [
            jax.vjp(lambda *inputs, run=run: run(inputs, fixed), PARAMS, XS)[1](only)
            for run in (lambda inputs, fixed: either(kernel, inputs, fixed), scan)
        ]
        jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6), *pulled)
