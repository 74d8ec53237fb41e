"""Weights of PyTorch and cuDNN, and back: each library's own outputs, on ragged batches, and PyTorch's gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close, assert_equal
from jax.experimental import rnn
from layered import LENGTHS, TOLERANCES, inputs_of, only_valid, pair_of, params_of, run_stack
from problem import draw

from jaxlstm import LSTMState, interop, lstm

pytestmark = pytest.mark.usefixtures("float64")

with_dtypes = pytest.mark.parametrize("dtype", TOLERANCES)


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


GRADIENT_TOLERANCES = {np.float64: 1e-12, np.float32: 2e-6}


@pytest.mark.parametrize("dtype", GRADIENT_TOLERANCES)
def test_gradients_of_torch(torch, dtype):
    problem = draw(dtype=dtype)
    module = torch_lstm(torch, dtype)
    module.load_state_dict(interop.to_torch((problem.params,)))
    xs = torch.from_numpy(np.array(problem.xs)).requires_grad_()
    h, c = (torch.from_numpy(np.array(leaf))[None].requires_grad_() for leaf in problem.state)
    ys, (last_h, last_c) = module(xs, (h, c))
    expected = LSTMState(last_h[0].detach().numpy(), last_c[0].detach().numpy()), ys.detach().numpy()
    assert_close(lstm(*problem[:3]), expected, GRADIENT_TOLERANCES[dtype])

    ((ys**2).sum() + last_c.sum()).backward()

    def loss(params, xs, state):
        state, ys = lstm(params, xs, state)
        return (ys**2).sum() + state.c.sum()

    by_params, by_xs, by_state = jax.grad(loss, argnums=(0, 1, 2))(*problem[:3])
    actual = (by_params.w_x.T, by_params.w_h.T, by_params.b, by_params.b, by_xs, by_state.h[None], by_state.c[None])
    expected = tuple(leaf.grad.numpy() for leaf in (*module.parameters(), xs, h, c))
    assert_close(actual, expected, GRADIENT_TOLERANCES[dtype])


@pytest.mark.parametrize("name", [name for name in TORCH_OPTIONS if name != "no-bias"])
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
