"""The "pallas" kernel: values and gradients in JAX's interpreter, and its way to CUDA as far as there is one."""

from functools import partial

import jax
import jax.numpy as jnp
import naive
import numpy as np
import pytest
from cases import CASES
from compare import assert_close_by_norm
from derivatives import draw_cotangents
from problem import Problem, draw

from jaxlstm import lstm
from jaxlstm.implementations import deciding_for
from jaxlstm.implementations.pallas import cluster

run = partial(lstm, implementation="pallas")
CASE_NAMES = ["plain", "lengths", "lengths-reverse", "left-padding", "holes", "holes-reverse"]


def wide(tree):
    return jax.tree.map(
        lambda leaf: leaf.astype(np.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree
    )


@partial(jax.jit, static_argnums=(0, 1))
def with_gradient(run, reverse, problem: Problem, masking: dict, cotangents):
    outputs, pull = jax.vjp(lambda *arrays: run(*arrays, **masking, reverse=reverse), *problem[:3])
    return outputs, pull(cotangents)


def assert_agrees(problem: Problem, masking: dict, reverse: bool, tolerances: tuple[float, float] = (1e-2, 2e-2)):
    cotangents = draw_cotangents(problem)
    with deciding_for("interpreter"):
        actual = with_gradient(run, reverse, problem, masking, cotangents)
    with jax.enable_x64(True):
        expected = with_gradient(naive.lstm, reverse, *wide((problem, masking, cotangents)))
        for found, known, tolerance in zip(actual, expected, tolerances, strict=True):
            assert_close_by_norm(found, known, tolerance)
    types = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (actual[1], problem[:3])]
    assert types[0] == types[1]


@pytest.mark.parametrize("name", CASE_NAMES)
def test_values_and_gradients(name):
    case = CASES[name]
    # The cases with a mask differ in its values alone, so that two programs serve for all of them.
    masked = case.mask is not None or case.lengths is not None
    assert_agrees(draw(dtype=jnp.bfloat16), {"mask": case.valid_steps()} if masked else {}, case.reverse)


def test_two_groups_of_threads_and_two_blocks():
    problem = draw((17,), 2, 5, 128, dtype=jnp.float16, scale=0.2)
    assert_agrees(problem, {"lengths": np.arange(17) % 3}, True)


@pytest.mark.parametrize(("hidden", "batch"), [(50, 17), (100, 2)])
def test_float32(hidden, batch):
    """As right as TensorFloat-32, the products before and after the kernel being exact here."""
    problem = draw((batch,), 3, 5, hidden, dtype=jnp.float32, scale=0.2)
    assert_agrees(problem, {"lengths": np.arange(batch) % 4}, True, (1e-3, 1e-3))


def test_two_clusters_of_four_blocks(monkeypatch):
    """As many members as on a GPU; in the interpreter they share a block. H and B are padded."""
    # A part of the weights in shared memory, as where H is larger.
    monkeypatch.setattr(cluster, "COLUMNS", 64)
    monkeypatch.setattr(cluster, "TILES", {1: {cluster.CELL: 0, cluster.HELPER: 2}})
    problem = draw((17,), 3, 5, 130, dtype=jnp.bfloat16, scale=0.1)
    assert_agrees(problem, {"lengths": np.arange(17) % 4}, True)


@pytest.mark.parametrize("hidden", [20, 130])
def test_a_scaled_hidden_state(hidden):
    problem = draw((2,), 3, 5, hidden, dtype=jnp.bfloat16, scale=0.2)
    mask = np.array([[True, False, True], [True, True, True]])

    def squares(run, params, xs, state, h_scale):
        state, ys = run(params, xs, state, mask=mask, h_scale=h_scale)
        return jnp.sum(ys**2) + jnp.sum(state.c), ys

    h_scale = jnp.where(problem.h_scale > 1, 1.25, 0).astype(jnp.bfloat16)
    arguments = problem._replace(h_scale=h_scale)
    gradient = [jax.grad(partial(squares, each), argnums=(0, 1, 2, 3), has_aux=True) for each in (run, naive.lstm)]
    with deciding_for("interpreter"):
        actual = jax.jit(gradient[0])(*arguments)
    with jax.enable_x64(True):
        assert_close_by_norm(actual, gradient[1](*wide(arguments)), 2e-2)


@pytest.mark.parametrize("hidden", [128, 512])
@pytest.mark.parametrize("masked", [False, True])
def test_it_lowers_for_cuda(masked, hidden):
    """Through the compiler passes that are Python's, which infer the layout of every array."""
    problem = draw((20,), 7, 5, hidden, dtype=jnp.bfloat16)
    masking = {"lengths": np.full(20, 3)} if masked else {}
    with deciding_for("cuda"):
        traced = with_gradient.trace(run, False, problem, masking, draw_cotangents(problem))
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@mosaic_gpu_v2") == 2


@pytest.mark.parametrize(
    ("transformed", "message"),
    [
        (lambda p: jax.vmap(lambda xs: run(p.params, xs))(p.xs[None]), "does no vmap"),
        (lambda p: jax.jvp(lambda xs: run(p.params, xs), (p.xs,), (p.xs,)), "has no forward-mode derivative"),
        (lambda p: jax.hessian(lambda xs: jnp.sum(run(p.params, xs)[1]))(p.xs), "has no second derivative"),
    ],
    ids=["vmap", "jvp", "hessian"],
)
def test_what_a_kernel_does_not_do_is_named(transformed, message):
    with deciding_for("cuda"), pytest.raises(ValueError, match=f"^implementation: 'pallas' {message}"):
        jax.jit(transformed).trace(draw(dtype=jnp.bfloat16)).lower(lowering_platforms=("cuda",))
