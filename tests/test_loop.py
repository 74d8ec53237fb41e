"""The loop of any cell, whose weight gradients come after it, against a plain scan that autodiff takes apart."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import HOLES
from cell_cases import CELLS, draw
from compare import assert_close
from derivatives import everything
from devices import run_on_devices
from problem import draw_like

from jaxlstm.loop import loop
from jaxlstm.products import recurrent_product
from jaxlstm.scan import scan_cell

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")


def scan(step, reverse, unroll, constants, state, inputs):
    return jax.lax.scan(partial(step, constants), state, inputs, reverse=reverse, unroll=unroll)


def own(step, reverse, unroll, *rest):
    """`loop`, called as `scan` is."""
    return loop(step, reverse, unroll, False, *rest)


def cell_step(cell, params, state, inputs):
    z, valid = inputs
    new, y = cell.step(params, state, z)
    return jax.tree.map(lambda new, old: jnp.where(valid[:, None], new, old), new, state), y


@partial(jax.jit, static_argnums=(0, 1, 2))
def derivatives(run, step, reverse, problem, mask, tangents):
    def outputs(problem):
        constants, zs, state = problem
        return run(step, reverse, 1, constants, state, (zs, mask))

    return everything(outputs, problem, tangents)


def compare(step, problem, mask, reverse):
    tangents = draw_like(problem)
    arguments = (step, reverse, problem, mask, tangents)
    assert_close(derivatives(own, *arguments), derivatives(scan, *arguments), 1e-11)


@pytest.mark.parametrize("unroll", [1, 2, 7])
@pytest.mark.parametrize("reverse", [False, True])
def test_inputs_a_step_ahead_are_the_same_inputs(reverse, unroll):
    cell, (params, xs, state) = CELLS["gru"][0], draw("gru")
    inputs = (cell.project(params, jnp.swapaxes(xs, 0, 1)), jnp.asarray(HOLES.T))
    arguments = (params, state, inputs)
    here, ahead = (partial(loop, partial(cell_step, cell), reverse, unroll, flag) for flag in (False, True))
    assert_close(jax.jit(ahead)(*arguments), jax.jit(here)(*arguments), 1e-14)
    read = [str(jax.make_jaxpr(run)(*arguments)).count("dynamic_slice") for run in (here, ahead)]
    assert (read[0] < read[1]) == (unroll < 7)  # where all steps are in one iteration, none is ahead


@pytest.mark.parametrize("name", ["lstm", "projected", "slstm"])
def test_first_and_second_derivatives(name):
    cell, (params, xs, state) = CELLS[name][0], draw(name)
    problem = (params, cell.project(params, jnp.swapaxes(xs, 0, 1)), state)
    compare(partial(cell_step, cell), problem, jnp.asarray(HOLES.T), reverse=name == "lstm")


def test_a_weight_used_in_several_ways_and_one_in_none():
    # Twice through `recurrent_product`, once behind its back, once through its transpose; another not at all.
    def step(constants, state, inputs):
        z, valid = inputs
        w = constants["w"]
        h = jnp.tanh(z + recurrent_product(state, w) + state @ w + jnp.sin(recurrent_product(2 * state, w)))
        h = jnp.where(valid[:, None], h + 0.1 * state @ w.T, state)
        return h, 3 * h

    rng = np.random.default_rng(0)
    constants = {"w": jnp.asarray(0.3 * rng.standard_normal((4, 4))), "unused": jnp.ones((2, 3))}
    problem = (constants, jnp.asarray(rng.standard_normal((7, 3, 4))), jnp.asarray(rng.standard_normal((3, 4))))
    compare(step, problem, jnp.asarray(HOLES.T), reverse=False)


def test_the_gradient_of_a_recurrent_weight_is_not_carried():
    cell, (params, xs, state) = CELLS["lstm"][0], draw("lstm", hidden_size=6)
    zs, mask = cell.project(params, jnp.swapaxes(xs, 0, 1)), jnp.asarray(HOLES.T)

    def carried(run):
        def loss(params):
            return jnp.sum(run(partial(cell_step, cell), False, 1, params, state, (zs, mask))[1])

        scans = [eqn for eqn in jax.make_jaxpr(jax.grad(loss))(params).eqns if eqn.primitive.name == "scan"]
        assert len(scans) == 2  # forward and backward
        # What the body of a scan gives: the carry, and the outputs of one step.
        return (6, 24) in [aval.shape for eqn in scans for aval in eqn.params["jaxpr"].out_avals]

    assert carried(scan)
    assert not carried(own)


@pytest.mark.parametrize("name", ["gru", "slstm"])
def test_no_steps_have_derivatives(name):
    cell, (params, xs, *_) = CELLS[name][0], draw(name, steps=0)

    def last(params):
        return jnp.sum(scan_cell(cell, params, xs)[0].h)

    gradients = jax.grad(last)(params)
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradients))
    assert jax.jvp(last, (params,), (params,))[1] == 0


def test_each_device_runs_its_own_rows():
    code = """
