"""Weights of Keras, Flax, Haiku and Equinox, and back, each against the library itself on ragged batches."""

import copy
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close, assert_equal
from layered import LENGTHS, TOLERANCES, VALID, inputs_of, only_valid, pair_of, params_of, run_direction, run_layer

from jaxlstm import LSTMParams, LSTMState, interop
from jaxlstm.interop import ProjectedLSTMParams

pytestmark = [
    pytest.mark.usefixtures("float64"),
    # Keras's own Variable.numpy, under NumPy 2.4.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

with_dtypes = pytest.mark.parametrize("dtype", TOLERANCES)


# Keras, in float32: its tanh on JAX rounds float64 to that.


@pytest.fixture
def keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras", reason="Keras is not installed")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_keras_lstm(keras, bias, reverse):
    layer = keras.layers.LSTM(4, return_sequences=True, return_state=True, use_bias=bias, go_backwards=reverse)
    xs = inputs_of(np.float32)
    ys, h, c = layer(xs, mask=VALID)
    ys = ys[:, ::-1] if reverse else ys
    params = interop.from_keras(layer.get_weights() if reverse else layer)
    assert_close(run_direction(params, xs, LENGTHS, reverse), (LSTMState(h, c), only_valid(ys)), 1e-6)


def test_keras_bidirectional(keras):
    layer = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True, return_state=True))
    xs = inputs_of(np.float32)
    ys, *states = layer(xs, mask=VALID)
    expected = [LSTMState(*states[:2]), LSTMState(*states[2:])], only_valid(ys)
    assert_close(run_layer(interop.from_keras(layer), xs, LENGTHS), expected, 1e-6)


def test_keras_weights_keep_float64(keras):
    layer = keras.layers.LSTM(4, dtype="float64")
    layer.build((None, 7, 5))
    assert interop.from_keras(layer).w_x.dtype == np.float64


@pytest.mark.parametrize("bidirectional", [False, True])
def test_to_keras_and_back(keras, bidirectional):
    layer = keras.layers.LSTM(4, dropout=0.2, recurrent_dropout=0.2)  # its seed is no weight
    layer = keras.layers.Bidirectional(layer) if bidirectional else layer
    layer.build((None, 7, 5))
    params = pair_of() if bidirectional else params_of()
    layer.set_weights(interop.to_keras(params))
    assert_equal(interop.from_keras(layer), params)


KERAS_ERRORS = {
    "activation": (
        lambda layers: layers.LSTM(4, activation="relu"),
        r"activation: expected tanh, got relu; convert layer\.get_weights\(\)",
    ),
    "gates": (
        lambda layers: layers.LSTM(4, recurrent_activation="hard_sigmoid"),
        "recurrent_activation: expected sigmoid, got hard_sigmoid",
    ),
    "go_backwards": (lambda layers: layers.LSTM(4, go_backwards=True), "go_backwards: expected False, got True"),
    "merge_mode": (
        lambda layers: layers.Bidirectional(layers.LSTM(4), merge_mode="sum"),
        "merge_mode: expected concat, got sum",
    ),
    "inner-activation": (
        lambda layers: layers.Bidirectional(layers.LSTM(4, activation="relu")),
        "activation: expected tanh, got relu",
    ),
    "gru": (lambda layers: layers.GRU(4), "source: expected an LSTM, an LSTMCell or a Bidirectional, got GRU"),
    "bidirectional-gru": (
        lambda layers: layers.Bidirectional(layers.GRU(4)),
        "source: expected a Bidirectional of LSTMs, got one of GRU",
    ),
    "unbuilt": (lambda layers: layers.LSTM(4), "source: expected a layer that is built"),
    "count": (lambda layers: [np.zeros((5, 16))] * 5, "weights: expected 2 or 3 arrays of an LSTM, .* got 5"),
    "shape": (
        lambda layers: [np.zeros((5, 16)), np.zeros((4, 12)), np.zeros(16)],
        r"weights\[1\]: expected shape \[4, 16\], got \[4, 12\]",
    ),
    "no-array": (lambda layers: [1, 2, 3], r"weights\[1\]: expected an array, got int"),
    "two-layers": (
        lambda layers: [np.zeros(shape) for size in (5, 4) for shape in ((size, 16), (4, 16), 16)],
        "weights: expected two directions over the same inputs, got inputs of 5 and 4 features",
    ),
}


