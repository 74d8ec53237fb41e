"""`lstm_cell` and `zero_state`."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from compare import assert_close, assert_close_by_norm
from problem import draw

from jaxlstm import LSTMState, lstm, lstm_cell, zero_state

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")


def expected_step(problem, activation=np.tanh):
    xs = np.asarray(problem.xs, np.float64)[..., :1, :]
    (h, c), _ = oracle.lstm(problem.params, xs, problem.state, activation=activation)
    return h, c


@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_step_equals_the_oracle(batch_shape, dtype, tolerance):
    problem = draw(batch_shape, dtype=dtype)
    state, y = lstm_cell(problem.params, problem.state, problem.xs[..., 0, :])
    assert_close(tuple(state), expected_step(problem), tolerance)
    np.testing.assert_array_equal(y, state.h)
    assert {leaf.dtype for leaf in (*state, y)} == {np.dtype(dtype)}


def test_step_in_bfloat16_keeps_its_cell_in_float32():
    problem = draw(dtype=jnp.bfloat16)
    state, y = lstm_cell(problem.params, problem.state, problem.xs[:, 0])
    h, c = expected_step(problem)
    assert (state.h.dtype, state.c.dtype, y.dtype) == (jnp.bfloat16, jnp.float32, jnp.bfloat16)
    assert_close(state.c, c, 2e-6)  # the weights and inputs were rounded before, and nothing since
    assert_close_by_norm(state.h, h, 2**-8)


@pytest.mark.parametrize("activation", [(jax.nn.relu, oracle.relu), (jnp.sin, np.sin)])
def test_activation(activation):
    problem = draw()
    state, _ = lstm_cell(problem.params, problem.state, problem.xs[:, 0], activation=activation[0])
    assert_close(tuple(state), expected_step(problem, activation[1]), 1e-14)


def test_gate_order_is_i_f_g_o():
    # Only one block of the bias is not zero, and x, h and the weights are: each gate shows by itself.
    problem = jax.tree.map(jnp.zeros_like, draw((), hidden_size=1))
    params, state, x = problem.params, LSTMState(jnp.zeros(1), jnp.ones(1)), problem.xs[0]

    def c_and_h(*b):
        (h, c), _ = lstm_cell(params._replace(b=jnp.array(b)), state, x)
        return float(c[0]), float(h[0] / jnp.tanh(c[0]))

    np.testing.assert_allclose(c_and_h(0.0, 0.0, 0.0, 0.0), (0.5, 0.5), rtol=1e-15)
    np.testing.assert_allclose(c_and_h(0.0, np.log(3), 0.0, 0.0), (0.75, 0.5), rtol=1e-15)  # f
    np.testing.assert_allclose(c_and_h(0.0, 0.0, np.arctanh(0.5), 0.0), (0.75, 0.5), rtol=1e-15)  # g, times i = 1/2
    np.testing.assert_allclose(c_and_h(np.log(3), 0.0, np.arctanh(0.5), 0.0), (0.875, 0.5), rtol=1e-15)  # i
    np.testing.assert_allclose(c_and_h(0.0, 0.0, 0.0, np.log(3)), (0.5, 0.75), rtol=1e-15)  # o


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_scan_over_the_cell_equals_lstm(dtype):
    problem = draw(dtype=dtype)
    state, ys = jax.lax.scan(partial(lstm_cell, problem.params), problem.state, jnp.moveaxis(problem.xs, 1, 0))
    expected = lstm(problem.params, problem.xs, problem.state)
    tolerance = {jnp.float32: 1e-6, jnp.float64: 1e-14, jnp.bfloat16: 0}[dtype]
    assert_close((state, jnp.moveaxis(ys, 0, 1)), expected, tolerance)
    assert state.c.dtype == expected[0].c.dtype


@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3)])
def test_zero_state(batch_shape):
    for dtype, c_dtype in [(jnp.float32,) * 2, (jnp.float64,) * 2, (jnp.bfloat16, jnp.float32)]:
        state = zero_state(batch_shape, 4, dtype)
        assert (state.h.shape, state.c.shape) == ((*batch_shape, 4),) * 2
        assert (state.h.dtype, state.c.dtype) == (dtype, c_dtype)
        assert not state.h.any()
        assert not state.c.any()
    assert zero_state((), 4).h.dtype == jnp.float32
    with pytest.raises(ValueError, match=r"^batch_shape: expected a tuple such as \(32,\), got 3$"):
        zero_state(3, 4)


# What is wrong with a step of 3 rows, D = 5, H = 4, and the message.
PARAMS, X, STATE, *_ = draw(dtype=np.float32)
X = np.asarray(X)[:, 0]
BAD = {
    "order": ((PARAMS, X, STATE), "x: expected an array, got LSTMState"),
    "params-tuple": ((tuple(PARAMS), STATE, X), "params: expected LSTMParams, as init_lstm makes them, got tuple"),
    "state-tuple": ((PARAMS, tuple(STATE), X), "state: expected LSTMState, as zero_state makes it, got tuple"),
    "x-features": ((PARAMS, STATE, X[:, :4]), "x: expected 5 features (params.w_x is [5, 16]), got 4 (x is [3, 4])"),
    "x-scalar": ((PARAMS, STATE, X[0, 0]), "x: expected shape [..., D], got []"),
    "x-integers": (
        (PARAMS, STATE, X.astype(np.int32)),
        "x: expected a floating dtype, got int32; embed or one-hot encode symbols first",
    ),
    "x-dtype": (
        (PARAMS, STATE, X.astype(np.float16)),
        "params.w_x: expected the dtype of x, float16, got float32",
    ),
    "state-batch": ((PARAMS, STATE, X[:2]), "state.h: expected shape [2, 4], got [3, 4]"),
    "c-width": ((PARAMS, STATE._replace(c=STATE.c[:, :1]), X), "state.c: expected shape [3, 4], got [3, 1]"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_error_names_the_argument(name):
    arguments, message = BAD[name]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        lstm_cell(*arguments)
    lstm_cell(PARAMS, STATE, X)  # which is good