import jax, jax.numpy as jnp, numpy as np
from cell_cases import CELLS, draw
from compare import assert_close
from jaxlstm import parallel
from jaxlstm.regularise import draw_noise
from jaxlstm.scan import scan_cell
jax.config.update("jax_enable_x64", True)
for name in ("gru", "slstm"):
    cell, problem = CELLS[name][0], draw(name, (4,))
    rng = np.random.default_rng(0)
    flags = {"resets": rng.random((4, 7)) < 0.3, "mask": rng.random((4, 7)) < 0.7, "checkpoint_every": 3}
    noise = draw_noise(jax.random.key(0), cell, problem.params, (4,), 7, recurrent=0.3, zoneout_h=0.3)
    def loss(problem, noise):
        return jnp.sum(scan_cell(cell, *problem, noise=noise, **flags)[1] ** 2)
    expected = jax.jit(jax.value_and_grad(loss))(problem, noise)
    with jax.set_mesh(parallel.make_mesh(2)):
        compiled = jax.jit(jax.value_and_grad(loss)).lower(problem, noise).compile()
        assert_close(compiled(problem, noise), expected, 1e-12)
        assert "all-reduce" in compiled.as_text()
"""
    run_on_devices(code, 2)


def energy(params, h, z):
    return jnp.sum(jnp.tanh(z + recurrent_product(h, params.w_h)[..., : z.shape[-1]]) ** 2)


def by_gradient(params, state, z):
    """A step that goes down an energy."""
    h = state.h - 0.1 * jax.grad(partial(energy, params))(state.h, z)
    return state._replace(h=h), h


def by_rows(params, state, z):
    """A step that is written for one row."""

    def row(h, z):
        return jnp.tanh(z + recurrent_product(h, params.w_h)[: z.shape[-1]])

    h = jax.vmap(row)(state.h, z)
    return state._replace(h=h), h


def by_repetition(params, state, z):
    """A step that goes over its state three times, and once more by itself."""

    def once(_, h):
        return jnp.tanh(z + recurrent_product(h, params.w_h)[:, : z.shape[-1]])

    h = once(0, jax.lax.fori_loop(0, 3, once, state.h))
    return state._replace(h=h), h


@pytest.mark.parametrize("step", [by_gradient, by_rows, by_repetition])
def test_products_within_a_transformation_of_the_steps_own(step):
    params, xs, state = draw("gru")

    def masked(params, state, inputs):
        z, valid = inputs
        new, y = step(params, state, z[:, : state.h.shape[-1]])
        return jax.tree.map(lambda new, old: jnp.where(valid[:, None], new, old), new, state), y

    zs = jnp.swapaxes(jax.vmap(CELLS["gru"][0].project, in_axes=(None, 0))(params, xs), 0, 1)
    compare(masked, (params, zs, state), jnp.asarray(HOLES.T), reverse=False)
