"""First derivatives of `lstm`: by weights, bias, inputs, state and h_scale, in reverse and forward mode."""

from functools import partial

import jax
import jax.numpy as jnp
import naive
import numpy as np
import pytest
from cases import CASES, HOLES
from compare import assert_close, assert_close_by_norm
from derivatives import draw_cotangents, lstm_of_a_gpu, masking, outputs, pull_back, push_forward
from jax.test_util import check_grads
from problem import Problem, draw, draw_like

from jaxlstm import LSTMParams, init_lstm, lstm

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")


def in_float64(tree):
    return jax.tree.map(lambda leaf: leaf.astype(np.float64), tree)


def assert_gradients_equal_the_naive_scan(case, problem: Problem, run=lstm, **more):
    cotangents = draw_cotangents(problem)
    actual = pull_back(run, case, problem, cotangents, **more)
    assert_close(actual, pull_back(naive.lstm, case, problem, cotangents), 1e-12)


@pytest.mark.parametrize("run", [lstm, lstm_of_a_gpu])
@pytest.mark.parametrize("name", CASES)
def test_reverse_mode(name, run):
    assert_gradients_equal_the_naive_scan(CASES[name], draw(), run)


@pytest.mark.parametrize("run", [lstm, lstm_of_a_gpu])
@pytest.mark.parametrize("name", CASES)
def test_forward_mode(name, run):
    problem, case = draw(), CASES[name]
    tangents = draw_like(problem)
    expected = push_forward(naive.lstm, case, problem, tangents)
    assert_close(push_forward(run, case, problem, tangents), expected, 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
@pytest.mark.parametrize(("name", "run"), [*((name, lstm) for name in CASES), ("everything", lstm_of_a_gpu)])
def test_narrow_dtypes_against_float64(name, run, dtype):
    problem, case = draw(dtype=dtype), CASES[name]
    cotangents = draw_cotangents(problem)
    actual = pull_back(run, case, problem, cotangents)
    expected = pull_back(naive.lstm, case, in_float64(problem), in_float64(cotangents))
    assert jax.tree.map(lambda leaf: leaf.dtype, actual) == jax.tree.map(lambda leaf: leaf.dtype, problem)
    if dtype is np.float32:
        assert_close(actual, expected, 2e-6)
    else:
        assert_close_by_norm(actual, expected, 2e-2)


@pytest.mark.parametrize("shape", [(128, 5, 44, 128), (32, 80, 128, 128), (1, 50, 100, 25), (64, 128, 256, 256)])
def test_float32_at_sizes_of_real_use(shape):
    batch, steps, input_size, hidden_size = shape
    params = init_lstm(jax.random.key(0), input_size, hidden_size)
    problem = draw((batch,), steps, input_size, hidden_size, dtype=np.float32)._replace(params=params)
    cotangents, case = draw_cotangents(problem), CASES["plain"]._replace(mask=np.ones((batch, steps), bool))
    actual = pull_back(lstm, case._replace(mask=None), problem, cotangents)
    assert_close(actual, pull_back(naive.lstm, case, in_float64(problem), in_float64(cotangents)), 2e-6)


@pytest.mark.parametrize("name", ["plain", "everything"])
def test_finite_differences_to_second_order(name):
    problem, case = draw((3,), 7, 2, 2, scale=0.5), CASES[name]
    f = jax.jit(lambda problem: outputs(lstm, case, masking(lstm, case), problem))
    check_grads(f, (problem,), order=2, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["plain", "everything"])
def test_the_two_modes_are_transposes(name):
    # <c, J t> = <J^T c, t>
    problem, case = draw(), CASES[name]
    tangents, cotangents = draw_like(problem, seed=2), draw_cotangents(problem)
    _, pushed = push_forward(lstm, case, problem, tangents)
    pulled = pull_back(lstm, case, problem, cotangents)

    def inner(a, b):
        return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))

    np.testing.assert_allclose(inner(cotangents, pushed), inner(pulled, tangents), rtol=1e-12)


@pytest.mark.parametrize("field", ["w_x", "w_h", "b", "xs", "h", "c", "h_scale"])
def test_by_one_argument_alone(field):
    # The rule skips the terms of what is not differentiated by; each must still be right by itself.
    problem, case = draw(), CASES["everything"]
    value = next(getattr(part, field) for part in (problem.params, problem.state, problem) if hasattr(part, field))

    def alone(value):
        if field in LSTMParams._fields:
            whole = problem._replace(params=problem.params._replace(**{field: value}))
        elif field in ("h", "c"):
            whole = problem._replace(state=problem.state._replace(**{field: value}))
        else:
            whole = problem._replace(**{field: value})
        return outputs(lstm, case, masking(lstm, case), whole)

    def put(zeros, value):
        """The tangent of the whole problem that is `value` in this field and zero elsewhere."""
        return jax.tree.map_with_path(lambda path, leaf: value if path[-1].name == field else leaf, zeros)

    tangent, cotangents = draw_like(value), draw_cotangents(problem)
    pushed = jax.jit(lambda value: jax.jvp(alone, (value,), (tangent,)))(value)
    whole_tangent = put(jax.tree.map(jnp.zeros_like, problem), tangent)
    assert_close(pushed, push_forward(naive.lstm, case, problem, whole_tangent), 1e-12)

    (pulled,) = jax.jit(lambda value: jax.vjp(alone, value)[1](cotangents))(value)
    whole = pull_back(naive.lstm, case, problem, cotangents)
    expected = next(getattr(part, field) for part in (whole.params, whole.state, whole) if hasattr(part, field))
    assert_close(pulled, expected, 1e-12)


