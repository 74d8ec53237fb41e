"""Every library computes the same, the floor does no more, and the shapes are what they say."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmark_cases import ROOT, SMALL, prepare_of

from benchmarks import programs
from benchmarks.ours import Setting
from benchmarks.rivals import RIVALS
from benchmarks.shapes import FULL_SWEEPS, MIDDLE, QUICK_SWEEPS, SHAPES, Shape, sweep_shapes
from jaxlstm import lstm

COMPARED = [name for name in RIVALS if name != "floor"]


@pytest.mark.parametrize("which", programs.PASSES)
@pytest.mark.parametrize("name", COMPARED)
def test_every_library_computes_the_same(name, which):
    problem = programs.draw_problem(SMALL)
    mine, theirs = (prepare(problem, which) for prepare in (Setting().prepare, prepare_of(name)))
    expected, got = mine.outputs(mine.run()), theirs.outputs(theirs.run())
    leaves = 1 if which == "forward" else 5  # ys; and d w_x, d w_h, d b, d xs
    assert len(jax.tree.leaves(got)) == leaves
    assert programs.relative_difference(got, expected) < 2e-6


def test_our_weight_gradients_are_those_of_jax():
    problem = programs.draw_problem(SMALL)
    program = Setting().prepare(problem, "train")
    _, d_params, d_xs = program.outputs(program.run())

    def loss(params, xs):
        return jnp.vdot(lstm(params, xs)[1], problem.d_ys)

    expected = jax.grad(loss, argnums=(0, 1))(problem.params, problem.xs)
    assert programs.relative_difference((d_params, d_xs), expected) < 2e-6


def test_two_devices_give_what_one_gives():
    code = """
from benchmarks import programs
from benchmarks.ours import Setting
from benchmarks.shapes import Shape
from jaxlstm import parallel

mesh = parallel.make_mesh(2)  # first, before JAX has started
problem = programs.draw_problem(Shape(4, 7, 5, 6))
one, two = (setting.prepare(problem, "train") for setting in (Setting(), Setting(mesh=mesh)))
results = [program.outputs(program.run()) for program in (one, two)]
assert Setting(mesh=mesh).label == "default, 2 devices"
assert len(results[1][0].sharding.device_set) == 2
assert programs.relative_difference(*results) < 2e-6, programs.relative_difference(*results)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_bias_takes_part_so_that_no_library_can_lose_it():
    problem = programs.draw_problem(SMALL)
    without = problem._replace(params=problem.params._replace(b=jnp.zeros_like(problem.params.b)))
    a, b = (program.outputs(program.run()) for program in (Setting().prepare(p, "forward") for p in (problem, without)))
    assert programs.relative_difference(a, b) > 0.01


def test_relative_difference_sees_shapes_and_nan():
    one = np.ones(3)
    assert programs.relative_difference([one, 2 * one], [one, 2 * one]) == 0
    assert programs.relative_difference([one, 2 * one], [one, 2.5 * one]) == pytest.approx(0.2)
    assert programs.relative_difference(one, np.ones((3, 1))) == np.inf
    assert programs.relative_difference(one * np.nan, one) == np.inf


@pytest.mark.parametrize("which", programs.PASSES)
def test_the_floor_does_the_products_of_the_pass_and_no_others(which):
    prepare_of("floor")
    from benchmarks.rivals import floor

    counted = 0

    class Counting:
        @staticmethod
        def matmul(a, b, out):
            nonlocal counted
            assert out.shape == (a.shape[0], b.shape[1])
            counted += a.shape[0] * a.shape[1] * b.shape[1]
            np.matmul(a, b, out=out)

    batch, steps, inputs, hidden = SMALL
    arrays = (np.ones(shape) for shape in ((batch, steps, inputs), (inputs, 4 * hidden), (hidden, 4 * hidden)))
    floor.products(Counting, lambda *shape: np.zeros(shape), *arrays, train=which == "train")()
    forward = batch * steps * 4 * hidden * (inputs + hidden)
    assert counted == (forward if which == "forward" else 3 * forward)


@pytest.mark.parametrize("which", programs.PASSES)
def test_the_floor_takes_the_fastest_library(which, monkeypatch):
    from benchmarks.rivals import floor

    seconds = {"in_jax": 3.0, "in_numpy": 1.0, "in_torch": 2.0}
    for name in seconds:
        monkeypatch.setattr(floor, name, lambda problem, which, name=name: lambda: name)
    monkeypatch.setattr(floor, "installed", lambda package: True)
    monkeypatch.setattr(floor, "fastest_of_three", lambda run: seconds[run()])
    assert floor.prepare(programs.draw_problem(SMALL), which).run() == "in_numpy"


@pytest.mark.parametrize("build", ["in_jax", "in_numpy", "in_torch"])
def test_the_floor_runs_in_every_library(build, monkeypatch):
    from benchmarks.rivals import floor

    if build == "in_torch":
        pytest.importorskip("torch")
    arrays, products = [], floor.products

    def note_the_arrays(library, empty, *arguments):
        return products(library, lambda *shape: arrays.append(empty(*shape)) or arrays[-1], *arguments)

    monkeypatch.setattr(floor, "products", note_the_arrays)
    problem = programs.draw_problem(SMALL)
    of_ones = np.sum(problem.params.w_h, axis=0)  # h W_h, h being ones
    for which in programs.PASSES:
        arrays.clear()
        results = getattr(floor, build)(problem, which)()
        thin = results[1] if build == "in_jax" else arrays[0]  # a JAX program returns what the others write
        expected = np.broadcast_to(of_ones, (SMALL.steps, SMALL.batch, 4 * SMALL.hidden))
        np.testing.assert_allclose(np.array(thin.tolist()), expected, rtol=0, atol=1e-6)


def test_the_fastest_of_three_is_counted_after_one_call(monkeypatch):
    from benchmarks.rivals import floor

    clock, calls = [0.0], iter([100.0, 3.0, 1.0, 2.0])
    monkeypatch.setattr(floor, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def run():
        clock[0] += next(calls)

    assert floor.fastest_of_three(run) == 1
    assert not list(calls)


def test_sweeps_vary_one_size_around_the_middle():
    for sweeps in (QUICK_SWEEPS, FULL_SWEEPS):
        shapes = sweep_shapes(sweeps)
        assert not set(shapes) & set(SHAPES)
        assert len(set(shapes.values())) == len(shapes)
        for name, shape in shapes.items():
            different = {field for field, a, b in zip(Shape._fields, shape, MIDDLE, strict=True) if a != b}
            axis = {"T": {"steps"}, "B": {"batch"}, "H": {"inputs", "hidden"}, "m": set()}[name[0]]
            assert different == axis
