"""What must hold for any weights, inputs, masks and lengths, by hypothesis.

The sizes come from a short list, so that each program is compiled once; all else is drawn.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from hypothesis import given
from hypothesis import strategies as st
from problem import draw

from jaxlstm import lstm

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

STEPS = 6


@st.composite
def problems(draw_from, batch_shape=(3,)):
    """Weights from nearly linear to saturated."""
    scale = draw_from(st.sampled_from([0.03, 0.3, 1.0, 3.0]))
    return draw(batch_shape, STEPS, 2, 3, scale=scale, seed=draw_from(st.integers(0, 2**32 - 1)))


def masks(rows=3):
    row = st.lists(st.booleans(), min_size=STEPS, max_size=STEPS)
    return st.lists(row, min_size=rows, max_size=rows).map(np.array)


def lengths(rows=3):
    return st.lists(st.integers(0, STEPS), min_size=rows, max_size=rows).map(np.array)


@given(problems(), masks(), st.integers(0, STEPS), st.booleans())
def test_split_equals_whole(problem, mask, split, reverse):
    params, xs, state, _ = problem
    halves = [slice(0, split), slice(split, STEPS)]
    ys = [None, None]
    for n in (1, 0) if reverse else (0, 1):
        half = halves[n]
        state, ys[n] = lstm(params, xs[:, half], state, mask=mask[:, half], reverse=reverse)
    whole = lstm(params, xs, problem.state, mask=mask, reverse=reverse)
    assert_close((state, jnp.concatenate(ys, axis=1)), whole, 1e-13)


@given(problems(), lengths(), st.booleans(), st.sampled_from([0.0, 1e6, np.nan, np.inf, -np.inf]))
def test_more_padding_changes_nothing(problem, lengths, reverse, junk):
    params, xs, state, _ = problem
    expected_state, expected_ys = lstm(params, xs, state, lengths=lengths, reverse=reverse)
    padded = jnp.pad(xs, ((0, 0), (0, 3), (0, 0)), constant_values=junk)
    actual_state, ys = lstm(params, padded, state, lengths=lengths, reverse=reverse)
    assert_close((actual_state, ys[:, :STEPS]), (expected_state, expected_ys), 1e-13)
    np.testing.assert_array_equal(ys[:, STEPS:], 0)


@given(problems(), lengths(), st.booleans())
def test_lengths_equal_their_mask(problem, lengths, reverse):
    mask = np.arange(STEPS) < lengths[:, None]
    actual = lstm(*problem[:3], lengths=lengths, reverse=reverse)
    assert_close(actual, lstm(*problem[:3], mask=mask, reverse=reverse), 1e-13)


@given(problems(), masks(), st.booleans())
def test_batch_equals_vmap_of_single(problem, mask, reverse):
    params, xs, state, h_scale = problem

    def single(xs, state, h_scale, mask):
        return lstm(params, xs, state, h_scale=h_scale, mask=mask, reverse=reverse)

    whole = lstm(params, xs, state, h_scale=h_scale, mask=mask, reverse=reverse)
    assert_close(whole, jax.vmap(single)(xs, state, h_scale, jnp.asarray(mask)), 1e-13)


@given(problems(), masks())
def test_reverse_equals_flip_run_flip(problem, mask):
    params, xs, state, _ = problem
    final, ys = lstm(params, xs[:, ::-1], state, mask=mask[:, ::-1])
    assert_close(lstm(params, xs, state, mask=mask, reverse=True), (final, ys[:, ::-1]), 1e-13)


@given(problems(()), st.lists(st.booleans(), min_size=STEPS, max_size=STEPS), st.booleans())
def test_masked_steps_might_as_well_not_be_there(problem, mask, reverse):
    # Left padding, right padding and holes at once: the valid steps alone, side by side, give the same.
    params, xs, state, _ = problem
    mask = np.array(mask)
    final, ys = lstm(params, xs, state, mask=mask, reverse=reverse)
    assert_close((final, ys[mask]), lstm(params, xs[mask], state, reverse=reverse), 1e-13)
    np.testing.assert_array_equal(ys[~mask], 0)


@given(problems(), masks(), st.booleans(), st.sampled_from([2, 4, 6, 9]))
def test_any_unroll_equals_one(problem, mask, reverse, unroll):
    one = lstm(*problem[:3], mask=mask, reverse=reverse)
    assert_close(lstm(*problem[:3], mask=mask, reverse=reverse, unroll=unroll), one, 1e-13)


@given(problems(), st.permutations(range(3)), masks())
def test_rows_do_not_see_one_another(problem, order, mask):
    order = np.array(order)
    state, ys = lstm(*problem[:3], mask=mask)
    expected = jax.tree.map(lambda leaf: leaf[order], (state, ys))
    params, xs, state, _ = problem
    permuted = lstm(params, xs[order], jax.tree.map(lambda leaf: leaf[order], state), mask=mask[order])
    assert_close(permuted, expected, 1e-13)


@given(problems(), lengths(), st.booleans())
def test_time_major_equals_batch_major(problem, lengths, reverse):
    params, xs, state, _ = problem
    final, ys = lstm(params, jnp.swapaxes(xs, 0, 1), state, lengths=lengths, reverse=reverse, time_major=True)
    expected = lstm(params, xs, state, lengths=lengths, reverse=reverse)
    assert_close((final, jnp.swapaxes(ys, 0, 1)), expected, 1e-13)


@given(problems())
def test_h_scale_of_zeros_forgets_h_and_of_ones_is_none(problem):
    params, xs, state, h_scale = problem
    plain = lstm(params, xs, state)
    assert_close(lstm(params, xs, state, h_scale=jnp.ones_like(h_scale)), plain, 1e-13)
    without_w_h = lstm(params._replace(w_h=jnp.zeros_like(params.w_h)), xs, state)
    assert_close(lstm(params, xs, state, h_scale=jnp.zeros_like(h_scale)), without_w_h, 1e-13)