@pytest.mark.parametrize("unroll", [2, 10])
def test_unroll(unroll):
    assert_gradients_equal_the_naive_scan(CASES["everything"], draw(), unroll=unroll)


@pytest.mark.parametrize("time_major", [False, True])
def test_several_batch_dimensions(time_major):
    problem = draw((2, 3))
    mask = np.stack([HOLES, ~HOLES])

    def run(problem):
        if not time_major:
            return lstm(*problem[:3], mask=mask)
        xs = jnp.moveaxis(problem.xs, 2, 0)
        state, ys = lstm(problem.params, xs, problem.state, mask=np.moveaxis(mask, 2, 0), time_major=True)
        return state, jnp.moveaxis(ys, 0, 2)

    def run_naive(problem):
        flat = jax.tree.map(lambda leaf: leaf.reshape(6, *leaf.shape[2:]), (problem.xs, problem.state))
        state, ys = naive.lstm(problem.params, *flat, mask=mask.reshape(6, 7))
        return jax.tree.map(lambda leaf: leaf.reshape(2, 3, *leaf.shape[1:]), (state, ys))

    def gradient(run):
        return jax.jit(lambda problem: jax.vjp(run, problem)[1](draw_cotangents(problem)))(problem)

    assert_close(gradient(run), gradient(run_naive), 1e-12)


@pytest.mark.parametrize("sizes", [(7, 1, 4), (7, 5, 1)])
def test_one_input_or_one_unit(sizes):
    assert_gradients_equal_the_naive_scan(CASES["holes-reverse"], draw((3,), *sizes))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_single_step(reverse):
    case = CASES["plain"]._replace(reverse=reverse, mask=np.array([[True], [False], [True]]))
    assert_gradients_equal_the_naive_scan(case, draw(steps=1))


@pytest.mark.parametrize(("name", "run"), [("plain", lstm), ("reverse", lstm), ("reverse", lstm_of_a_gpu)])
def test_no_steps_and_no_rows(name, run):
    problem = draw(steps=0)
    cotangents = draw_cotangents(problem)
    gradient = pull_back(run, CASES[name], problem, cotangents)
    zero = jax.tree.map(jnp.zeros_like, problem)
    assert_close(gradient, zero._replace(state=cotangents[0]), 0)  # the state passes through
    problem = draw((0,))
    gradient = pull_back(run, CASES[name], problem, draw_cotangents(problem))
    assert_close(gradient, jax.tree.map(jnp.zeros_like, problem), 0)


@pytest.mark.parametrize("name", ["lengths", "lengths-reverse", "left-padding", "holes", "holes-reverse"])
def test_no_gradient_through_masked_steps(name):
    problem, case = draw(), CASES[name]
    gradient = pull_back(lstm, case, problem, draw_cotangents(problem))
    np.testing.assert_array_equal(np.asarray(gradient.xs).any(axis=-1), case.valid_steps())


@pytest.mark.parametrize(("name", "row"), [("lengths", 1), ("lengths-reverse", 1), ("holes", 2), ("everything", 2)])
def test_a_row_without_a_valid_step_passes_the_gradient_of_its_state_to_the_bit(name, row):
    problem = draw()
    cotangents = draw_cotangents(problem)
    gradient = pull_back(lstm, CASES[name], problem, cotangents)
    np.testing.assert_array_equal(gradient.state.h[row], cotangents[0].h[row])
    np.testing.assert_array_equal(gradient.state.c[row], cotangents[0].c[row])
    np.testing.assert_array_equal(gradient.h_scale[row], 0)


@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("name", ["lengths", "lengths-reverse", "left-padding", "holes-reverse"])
def test_padding_is_never_read(name, junk):
    problem, case = draw(), CASES[name]
    tangents, cotangents = draw_like(problem), draw_cotangents(problem)

    def spoil(problem):
        return problem._replace(xs=jnp.where(case.valid_steps()[..., None], problem.xs, junk))

    pulled = pull_back(lstm, case, problem, cotangents)
    assert_close(pull_back(lstm, case, spoil(problem), cotangents), pulled, 0)
    pushed = push_forward(lstm, case, problem, tangents)
    assert_close(push_forward(lstm, case, spoil(problem), spoil(tangents)), pushed, 0)


def test_saturated_gates_have_finite_gradients():
    # The naive scan gives NaN here: exp(-z) overflows, and its derivative holds inf / inf.
    problem = draw(scale=1000.0)
    gradient = pull_back(lstm, CASES["plain"], problem, draw_cotangents(problem))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", ["lengths", "holes-reverse"])
def test_a_mask_takes_no_loop_of_its_own(name):
    problem = draw()
    cotangents = draw_cotangents(problem)

    def loops(case):
        return str(jax.make_jaxpr(partial(pull_back, lstm, case))(problem, cotangents)).count("scan[")

    assert loops(CASES[name]) == loops(CASES["plain"]) == 2


def rematerialised(*arguments, **options):
    """`lstm`, whose steps are run again for the backward pass."""
    return jax.checkpoint(lambda *arguments: lstm(*arguments, **options))(*arguments)


def test_rematerialised():
    problem, case = draw(), CASES["everything"]
    cotangents = draw_cotangents(problem)
    actual = pull_back(rematerialised, case, problem, cotangents)
    assert_close(actual, pull_back(naive.lstm, case, problem, cotangents), 1e-12)


def test_linearised_once_and_applied_often():
    problem, case = draw(), CASES["everything"]
    _, push = jax.linearize(lambda problem: outputs(lstm, case, masking(lstm, case), problem), problem)
    for seed in (1, 2):
        tangents = draw_like(problem, seed)
        assert_close(push(tangents), push_forward(naive.lstm, case, problem, tangents)[1], 1e-12)
