"""Bad input to `lstm`: a ValueError that names the argument, what was expected and what came."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problem import draw

from jaxlstm import LSTMState, lstm

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


# What is wrong, as a change to good arguments (3 rows, 7 steps, D = 5, H = 4), and the message.
BAD = {
    "implementation": (
        {"implementation": "triton"},
        "implementation: expected one of 'scan', 'cudnn', 'pallas', or None, got 'triton'",
    ),
    "unroll": ({"unroll": 0}, "unroll: expected at least 1, got 0"),
    "xs-list": ({"xs": [[[0.0] * 5] * 7] * 3}, "xs: expected an array, got list"),
    "w_h-list": ({"w_h": [[0.0] * 16] * 4}, "params.w_h: expected an array, got list"),
    "h_scale-list": ({"h_scale": [[1.0] * 4] * 3}, "h_scale: expected an array, got list"),
    "activation": ({"activation": "tanh"}, "activation: expected a function such as jnp.tanh, got 'tanh'"),
    "reverse": ({"reverse": 1}, "reverse: expected True or False (static under jit), got int"),
    "time_major-array": (
        {"time_major": np.ones(3, bool)},
        "time_major: expected True or False (static under jit), got ndarray",
    ),
    "w_h-rank": ({"w_h": zeros(16)}, "params.w_h: expected shape [H, 4H], got [16]"),
    "w_h-width": ({"w_h": zeros(4, 12)}, "params.w_h: expected shape [H, 4H], got [4, 12]"),
    "w_x-rank": ({"w_x": zeros(16)}, "params.w_x: expected shape [D, 16], got [16]"),
    "w_x-width": ({"w_x": zeros(5, 12)}, "params.w_x: expected shape [D, 16], got [5, 12]"),
    "b": ({"b": zeros(1, 16)}, "params.b: expected shape [16], got [1, 16]"),
    "xs-rank": ({"xs": zeros(5)}, "xs: expected shape [..., T, D] with at least 2 dimensions, got [5]"),
    "xs-features": (
        {"xs": zeros(3, 7, 6)},
        "xs: expected 5 features (params.w_x is [5, 16]), got 6 (xs is [3, 7, 6])",
    ),
    "xs-integers": (
        {"xs": zeros(3, 7, 5, dtype=np.int32)},
        "xs: expected a floating dtype, got int32; embed or one-hot encode symbols first",
    ),
    "xs-complex": ({"xs": zeros(3, 7, 5, dtype=np.complex64)}, "xs: expected a floating dtype, got complex64"),
    "w_x-dtype": (
        {"w_x": zeros(5, 16, dtype=np.float32)},
        "params.w_x: expected the dtype of xs, float64, got float32",
    ),
    "w_h-dtype": (
        {"w_h": zeros(4, 16, dtype=np.float32)},
        "params.w_h: expected the dtype of xs, float64, got float32",
    ),
    "b-dtype": ({"b": zeros(16, dtype=np.int32)}, "params.b: expected the dtype of xs, float64, got int32"),
    "h-shape": ({"h": zeros(4)}, "state.h: expected shape [3, 4], got [4]"),
    "c-shape": ({"c": zeros(3, 5)}, "state.c: expected shape [3, 4], got [3, 5]"),
    "h-dtype": (
        {"h": zeros(3, 4, dtype=np.float32)},
        "state.h: expected float64 beside float64 inputs, got float32",
    ),
    "c-dtype": (
        {"c": zeros(3, 4, dtype=np.float32)},
        "state.c: expected float64 beside float64 inputs, got float32",
    ),
    "h_scale": ({"h_scale": zeros(4)}, "h_scale: expected shape [3, 4], got [4]"),
    "both": (
        {"lengths": [7, 7, 7], "mask": np.ones((3, 7), bool)},
        "lengths and mask: expected at most one of them, got both",
    ),
    "lengths-shape": ({"lengths": [7, 7]}, "lengths: expected shape [3], got [2]"),
    "lengths-scalar": ({"lengths": 7}, "lengths: expected shape [3], got []"),
    "lengths-floats": ({"lengths": [7.0, 7.0, 7.0]}, "lengths: expected integers, got float64"),
    "lengths-booleans": ({"lengths": [True, True, True]}, "lengths: expected integers, got bool"),
    "lengths-too-long": ({"lengths": [1, 8, 9]}, "lengths: expected 0 to 7, the steps of xs, got 9"),
    "lengths-negative": ({"lengths": [1, -2, 9]}, "lengths: expected 0 to 7, the steps of xs, got -2"),
    "mask-shape": ({"mask": np.ones((7, 3), bool)}, "mask: expected shape [3, 7], got [7, 3]"),
    "mask-integers": (
        {"mask": np.ones((3, 7), np.int32)},
        "mask: expected booleans, True where a step is valid, got int32",
    ),
    "time_major": ({"time_major": True, "lengths": [7, 7, 7]}, "lengths: expected shape [7], got [3]"),
    "time_major-mask": (
        {"time_major": True, "xs": zeros(7, 3, 5), "mask": np.ones((3, 7), bool)},
        "mask: expected shape [7, 3], got [3, 7]",
    ),
}


def call(changes):
    params, xs, state, _ = draw()
    changes = dict(changes)
    for name in params._fields:
        params = params._replace(**{name: changes.pop(name, getattr(params, name))})
    xs = changes.pop("xs", xs)
    if {"h", "c"} & changes.keys():
        state = LSTMState(changes.pop("h", state.h), changes.pop("c", state.c))
        return lstm(params, xs, state, **changes)
    return lstm(params, xs, **changes)


def test_the_arguments_are_good_but_for_the_change():
    call({})
    call({"h": zeros(3, 4), "lengths": [0, 7, 3]})


@pytest.mark.parametrize("name", BAD)
def test_message(name):
    changes, message = BAD[name]
    with pytest.raises(ValueError, match="^" + re.escape(message)) as caught:
        call(changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["xs-features", "lengths-shape", "mask-integers", "both", "h-dtype"])
def test_message_under_jit(name):
    changes, message = BAD[name]
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        jax.jit(lambda arrays: call(arrays))(jax.tree.map(np.asarray, changes, is_leaf=lambda x: isinstance(x, list)))


def test_flags_are_not_traced():
    params, xs, *_ = draw()
    with pytest.raises(ValueError, match=r"^reverse: expected True or False \(static under jit\), got \w*Tracer\b"):
        jax.jit(lstm)(params, xs, reverse=True)


def test_a_tuple_is_no_params():
    params, xs, *_ = draw()
    with pytest.raises(ValueError, match=r"^params: expected LSTMParams, as init_lstm makes them, got tuple$"):
        lstm(tuple(params), xs)


def test_a_tuple_is_no_state():
    params, xs, state, _ = draw()
    with pytest.raises(ValueError, match=r"^state: expected LSTMState, as zero_state makes it, got tuple$"):
        lstm(params, xs, tuple(state))


def test_float32_cell_state_beside_bfloat16():
    problem = draw(dtype=jnp.bfloat16)
    state = problem.state._replace(c=problem.state.c.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=r"^state\.c: expected float32 beside bfloat16 inputs, got bfloat16"):
        lstm(*problem[:2], state)
