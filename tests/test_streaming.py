"""Serving step by step and chunk by chunk: equal to one pass, and compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close, assert_equal
from hypothesis import given
from hypothesis import strategies as st
from problem import draw
from tracing import counting_tanh

from jaxlstm import LSTMState, lstm, zero_state
from jaxlstm.streaming import feeder, stepper

pytestmark = pytest.mark.usefixtures("strict_ranks", "optimised")

STEPS = 40
PROBLEM = draw((), STEPS, 5, 4, dtype=np.float32)
FEED = feeder(PROBLEM.params)
TOLERANCES = {np.float32: 1e-6, jnp.bfloat16: 2e-2, np.float64: 1e-13}


def splits(steps=STEPS):
    """The ends of chunks that make up all steps; chunks of 0 steps as well."""
    return st.lists(st.integers(0, steps), max_size=steps).map(lambda cuts: [*sorted(cuts), steps])


def in_chunks(run, xs, state, ends):
    """State and outputs [T, H] of xs [T, D], chunk by chunk."""
    ys, start = [], 0
    for end in ends:
        state, y = run(state, xs[start:end])
        ys.append(y)
        start = end
    return state, np.concatenate(ys)


@given(splits())
def test_chunks_of_any_sizes_equal_one_pass(ends):
    whole = FEED(PROBLEM.state, PROBLEM.xs)
    assert_equal(in_chunks(FEED, PROBLEM.xs, PROBLEM.state, ends), whole)  # to the bit
    assert_close(whole, lstm(PROBLEM.params, PROBLEM.xs, PROBLEM.state), 1e-6)


def test_one_feature_one_step_at_a_time():
    problem = draw((), STEPS, 1, 20, dtype=np.float32)
    feed = feeder(problem.params)
    whole = feed(problem.state, problem.xs)
    assert_equal(in_chunks(feed, problem.xs, problem.state, range(1, STEPS + 1)), whole)


@given(st.permutations([0, 1, 1, 2, 3, 5]))
def test_lstm_in_chunks_of_any_sizes_equals_one_pass(sizes):
    # The same of `lstm` itself, to rounding: its products are over all steps of a chunk at once.
    with jax.enable_x64(True):
        problem = draw((), sum(sizes))

        def run(state, xs):
            return lstm(problem.params, xs, state)

        chunks = in_chunks(run, problem.xs, problem.state, np.cumsum(sizes).tolist())
        assert_close(chunks, lstm(*problem[:3]), 1e-13)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3)])
def test_steps_equal_lstm(batch_shape, dtype):
    with jax.enable_x64(dtype is np.float64):
        problem = draw(batch_shape, dtype=dtype)
        step, state = stepper(problem.params, batch_shape)
        assert_equal(state, zero_state(batch_shape, 4, dtype))
        state, ys = problem.state, []
        for t in range(7):
            state, y = step(state, problem.xs[..., t, :])
            ys.append(y)
        expected = lstm(*problem[:3])
        assert_close((state, jnp.stack(ys, axis=-2)), expected, TOLERANCES[dtype])
        fed, outputs = feeder(problem.params)(problem.state, problem.xs)
        assert outputs.dtype == problem.xs.dtype
        assert_close((fed, outputs), expected, TOLERANCES[dtype])


def test_activation():
    problem = draw(dtype=np.float32)
    expected = lstm(*problem[:3], activation=jnp.sin)
    assert_close(feeder(problem.params, activation=jnp.sin)(problem.state, problem.xs), expected, 1e-6)
    step, _ = stepper(problem.params, (3,), activation=jnp.sin)
    first = lstm(problem.params, problem.xs[:, :1], problem.state, activation=jnp.sin)
    state, y = step(problem.state, problem.xs[:, 0])
    assert_close((state, y[:, None]), first, 1e-6)


def test_a_step_is_compiled_before_it_is_called_and_never_again():
    tanh = counting_tanh()
    step, state = stepper(PROBLEM.params, activation=tanh)
    traced = tanh.calls
    assert traced > 0
    for x in (PROBLEM.xs[0], np.asarray(PROBLEM.xs[1]), PROBLEM.xs[2]):
        state, _ = step(state, x)
    assert tanh.calls == traced


def test_a_chunk_is_compiled_once_for_each_power_of_two():
    tanh = counting_tanh()
    feed = feeder(PROBLEM.params, activation=tanh)
    state, traced = PROBLEM.state, []
    for size in (1, 2, 3, 4, 8, 5, 7, 6, 3, 1, 2, 0, 4, 8):
        before = tanh.calls
        state, _ = feed(state, PROBLEM.xs[:size])
        traced.append(tanh.calls > before)
    assert traced == [True, False, True, False, True] + 9 * [False]


STEP_ERRORS = {
    "x": ({"x": np.zeros(6, np.float32)}, r"^x: expected shape \[5\], got \[6\]$"),
    "dtype": ({"x": np.zeros(5, np.float16)}, "^x: expected float32, as the parameters have it, got float16$"),
    "batch": ({"state": zero_state((2,), 4)}, r"^state\.h: expected shape \[4\], got \[2, 4\]$"),
    "state": (
        {"state": (np.zeros(4, np.float32),) * 2},
        "^state: expected LSTMState, as zero_state makes it, got tuple$",
    ),
}


@pytest.mark.parametrize("change", STEP_ERRORS)
def test_errors_of_a_step(change):
    arguments, message = STEP_ERRORS[change]
    step, state = stepper(PROBLEM.params)
    with pytest.raises(ValueError, match=message):
        step(**{"state": state, "x": PROBLEM.xs[0]} | arguments)


FEED_ERRORS = {
    "xs": (PROBLEM.state, np.zeros((3, 6), np.float32), r"^xs: expected shape \[\.\.\., T, 5\], got \[3, 6\]$"),
    "one step": (PROBLEM.state, PROBLEM.xs[0], r"^xs: expected shape \[\.\.\., T, 5\], got \[5\]$"),
    "dtype": (PROBLEM.state, np.zeros((3, 5), np.float16), "^xs: expected float32, as the .* have it, got float16$"),
    "state.h": (zero_state((1,), 4), PROBLEM.xs, r"^state\.h: expected shape \[4\], got \[1, 4\]$"),
    "state.c": (
        LSTMState(PROBLEM.state.h, np.zeros(4, np.float16)),
        PROBLEM.xs,
        r"^state\.c: expected float32 beside float32 inputs, got float16$",
    ),
}


@pytest.mark.parametrize("name", FEED_ERRORS)
def test_errors_of_a_chunk(name):
    state, xs, message = FEED_ERRORS[name]
    with pytest.raises(ValueError, match=message):
        FEED(state, xs)
