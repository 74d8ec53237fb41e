"""`lstm` against the oracle: outputs and final state."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from cases import CASES, HOLES, LENGTHS
from compare import assert_close, assert_close_by_norm
from derivatives import lstm_of_a_gpu
from problem import draw

from jaxlstm import LSTMParams, LSTMState, init_lstm, lstm

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

TOLERANCES = {np.float64: 1e-12, np.float32: 2e-6}


def expected(problem, state=..., **options):
    (h, c), ys = oracle.lstm(problem.params, problem.xs, problem.state if state is ... else state, **options)
    return LSTMState(h, c), ys


@pytest.mark.parametrize(("dtype", "run"), [*((dtype, lstm) for dtype in TOLERANCES), (np.float64, lstm_of_a_gpu)])
@pytest.mark.parametrize("name", CASES)
def test_every_option(name, dtype, run):
    problem, case = draw(dtype=dtype), CASES[name]
    actual = run(*problem[:3], **case.options(problem))
    assert_close(actual, expected(problem, **case.oracle_options(problem)), TOLERANCES[dtype])
    assert {leaf.dtype for leaf in jax.tree.leaves(actual)} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", CASES)
def test_every_option_in_bfloat16(name):
    problem, case = draw(dtype=jnp.bfloat16), CASES[name]
    state, ys = lstm(*problem[:3], **case.options(problem))
    # h is rounded at every step, to one part in 2**9 at worst; what that does to later steps is of the same order.
    assert_close_by_norm((state, ys), expected(problem, **case.oracle_options(problem)), 1e-2)
    assert (state.h.dtype, state.c.dtype, ys.dtype) == (jnp.bfloat16, jnp.float32, jnp.bfloat16)


def test_bfloat16_accumulates_in_float32():
    # Open gates and a small candidate: c grows by tanh(0.001) at each of 4,000 steps. A bfloat16 cell
    # would stop growing at 0.25 or so, where the step is less than half of its last digit.
    params = LSTMParams(*(jnp.zeros(shape, jnp.bfloat16) for shape in [(1, 4), (1, 4), (4,)]))
    params = params._replace(b=jnp.array([20, 20, 0.001, 20], jnp.bfloat16))
    state, _ = lstm(params, jnp.zeros((4000, 1), jnp.bfloat16))
    # float32 rounds twice at each step, f * c and the sum, by one part in 2**24 at worst.
    np.testing.assert_allclose(state.c, 4000 * np.tanh(np.float64(params.b[2])), rtol=4000 * 2 * 2.0**-24)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    "shape", [(128, 5, 44, 128), (32, 80, 128, 128), (1, 50, 100, 25), (64, 128, 256, 256), (40, 211, 8, 64)]
)
def test_sizes_of_real_use(shape, dtype):
    batch, steps, input_size, hidden_size = shape
    problem = draw((batch,), steps, input_size, hidden_size, dtype=dtype)
    params = init_lstm(jax.random.key(0), input_size, hidden_size, dtype=dtype)
    lengths = np.random.default_rng(0).integers(0, steps, batch, endpoint=True)
    actual = lstm(params, problem.xs, lengths=lengths)
    few = slice(0, batch, -(-batch // 8))  # the oracle takes its time
    want = expected(problem._replace(params=params, xs=problem.xs[few]), None, lengths=lengths[few])
    assert_close(jax.tree.map(lambda leaf: leaf[few], actual), want, TOLERANCES[dtype])


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("masking", [None, "lengths", "mask"])
@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3), (2, 1, 3)])
def test_batch_dimensions(batch_shape, masking, time_major):
    problem = draw(batch_shape)
    options = {}
    if masking == "lengths":
        options["lengths"] = np.random.default_rng(3).integers(0, 7, batch_shape, endpoint=True)
    if masking == "mask":
        options["mask"] = np.random.default_rng(3).random((*batch_shape, 7)) < 0.6
    want_state, want_ys = expected(problem, h_scale=problem.h_scale, **options)
    xs = problem.xs
    if time_major:
        xs, want_ys = jnp.moveaxis(xs, -2, 0), np.moveaxis(want_ys, -2, 0)
        if masking == "mask":
            options["mask"] = np.moveaxis(options["mask"], -1, 0)
    actual = lstm(problem.params, xs, problem.state, h_scale=problem.h_scale, time_major=time_major, **options)
    assert_close(actual, (want_state, want_ys), 1e-12)


@pytest.mark.parametrize("unroll", [1, 2, 7, 10])
@pytest.mark.parametrize("name", ["plain", "holes-reverse"])
def test_unroll(name, unroll):
    problem, case = draw(), CASES[name]
    actual = lstm(*problem[:3], **case.options(problem), unroll=unroll)
    assert_close(actual, expected(problem, **case.oracle_options(problem)), 1e-12)


@pytest.mark.parametrize("sizes", [(1, 5, 4), (7, 1, 4), (7, 5, 1), (1, 1, 1)])
@pytest.mark.parametrize("reverse", [False, True])
def test_sizes_of_one(sizes, reverse):
    problem = draw((3,), *sizes)
    actual = lstm(*problem[:3], reverse=reverse, lengths=[1, 0, 1])
    assert_close(actual, expected(problem, reverse=reverse, lengths=[1, 0, 1]), 1e-12)


@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("reverse", [False, True])
def test_no_steps_at_all(batch_shape, reverse):
    problem = draw(batch_shape, steps=0)
    for masking in [{}, {"lengths": np.zeros(batch_shape, int)}, {"mask": np.ones((*batch_shape, 0), bool)}]:
        state, ys = lstm(*problem[:3], reverse=reverse, **masking)
        assert_close(state, problem.state, 0)
        assert ys.shape == (*batch_shape, 0, 4)


@pytest.mark.parametrize("batch_shape", [(0,), (2, 0)])
def test_no_rows_at_all(batch_shape):
    problem = draw(batch_shape)
    state, ys = lstm(*problem[:3], mask=np.ones((*batch_shape, 7), bool), h_scale=problem.h_scale)
    assert (state.h.shape, state.c.shape, ys.shape) == ((*batch_shape, 4), (*batch_shape, 4), (*batch_shape, 7, 4))


def test_state_is_zero_by_default():
    problem = draw()
    assert_close(lstm(problem.params, problem.xs), expected(problem, None), 1e-12)


@pytest.mark.parametrize("name", ["lengths", "lengths-reverse", "left-padding", "holes", "holes-reverse"])
def test_masked_outputs_are_exactly_zero(name):
    problem, case = draw(), CASES[name]
    _, ys = lstm(*problem[:3], **case.options(problem))
    np.testing.assert_array_equal(np.asarray(ys).any(axis=-1), case.valid_steps())


@pytest.mark.parametrize("options", [{"lengths": LENGTHS}, {"lengths": LENGTHS, "reverse": True}, {"mask": HOLES}])
def test_a_row_without_a_valid_step_keeps_its_state_to_the_bit(options):
    problem = draw()
    row = 1 if "lengths" in options else 2
    state, _ = lstm(*problem[:3], **options)
    np.testing.assert_array_equal(state.h[row], problem.state.h[row])
    np.testing.assert_array_equal(state.c[row], problem.state.c[row])


@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("name", ["lengths", "lengths-reverse", "left-padding", "holes-reverse"])
def test_padding_is_never_read(name, junk):
    problem, case = draw(), CASES[name]
    xs = jnp.where(case.valid_steps()[..., None], problem.xs, junk)
    options = case.options(problem)
    assert_close(lstm(problem.params, xs, problem.state, **options), lstm(*problem[:3], **options), 0)


def test_saturated_gates():
    # Pre-activations of a thousand and more: exp overflows, the gates are 0 and 1.
    problem = draw(scale=1000.0)
    actual = lstm(*problem[:3])
    assert_close(actual, expected(problem), 1e-12)


@pytest.mark.parametrize("options", [{"lengths": LENGTHS}, {"mask": HOLES}, {}])
def test_under_jit_with_everything_traced(options):
    problem = draw()
    actual = jax.jit(lambda problem, options: lstm(*problem[:3], **options))(problem, options)
    assert_close(actual, expected(problem, **options), 1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64])
def test_lengths_of_any_integer_dtype(dtype):
    # 100 steps: an int8 or uint8 must be compared with step numbers that it can just hold.
    problem = draw(steps=100)
    lengths = np.array([100, 0, 57], dtype)
    assert_close(lstm(*problem[:3], lengths=lengths), expected(problem, lengths=lengths), 1e-12)


def test_lengths_beyond_the_steps_count_as_the_steps_under_jit():
    problem = draw()
    actual = jax.jit(lambda lengths: lstm(*problem[:3], lengths=lengths))(np.array([9, 7, 3]))
    assert_close(actual, expected(problem, lengths=[7, 7, 3]), 1e-12)


def test_implementation_by_name():
    problem = draw()
    assert_close(lstm(*problem[:3], implementation="scan"), expected(problem), 1e-12)
