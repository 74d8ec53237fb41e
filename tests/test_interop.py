"""Weights from other libraries and back, each against the library itself on ragged batches."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from jax.experimental import rnn
from layered import run_direction, run_layer, run_stack
from problem import draw

from jaxlstm import LSTMParams, LSTMState, interop, lstm
from jaxlstm.interop import BidirectionalParams

pytestmark = [
    pytest.mark.usefixtures("float64"),
    # Keras's own Variable.numpy, under NumPy 2.4.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

TOLERANCES = {np.float64: 1e-12, np.float32: 1e-6}
LENGTHS = np.array([4, 1, 7], np.int32)
VALID = np.arange(7) < LENGTHS[:, None]


def with_dtypes(test):
    return pytest.mark.parametrize("dtype", TOLERANCES)(test)


def params_of(dtype=np.float32, seed=0, input_size=5):
    return draw(input_size=input_size, dtype=dtype, seed=seed).params


def pair_of(dtype=np.float32):
    return BidirectionalParams(params_of(dtype, 1), params_of(dtype, 2))


def inputs_of(dtype):
    return draw(dtype=dtype).xs


def only_valid(ys):
    return np.where(VALID[..., None], ys, 0)


def assert_equal(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


# PyTorch


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


TORCH_OPTIONS = {
    "one": {},
    "no-bias": {"bias": False},
    "stack": {"num_layers": 3},
    "bidirectional": {"num_layers": 2, "bidirectional": True},
    "projected": {"proj_size": 2},
    "everything": {"num_layers": 2, "bidirectional": True, "proj_size": 3},
}


def torch_lstm(torch, dtype=np.float32, **options):
    torch.manual_seed(0)
    return torch.nn.LSTM(5, 4, batch_first=True, dtype=getattr(torch, np.dtype(dtype).name), **options)


@with_dtypes
@pytest.mark.parametrize("name", TORCH_OPTIONS)
@pytest.mark.parametrize("as_state_dict", [False, True], ids=["module", "state dict"])
def test_from_torch(torch, name, dtype, as_state_dict):
    module = torch_lstm(torch, dtype, **TORCH_OPTIONS[name])
    layers = interop.from_torch(module.state_dict() if as_state_dict else module)
    utils, xs = torch.nn.utils.rnn, inputs_of(dtype)
    packed = utils.pack_padded_sequence(
        torch.from_numpy(np.array(xs)), torch.from_numpy(LENGTHS), batch_first=True, enforce_sorted=False
    )
    with torch.no_grad():
        ys, (h, c) = module(packed)
    ys, _ = utils.pad_packed_sequence(ys, batch_first=True, total_length=7)
    assert_close(run_stack(layers, xs, LENGTHS), (LSTMState(h.numpy(), c.numpy()), ys.numpy()), TOLERANCES[dtype])
    assert {leaf.dtype for leaf in jax.tree.leaves(layers)} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", TORCH_OPTIONS.keys() - {"no-bias"})
def test_to_torch_and_back(torch, name):
    layers = interop.from_torch(torch_lstm(torch, **TORCH_OPTIONS[name]))
    state_dict = interop.to_torch(layers)
    fresh = torch_lstm(torch, **TORCH_OPTIONS[name])
    fresh.load_state_dict(state_dict)  # strict: every key, and every shape
    assert_equal(interop.from_torch(fresh), layers)
    for key, tensor in interop.to_torch(interop.from_torch(fresh)).items():
        assert torch.equal(tensor, state_dict[key]), key


def test_the_two_biases_of_torch_are_added(torch):
    module = torch_lstm(torch)
    (params,) = interop.from_torch(module)
    np.testing.assert_array_equal(params.b, (module.bias_ih_l0 + module.bias_hh_l0).detach().numpy())
    assert interop.to_torch((params,))["bias_hh_l0"].count_nonzero() == 0


def test_torch_in_bfloat16(torch):
    module = torch_lstm(torch).bfloat16()
    layers = interop.from_torch(module)
    assert layers[0].w_x.dtype == jnp.bfloat16
    assert torch.equal(interop.to_torch(layers)["weight_ih_l0"], module.weight_ih_l0)


def test_torch_weights_inside_a_larger_model(torch):
    model = torch.nn.ModuleDict({"encoder": torch_lstm(torch), "head": torch.nn.Linear(4, 2)})
    assert_equal(interop.from_torch(model.state_dict(), prefix="encoder."), interop.from_torch(model["encoder"]))


def test_a_forget_gate_moved_in_torch_moves_in_ours(torch):
    # Zero weights but for the forget bias: c halves or stays, so that a swapped gate cannot hide.
    module = torch_lstm(torch)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.bias_hh_l0[4:8] = 1000.0
    (params,) = interop.from_torch(module)
    state, _ = lstm(
        params, jnp.zeros((7, 5), jnp.float32), LSTMState(jnp.zeros(4, jnp.float32), jnp.ones(4, jnp.float32))
    )
    np.testing.assert_array_equal(state.c, 1)


TORCH_ERRORS = {
    "batch_first": (
        lambda torch: torch.nn.LSTM(5, 4),
        r"batch_first: expected True, got False; .*state_dict\(\).*time_major=True",
    ),
    "gru": (lambda torch: torch.nn.GRU(5, 4), r"source: expected a torch\.nn\.LSTM or its state dict, got GRU"),
    "gru-weights": (
        lambda torch: torch.nn.GRU(5, 4).state_dict(),
        r"weight_hh_l0: expected shape \[16, \*\], got \[12, 4\]",
    ),
    "missing": (
        lambda torch: {k: v for k, v in torch.nn.LSTM(5, 4).state_dict().items() if k != "bias_hh_l0"},
        "bias_hh_l0: expected this key, got 'weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0'",
    ),
    "empty": (lambda torch: {}, "weight_hh_l0: expected this key, got none"),
    "more": (
        lambda torch: torch.nn.ModuleDict({"lstm": torch.nn.LSTM(5, 4)}).state_dict(),
        r"lstm\.weight_ih_l0: expected the keys of one torch\.nn\.LSTM; name it by its prefix",
    ),
    "shape": (
        lambda torch: torch.nn.LSTM(5, 4).state_dict() | {"weight_ih_l0": torch.zeros(5, 16)},
        r"weight_ih_l0: expected shape \[16, \*\], got \[5, 16\]",
    ),
    "integers": (
        lambda torch: torch.nn.LSTM(5, 4).state_dict() | {"bias_ih_l0": torch.zeros(16, dtype=torch.int32)},
        "bias_ih_l0: expected a floating dtype, got int32",
    ),
}


@pytest.mark.parametrize("name", TORCH_ERRORS)
def test_torch_errors(torch, name):
    source, message = TORCH_ERRORS[name]
    with pytest.raises(ValueError, match=r"^" + message):
        interop.from_torch(source(torch))


def test_float64_weights_are_not_cut_short_in_silence(torch):
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"weight_hh_l0: expected at most float32, got float64"):
        interop.from_torch(torch_lstm(torch, np.float64))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([params_of()], "layers: expected a tuple with one entry for each layer, got list"),
        (params_of(), "layers: expected a tuple with one entry for each layer, got LSTMParams"),
        ((params_of(), params_of()), r"layers\[1\]\.w_x: expected shape \[4, 16\], got \[5, 16\]"),
        ((params_of(), pair_of()), r"layers\[1\]: expected 1 of the two directions"),
    ],
)
def test_stacks_that_torch_cannot_hold(layers, message):
    with pytest.raises(ValueError, match=r"^" + message):
        interop.torch_arrays(layers)


# cuDNN: `lstm_ref` is what jax.experimental.rnn documents its packed weights by.


@with_dtypes
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_cudnn(num_layers, bidirectional, dtype):
    sizes = {"input_size": 5, "hidden_size": 4, "num_layers": num_layers, "bidirectional": bidirectional}
    weights = rnn.init_lstm_weight(jax.random.key(0), **sizes).astype(dtype)
    layers = interop.from_cudnn(weights, 5, 4, num_layers=num_layers, bidirectional=bidirectional)
    xs, zeros = inputs_of(dtype), jnp.zeros((num_layers * (1 + bidirectional), 3, 4), dtype)
    unpacked = rnn.unpack_lstm_weights(weights, **sizes)
    lengths = jnp.asarray(LENGTHS)
    ys, h, c = rnn.lstm_ref(xs, zeros, zeros, *unpacked, lengths, 5, 4, num_layers, 0.0, bidirectional)
    assert_close(run_stack(layers, xs, LENGTHS), (LSTMState(h, c), only_valid(ys)), TOLERANCES[dtype])
    packed = interop.to_cudnn(layers)
    assert_equal(interop.from_cudnn(packed, 5, 4, num_layers=num_layers, bidirectional=bidirectional), layers)


def test_cudnn_errors(torch):
    with pytest.raises(ValueError, match=r"^weights: expected shape \[176\], got \[175\]"):
        interop.from_cudnn(np.zeros(175, np.float32), 5, 4)
    with pytest.raises(ValueError, match=r"^layers: expected LSTMs without a projection, got ProjectedLSTMParams"):
        interop.to_cudnn(interop.from_torch(torch_lstm(torch, proj_size=2)))


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
    for source in (module, run, nnx.to_pure_dict(nnx.state(module, nnx.Param))):
        assert_equal(interop.from_flax(source), params)


def test_nnx_bidirectional(nnx):
    def half():
        return nnx.RNN(nnx.LSTMCell(5, 4, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))

    module, pair = nnx.Bidirectional(half(), half(), rngs=nnx.Rngs(0)), pair_of()
    nnx.update(module, interop.to_flax(pair, "nnx"))
    assert_equal(interop.from_flax(module), pair)
    xs = inputs_of(np.float32)
    _, expected = run_layer(pair, xs, np.full(3, 7))
    assert_close(module(xs), expected, 1e-6)


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
    for option, message in (("gate_fn", "no other is supported"), ("activation_fn", r"convert its nnx\.state")):
        cell = nnx.LSTMCell(5, 4, rngs=nnx.Rngs(0), **{option: jax.nn.relu})
        with pytest.raises(ValueError, match=rf"^{option}: expected .* got .*; {message}"):
            interop.from_flax(cell)
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
def test_what_holds_no_projection_says_so(torch, convert):
    (projected,) = interop.from_torch(torch_lstm(torch, proj_size=2))
    with pytest.raises(ValueError, match=r"^(layer|params): expected LSTMParams, got ProjectedLSTMParams"):
        convert(projected)
    broken = LSTMParams(jnp.zeros((5, 16)), jnp.zeros((4, 16)), jnp.zeros(12))
    with pytest.raises(ValueError, match=r"^(layer|params)\.b: expected shape \[16\], got \[12\]"):
        convert(broken)