@pytest.mark.parametrize("name", KERAS_ERRORS)
def test_keras_errors(keras, name):
    source, message = KERAS_ERRORS[name]
    with pytest.raises(ValueError, match=r"^" + message):
        interop.from_keras(source(keras.layers))


# Flax


@pytest.fixture
def linen():
    return pytest.importorskip("flax.linen", reason="Flax is not installed")


@pytest.fixture
def nnx():
    return pytest.importorskip("flax.nnx", reason="Flax is not installed")


def flax_outputs(result):
    (c, h), ys = result
    return LSTMState(h, c), only_valid(ys)


@with_dtypes
@pytest.mark.parametrize("cell", ["LSTMCell", "OptimizedLSTMCell"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_linen(linen, cell, reverse, dtype):
    module = linen.RNN(
        getattr(linen, cell)(4, param_dtype=dtype, bias_init=linen.initializers.normal()),
        return_carry=True,
        reverse=reverse,
        keep_order=True,
    )
    xs = inputs_of(dtype)
    variables = module.init(jax.random.key(0), xs)
    params = interop.from_flax(variables)
    expected = flax_outputs(module.apply(variables, xs, seq_lengths=LENGTHS))
    assert_close(run_direction(params, xs, LENGTHS, reverse), expected, TOLERANCES[dtype])
    assert_equal({"params": {"cell": interop.to_flax(params)}}, variables)


@pytest.mark.parametrize("partitioned", ["with_partitioning", "with_logical_partitioning"])
def test_linen_parameters_in_boxes(linen, partitioned):
    kernel_init = getattr(linen, partitioned)(linen.initializers.lecun_normal(), (None, "model"))
    cell, xs = linen.LSTMCell(4, kernel_init=kernel_init), inputs_of(np.float32)
    variables = linen.RNN(cell).init(jax.random.key(0), xs)
    assert isinstance(variables["params"]["cell"]["ii"]["kernel"], linen.Partitioned)
    assert_equal(interop.from_flax(variables), interop.from_flax(linen.unbox(variables)))


@with_dtypes
@pytest.mark.parametrize(("cell", "form"), [("LSTMCell", "nnx"), ("OptimizedLSTMCell", "nnx-optimized")])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_nnx(nnx, cell, form, reverse, dtype):
    module = getattr(nnx, cell)(5, 4, param_dtype=dtype, rngs=nnx.Rngs(0))
    run = nnx.RNN(module, return_carry=True, reverse=reverse, keep_order=True, rngs=nnx.Rngs(0))
    params, xs = params_of(dtype), inputs_of(dtype)
    nnx.update(module, interop.to_flax(params, form))
    expected = flax_outputs(run(xs, seq_lengths=jnp.asarray(LENGTHS)))
    assert_close(run_direction(params, xs, LENGTHS, reverse), expected, TOLERANCES[dtype])
    states = nnx.state(module, nnx.Param), nnx.state(run, nnx.Param)
    for source in (module, run, *states, *map(nnx.to_pure_dict, states)):
        assert_equal(interop.from_flax(source), params)


def test_nnx_bidirectional(nnx):
    def half():
        return nnx.RNN(nnx.LSTMCell(5, 4, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))

    module, pair = nnx.Bidirectional(half(), half(), rngs=nnx.Rngs(0)), pair_of()
    nnx.update(module, interop.to_flax(pair, "nnx"))
    for source in (module, nnx.state(module, nnx.Param)):
        assert_equal(interop.from_flax(source), pair)
    xs = inputs_of(np.float32)
    _, expected = run_layer(pair, xs, np.full(3, 7))
    assert_close(module(xs), expected, 1e-6)


def test_nnx_states_with_random_numbers_beside_the_parameters(nnx):
    rnns = [nnx.RNN(nnx.LSTMCell(5, 4, rngs=nnx.Rngs(seed)), rngs=nnx.Rngs(0)) for seed in range(2)]
    both = nnx.Bidirectional(*rnns, rngs=nnx.Rngs(0))
    for module in (rnns[0], both):
        expected = interop.from_flax(module)
        assert_equal(interop.from_flax(nnx.state(module)), expected)
        assert_equal(interop.from_flax(nnx.to_pure_dict(nnx.state(module))), expected)
    assert_equal(interop.from_flax(copy.deepcopy(rnns[0])), interop.from_flax(rnns[0]))


def test_flax_errors(nnx):
    good = interop.to_flax(params_of())
    with pytest.raises(ValueError, match=r"^hf/bias: expected this key, got 'hf/kernel'"):
        interop.from_flax(good | {"hf": {"kernel": good["hf"]["kernel"]}})
    with pytest.raises(ValueError, match=r"^io/kernel: expected shape \[\*, 4\], got \[5, 3\]"):
        interop.from_flax(good | {"io": {"kernel": good["io"]["kernel"][:, 1:]}})
    with pytest.raises(ValueError, match=r"^hi/kernel: expected this key, got 'a/b/c'"):
        interop.from_flax({"a": {"b": {"c": jnp.zeros(3)}}})
    with pytest.raises(
        ValueError, match=r"^source: expected parameters or an NNX module with an LSTM cell, got GRUCell"
    ):
        interop.from_flax(nnx.GRUCell(5, 4, rngs=nnx.Rngs(0)))
    rngs = nnx.Rngs(0)
    stacked = nnx.Sequential(*(nnx.RNN(nnx.LSTMCell(size, 4, rngs=rngs), rngs=rngs) for size in (5, 4)))
    with pytest.raises(
        ValueError, match=r"^source: expected one cell, RNN or Bidirectional, got Sequential with 2 cells; convert its"
    ):
        interop.from_flax(stacked)
    with pytest.raises(ValueError, match=r"^hi/kernel: expected this key, got 'layers/0/cell/hf/bias', "):
        interop.from_flax(nnx.state(stacked, nnx.Param))
    for option, message in (("gate_fn", "no other is supported"), ("activation_fn", r"convert its nnx\.state")):
        cell = nnx.LSTMCell(5, 4, rngs=nnx.Rngs(0), **{option: jax.nn.relu})
        with pytest.raises(ValueError, match=rf"^{option}: expected .* got .*; {message}"):
            interop.from_flax(cell)
    with pytest.raises(ValueError, match=r"^source: expected kernels and biases alone, got 'hi/lora_a' as well"):
        interop.from_flax(good | {"hi": good["hi"] | {"lora_a": jnp.zeros((4, 2))}})
    cell = nnx.OptimizedLSTMCell(5, 4, rngs=rngs)
    cell.dense_h.dot_general = lambda *arguments, **options: 2 * jax.lax.dot_general(*arguments, **options)
    with pytest.raises(ValueError, match=r"^cell\.dense_h\.dot_general: expected jax\.lax\.dot_general, got "):
        interop.from_flax(cell)
    cell.dense_h = nnx.LoRALinear(4, 16, lora_rank=2, rngs=rngs)
    with pytest.raises(ValueError, match=r"^cell\.dense_h: expected nnx\.Linear, got LoRALinear, which computes more"):
        interop.from_flax(cell)
    with pytest.raises(ValueError, match=r"^source: expected kernels and biases alone, got 'dense_h/lora/lora_a', "):
        interop.from_flax(nnx.state(cell))
    with pytest.raises(ValueError, match=r"^form: expected one of 'linen', 'nnx', 'nnx-optimized', got 'jax'"):
        interop.to_flax(params_of(), "jax")


# Haiku and Equinox know no lengths: each row is run on its own.


def by_row(run, xs):
    """`run(xs [T, D])` -> h, c and ys of a sequence; here of each row, cut to its length and padded again."""
    rows = [run(row[:length]) for row, length in zip(xs, LENGTHS, strict=True)]
    ys = [np.pad(ys, [(0, 7 - len(ys)), (0, 0)]) for _, _, ys in rows]
    return LSTMState(*(np.stack([row[leaf] for row in rows]) for leaf in (0, 1))), np.stack(ys)


@with_dtypes
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_haiku(reverse, dtype):
    hk = pytest.importorskip("haiku", reason="Haiku is not installed")

    def unroll(xs):
        core = hk.LSTM(4)
        start = jax.tree.map(lambda leaf: leaf.astype(dtype), core.initial_state(None))
        return hk.dynamic_unroll(core, xs, start, reverse=reverse)

    transformed, xs = hk.transform(unroll), inputs_of(dtype)
    params = params_of(dtype)

    def run(xs):
        ys, state = transformed.apply(interop.to_haiku(params), None, xs)
        return state.hidden, state.cell, ys

    assert_close(run_direction(params, xs, LENGTHS, reverse), by_row(run, xs), TOLERANCES[dtype])
    drawn = transformed.init(jax.random.key(0), xs[0])
    assert jax.tree.structure(drawn) == jax.tree.structure(interop.to_haiku(params))
    assert_equal(interop.to_haiku(interop.from_haiku(drawn)), drawn)


def test_haiku_round_trip():
    params = params_of()
    once = interop.from_haiku(interop.to_haiku(params))
    i_g_o = np.r_[0:4, 8:16]
    assert_equal((once.w_x, once.w_h, once.b[i_g_o]), (params.w_x, params.w_h, params.b[i_g_o]))
    # The forget bias is rounded where 1 is taken off, and never again.
    np.testing.assert_allclose(once.b, params.b, rtol=0, atol=np.finfo(np.float32).eps)
    assert_equal(interop.from_haiku(interop.to_haiku(once)), once)


def test_haiku_errors():
    good = interop.to_haiku(params_of(), "core/linear")
    assert_equal(interop.from_haiku(good, "core/linear").w_x, params_of().w_x)
    with pytest.raises(ValueError, match=r"^lstm/linear: expected this key, got 'core/linear'"):
        interop.from_haiku(good)
    with pytest.raises(ValueError, match=r"^lstm/linear/b: expected this key, got 'lstm/linear/w'"):
        interop.from_haiku({"lstm/linear": {"w": jnp.zeros((9, 16))}})
    with pytest.raises(
        ValueError, match=r"^lstm/linear: expected w \[D \+ H, 4H\] and b \[4H\], got \[4, 16\] and \[16\]"
    ):
        interop.from_haiku({"lstm/linear": {"w": jnp.zeros((4, 16)), "b": jnp.zeros(16)}})


@with_dtypes
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_equinox(reverse, dtype):
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed")
    cell = eqx.nn.LSTMCell(5, 4, dtype=dtype, key=jax.random.key(0))
    params, xs = interop.from_equinox(cell), inputs_of(dtype)

    def run(xs):
        def step(state, x):
            h, c = cell(x, state)
            return (h, c), h

        zeros = jnp.zeros(4, dtype)
        (h, c), ys = jax.lax.scan(step, (zeros, zeros), xs, reverse=reverse)
        return h, c, ys

    assert_close(run_direction(params, xs, LENGTHS, reverse), by_row(run, xs), TOLERANCES[dtype])
    assert_equal(interop.to_equinox(params), cell)
    assert_equal(interop.from_equinox(interop.to_equinox(params_of(dtype))), params_of(dtype))


def test_equinox_without_a_bias_and_errors():
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed")
    params = interop.from_equinox(eqx.nn.LSTMCell(5, 4, use_bias=False, key=jax.random.key(0)))
    np.testing.assert_array_equal(params.b, np.zeros(16))
    with pytest.raises(ValueError, match=r"^cell: expected an equinox\.nn\.LSTMCell, got GRUCell"):
        interop.from_equinox(eqx.nn.GRUCell(5, 4, key=jax.random.key(0)))


# All of them


@pytest.mark.parametrize("convert", [interop.to_keras, interop.to_flax, interop.to_haiku, interop.to_equinox])
def test_what_holds_no_projection_says_so(convert):
    projected = ProjectedLSTMParams(jnp.zeros((5, 16)), jnp.zeros((2, 16)), jnp.zeros(16), jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"^(layer|params): expected LSTMParams, got ProjectedLSTMParams"):
        convert(projected)
    broken = LSTMParams(jnp.zeros((5, 16)), jnp.zeros((4, 16)), jnp.zeros(12))
    with pytest.raises(ValueError, match=r"^(layer|params)\.b: expected shape \[16\], got \[12\]"):
        convert(broken)
