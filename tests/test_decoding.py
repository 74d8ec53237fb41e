"""Decoding, teacher forcing and scheduled sampling against a NumPy loop in float64, one row at a time."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from jax.tree_util import Partial
from writer import draw_writer

from jaxlstm import models
from jaxlstm.decoding import decode, previous_symbols, scheduled_sampling, teacher_forcing
from jaxlstm.sampling import greedy, sample, temperature, top_k

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

KEY = jax.random.key(3)
V, END, L = 6, 5, 12
INPUTS = np.random.default_rng(1).integers(0, V, (V, 7))


@pytest.fixture(scope="module")
def writer():
    return draw_writer(V, seed=49)


def by_hand(writer, row, start, symbols=None):
    """Greedy, or along the given symbols: the symbols up to the end symbol, their log P, the state of the last."""
    state, last, written, total = writer.numpy_state(row), start, [], 0.0
    while len(written) < L and END not in written:
        state, log_p = writer.numpy_step(state, last)
        last = int(log_p.argmax()) if symbols is None else int(symbols[len(written)])
        written.append(last)
        total += log_p[last]
    return written, total, state


def check_rows(writer, state, decoded, starts, given=None):
    """What was written is what the loop in NumPy writes, its probability and its state too."""
    for row, start in enumerate(starts):
        symbols, total, (h, c) = by_hand(writer, row, start, None if given is None else given[row])
        assert decoded.symbols[row].tolist() == symbols + [END] * (L - len(symbols))
        assert decoded.lengths[row] == len(symbols) - (END in symbols)
        assert float(decoded.log_p[row]) == pytest.approx(total, rel=1e-10)
        assert_close((state.h[row], state.c[row]), (h, c), 1e-10)


def test_greedy_decoding(writer):
    state, decoded = decode(writer.step, writer.state, start=np.arange(V), end=END, max_length=L)
    check_rows(writer, state, decoded, range(V))
    assert set(decoded.lengths.tolist()) == {0, 2, 5, 12}  # rows that end at once, later, and never
    assert (decoded.symbols.dtype, decoded.lengths.dtype) == (jnp.int32, jnp.int32)


def test_a_draw_is_scored_by_the_model_before_any_filter(writer):
    choose = sample(temperature(1.5), top_k(4))
    state, decoded = decode(writer.step, writer.state, choose, start=2, end=END, max_length=L, key=KEY)
    check_rows(writer, state, decoded, [2] * V, given=np.asarray(decoded.symbols))
    greedily = decode(writer.step, writer.state, start=2, end=END, max_length=L)[1]
    assert not np.array_equal(decoded.symbols, greedily.symbols)


def test_the_loop_stops_when_all_rows_have_ended():
    calls = []

    def step(state, symbols):
        jax.debug.callback(lambda t: calls.append(int(t)), state[2])
        # Row b says the end symbol, 2, after b + 1 others.
        over = state >= jnp.arange(1, 4)
        return state + 1, jnp.stack([0.0 * over, ~over + 0.5, 2.0 * over], axis=1)

    _, decoded = decode(step, jnp.zeros(3, jnp.int32), start=0, end=2, max_length=1000)
    jax.effects_barrier()
    assert decoded.lengths.tolist() == [1, 2, 3]
    assert sorted(calls) == [0, 1, 2, 3]


def test_decoding_goes_on_from_where_it_stopped(writer):
    whole_state, whole = decode(writer.step, writer.state, start=1, end=None, max_length=9)
    state, first = decode(writer.step, writer.state, start=1, end=None, max_length=4)
    state, second = decode(writer.step, state, start=first.symbols[:, -1], end=None, max_length=5)
    np.testing.assert_array_equal(np.hstack([first.symbols, second.symbols]), whole.symbols)
    assert_close(state, whole_state, 1e-12)
    assert whole.lengths.tolist() == [9] * V
    assert (whole.symbols == END).any()  # which without an end is a symbol like any other


def test_draws_follow_the_probability_of_whole_sequences():
    # A chain of three symbols: the frequency of each string of two against the product of its transitions.
    chain = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.1, 0.2, 0.7]])
    count = 20_000
    state = jnp.zeros((count, 0))
    step = Partial(lambda table, state, symbols: (state, table[symbols]), jnp.log(chain))
    _, decoded = decode(step, state, sample(), start=0, end=None, max_length=2, key=KEY)
    frequency = np.zeros((3, 3))
    np.add.at(frequency, tuple(np.asarray(decoded.symbols).T), 1 / count)
    expected = chain[0][:, None] * chain
    assert (np.abs(frequency - expected) < 5 * np.sqrt(expected * (1 - expected) / count)).all()


def test_one_program_serves_all_parameters_and_choices(writer):
    step = chex.assert_max_traces(models.next_symbol, n=3)  # the check of its form, and the loop's condition and body
    for scale in (1.0, 1.1, 1.2):
        params = jax.tree.map(lambda leaf, scale=scale: scale * leaf, writer.params)
        choose = sample(temperature(scale))
        decode(Partial(step, params), writer.state, choose, start=1, end=END, max_length=3, key=KEY)


def test_decoding_inside_a_compiled_function(writer):
    @jax.jit
    def write(params, state, start, key, t):
        choose = sample(temperature(t))  # a traced number, which no check can look at
        return decode(Partial(models.next_symbol, params), state, choose, start=start, end=END, max_length=L, key=key)

    state, decoded = write(writer.params, writer.state, jnp.arange(V), KEY, 0.7)
    check_rows(writer, state, decoded, range(V), given=np.asarray(decoded.symbols))


def test_bfloat16_is_scored_in_float32(writer):
    params, h = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (writer.params, writer.state.h))
    state = writer.state._replace(h=h, c=writer.state.c.astype(jnp.float32))
    after, decoded = decode(Partial(models.next_symbol, params), state, start=1, end=END, max_length=L)
    assert decoded.log_p.dtype == jnp.float32
    assert (after.h.dtype, after.c.dtype) == (jnp.bfloat16, jnp.float32)
    assert np.isfinite(decoded.log_p).all()


def test_teacher_forcing_reads_the_true_symbols(writer):
    state, logits = teacher_forcing(writer.step, writer.state, INPUTS)
    for row in range(V):
        now = writer.numpy_state(row)
        for t in range(INPUTS.shape[1]):
            now, log_p = writer.numpy_step(now, INPUTS[row, t])
            assert_close(jax.nn.log_softmax(logits[row, t]), log_p, 1e-12)
        assert_close((state.h[row], state.c[row]), now, 1e-12)
    nothing_read, no_logits = teacher_forcing(writer.step, writer.state, INPUTS[:, :0])
    assert_close(nothing_read, writer.state, 0)
    assert no_logits.shape == (V, 0, V)


def test_the_steps_of_a_language_model_are_its_whole_pass(writer):
    zeros = jax.tree.map(jnp.zeros_like, writer.state)
    logits = teacher_forcing(writer.step, zeros, previous_symbols(jnp.asarray(INPUTS), 0))[1]
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), INPUTS[..., None], axis=-1)[..., 0]
    assert_close(log_p, models.log_probabilities(writer.params, jnp.asarray(INPUTS), 0), 1e-12)


def test_previous_symbols():
    assert previous_symbols(jnp.array([[3, 4, 5], [6, 7, 8]]), 1).tolist() == [[1, 3, 4], [1, 6, 7]]
    assert previous_symbols(jnp.array([3, 4]), 1).tolist() == [1, 3]
    assert previous_symbols(jnp.zeros((2, 0), int), 1).shape == (2, 0)


def test_scheduled_sampling_at_rate_0_is_teacher_forcing(writer):
    forced = teacher_forcing(writer.step, writer.state, INPUTS)
    assert_close(scheduled_sampling(writer.step, writer.state, INPUTS, 0.0, KEY), forced, 1e-14)


def test_scheduled_sampling_at_rate_1_is_decoding(writer):
    state, logits = scheduled_sampling(writer.step, writer.state, INPUTS, 1.0, KEY, greedy)
    decoded_state, decoded = decode(writer.step, writer.state, start=INPUTS[:, 0], end=None, max_length=7)
    np.testing.assert_array_equal(logits.argmax(axis=-1), decoded.symbols)
    assert_close(state, decoded_state, 1e-12)


def test_a_coin_decides_for_each_symbol_what_is_read():
    # The logits are those of what was read, so they tell it: the true symbols are 0, the model's choice is 1.
    def step(state, symbols):
        return state, jnp.stack([symbols, 10 - symbols], axis=1).astype(float)

    inputs, rate = np.zeros((500, 41), int), 0.3
    _, logits = scheduled_sampling(step, jnp.zeros((500, 0)), inputs, rate, KEY, greedy)
    own = np.asarray(logits[..., 0] == 1)
    assert not own[:, 0].any()  # the start is always the true one
    deviation = np.sqrt(rate * (1 - rate) / (500 * 40))
    assert abs(own[:, 1:].mean() - rate) < 5 * deviation
    assert np.abs(own[:, 1:].mean(axis=0) - rate).max() < 5 * deviation * np.sqrt(40)
    assert np.abs(own[:, 1:].mean(axis=1) - rate).max() < 5 * deviation * np.sqrt(500)


def test_scheduled_sampling_draws_from_the_models_distribution():
    logits = np.log([0.1, 0.2, 0.7])

    def step(state, symbols):
        return jnp.maximum(state, symbols), jnp.broadcast_to(logits, (len(symbols), 3))

    read, _ = scheduled_sampling(step, jnp.zeros(20_000, jnp.int32), np.zeros((20_000, 2), int), 1.0, KEY)
    frequency = np.bincount(read, minlength=3) / 20_000
    assert np.abs(frequency - np.exp(logits)).max() < 5 * np.sqrt(0.25 / 20_000)


def test_scheduled_sampling_trains_under_a_rate_that_grows(writer):
    @jax.jit
    @chex.assert_max_traces(n=1)
    def gradient(params, rate):
        def loss(params):
            step = Partial(models.next_symbol, params)
            _, logits = scheduled_sampling(step, writer.state, INPUTS, rate, KEY)
            return jax.nn.log_softmax(logits)[..., 0].mean()

        return jax.grad(loss)(params)

    forced = jax.grad(
        lambda params: jax.nn.log_softmax(
            teacher_forcing(Partial(models.next_symbol, params), writer.state, INPUTS)[1]
        )[..., 0].mean()
    )(writer.params)
    assert_close(gradient(writer.params, 0.0), forced, 1e-10)
    assert not np.allclose(gradient(writer.params, 0.5).head.w, forced.head.w)


def error_of(function, *args, **options):
    with pytest.raises(ValueError, match=r"^\w+") as error:
        function(*args, **options)
    return str(error.value)


def test_bad_arguments_are_named(writer):
    def attempt(step=writer.step, state=writer.state, **changes):
        return error_of(decode, step, state, **{"start": 0, "end": END, "max_length": 3, **changes})

    assert attempt(end=6) == "end: expected 0 to 5, a symbol that has a logit, got 6"
    assert attempt(start=-1) == "start: expected 0 to 5, a symbol that has a logit, got -1"
    assert attempt(max_length=0) == "max_length: expected at least 1, got 0"
    assert attempt(start=np.zeros(4, int)).endswith("got shapes [[6, 4], [6, 4], [4]]")
    assert attempt(state=()).endswith("got shapes []")
    assert attempt(choose=sample()) == "key: expected a random key to sample with, got None"
    flat = attempt(step=lambda state, symbols: (state, state.h[:, 0]))
    assert flat == "step: expected logits [6, V], got float64[6]"
    other = attempt(step=lambda state, symbols: (state.h, state.h))
    assert other.startswith("step: expected a state in the form of the one it takes, LSTMState(h='float64[6, 4]'")
    assert other.endswith("got float64[6, 4]")


def test_bad_inputs_are_named(writer):
    assert error_of(teacher_forcing, writer.step, writer.state, INPUTS * 0.5) == (
        "inputs: expected integers [B, T], got float64[6, 7]"
    )
    assert "got int64[6]" in error_of(scheduled_sampling, writer.step, writer.state, INPUTS[:, 0], 0.5, KEY)
    assert error_of(scheduled_sampling, writer.step, writer.state, INPUTS, 1.5, KEY) == (
        "rate: expected a probability from 0 to 1, got 1.5"
    )
