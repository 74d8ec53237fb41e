"""Calls under `vmap` whose parameters are not mapped over: a kernel that the default takes gets them as one batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problem import draw

from jaxlstm import lstm
from jaxlstm.implementations import choice, pallas

STEPS, SIZE = 4, 5


@pytest.fixture
def batches(monkeypatch):
    """As if "pallas" ran on this platform; the sizes of the batches that it is traced for."""
    seen = []

    def run(call, params, xs, state, lengths, mask, h_scale):
        seen.append(call.batch)
        assert xs.shape == (call.steps, call.batch, call.inputs)
        options = {"mask": mask, "reverse": call.reverse, "h_scale": h_scale}
        return lstm(params, xs, state, **options, time_major=True, implementation="scan")

    rule = choice.Rule("pallas", "cpu", "float32", range(1, 99), range(1, 99), range(1, 99), "for this test")
    monkeypatch.setattr(choice, "RULES", (rule,))
    monkeypatch.setattr(pallas, "refusal", lambda call: None)
    monkeypatch.setattr(pallas, "run", run)
    jax.clear_caches()
    yield seen
    jax.clear_caches()


def mapped(batch_shape, names):
    """A problem whose arrays of these names have a first axis of SIZE more."""
    problem = draw(batch_shape, STEPS, 3, 4, dtype=np.float32)
    arrays = {"xs": problem.xs, "state": problem.state, "h_scale": problem.h_scale}
    rng = np.random.default_rng(1)
    arrays["lengths"] = rng.integers(0, STEPS + 1, (*batch_shape,))
    factors = np.linspace(0.5, 1.5, SIZE, dtype=np.float32)
    for name in names:
        if name == "lengths":
            arrays[name] = rng.integers(0, STEPS + 1, (SIZE, *batch_shape))
        else:
            arrays[name] = jax.tree.map(lambda leaf: np.multiply.outer(factors, leaf), arrays[name])
    return problem.params, arrays, {name: 0 if name in names else None for name in arrays}


@pytest.mark.parametrize("names", [("xs",), ("state",), ("xs", "lengths"), ("xs", "state", "h_scale", "lengths")])
@pytest.mark.parametrize(("batch_shape", "reverse"), [((), True), ((2, 3), False)])
def test_a_larger_batch(batch_shape, reverse, names, batches):
    params, arrays, axes = mapped(batch_shape, names)

    def run(params, arrays, **options):
        arrays = dict(arrays)
        return lstm(params, arrays.pop("xs"), arrays.pop("state"), reverse=reverse, **arrays, **options)

    def loss(params, arrays, **options):
        state, ys = jax.vmap(partial(run, **options), (None, axes))(params, arrays)
        return jnp.sum(ys**2) + jnp.sum(state.c), (state, ys)

    by_kernel, by_scan = (
        jax.grad(partial(loss, **options), has_aux=True)(params, arrays) for options in ({}, {"implementation": "scan"})
    )
    assert set(batches) == {SIZE * int(np.prod(batch_shape))}
    jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5), by_kernel, by_scan)


def test_parameters_that_differ_take_the_scan(batches):
    params, arrays, _ = mapped((3,), ())
    several = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), params)
    actual, expected = (
        jax.vmap(lambda params, options=options: lstm(params, arrays["xs"], **options)[1])(several)
        for options in ({}, {"implementation": "scan"})
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert not batches
