"""Other people's LSTMs with converted weights: PyTorch and Flax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from problem import draw

from jaxlstm import LSTMState, lstm

# Flax promotes ranks itself, so these run without `strict_ranks`.
pytestmark = pytest.mark.usefixtures("float64")

TOLERANCES = {np.float64: 1e-12, np.float32: 2e-6}
LENGTHS = np.array([4, 1, 7])


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: no comparison with torch.nn.LSTM")


@pytest.fixture
def linen():
    return pytest.importorskip("flax.linen", reason="Flax is not installed: no comparison with its LSTM cell")


def torch_lstm(torch, params):
    """A torch.nn.LSTM with these weights: transposed, in the same gate order; one of its two biases is zero."""
    w_x, w_h, b = (torch.from_numpy(np.array(leaf)) for leaf in params)
    module = torch.nn.LSTM(w_x.shape[0], w_h.shape[0], batch_first=True, dtype=w_x.dtype)
    with torch.no_grad():
        module.weight_ih_l0.copy_(w_x.T)
        module.weight_hh_l0.copy_(w_h.T)
        module.bias_ih_l0.copy_(0.25 * b)
        module.bias_hh_l0.copy_(0.75 * b)
    return module


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_torch(torch, dtype):
    problem = draw(dtype=dtype)
    module = torch_lstm(torch, problem.params)
    xs = torch.from_numpy(np.array(problem.xs)).requires_grad_()
    h, c = (torch.from_numpy(np.array(leaf))[None].requires_grad_() for leaf in problem.state)
    ys, (last_h, last_c) = module(xs, (h, c))
    expected = LSTMState(last_h[0].detach().numpy(), last_c[0].detach().numpy()), ys.detach().numpy()
    assert_close(lstm(*problem[:3]), expected, TOLERANCES[dtype])

    ((ys**2).sum() + last_c.sum()).backward()

    def loss(params, xs, state):
        state, ys = lstm(params, xs, state)
        return (ys**2).sum() + state.c.sum()

    by_params, by_xs, by_state = jax.grad(loss, argnums=(0, 1, 2))(*problem[:3])
    actual = (by_params.w_x.T, by_params.w_h.T, by_params.b, by_params.b, by_xs, by_state.h[None], by_state.c[None])
    expected = tuple(leaf.grad.numpy() for leaf in (*module.parameters(), xs, h, c))
    assert_close(actual, expected, TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_torch_packed_sequence_is_lengths(torch, dtype):
    problem = draw(dtype=dtype)
    module, rnn = torch_lstm(torch, problem.params), torch.nn.utils.rnn
    xs = torch.from_numpy(np.array(problem.xs))
    packed = rnn.pack_padded_sequence(xs, torch.from_numpy(LENGTHS), batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        ys, (h, c) = module(packed)
        ys, _ = rnn.pad_packed_sequence(ys, batch_first=True, total_length=7)
    expected = LSTMState(h[0].numpy(), c[0].numpy()), ys.numpy()
    assert_close(lstm(problem.params, problem.xs, lengths=LENGTHS), expected, TOLERANCES[dtype])


def flax_params(params):
    """The weights as flax.linen.OptimizedLSTMCell keeps them: a kernel for each gate, the bias with the hidden one."""
    kernels = {}
    for n, gate in enumerate("ifgo"):
        w_x, w_h, b = (jnp.split(leaf, 4, axis=-1)[n] for leaf in params)
        kernels |= {f"i{gate}": {"kernel": w_x}, f"h{gate}": {"kernel": w_h, "bias": b}}
    return {"params": {"cell": kernels}}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_flax(linen, dtype, lengths, reverse):
    problem = draw(dtype=dtype)
    cell = linen.OptimizedLSTMCell(4, param_dtype=dtype, dtype=dtype)
    # keep_order puts the outputs back where their inputs were, as ours are.
    rnn = linen.RNN(cell, return_carry=True, reverse=reverse, keep_order=True)
    carry = (problem.state.c, problem.state.h)
    (c, h), ys = rnn.apply(flax_params(problem.params), problem.xs, initial_carry=carry, seq_lengths=lengths)
    if lengths is not None:
        # Flax leaves in the padding what its cell went on to compute there; ours is zero.
        ys = jnp.where((np.arange(7) < lengths[:, None])[..., None], ys, 0)
    actual = lstm(*problem[:3], lengths=lengths, reverse=reverse)
    assert_close(actual, (LSTMState(h, c), ys), TOLERANCES[dtype])
