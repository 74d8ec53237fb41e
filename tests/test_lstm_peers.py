"""The gradients of PyTorch's LSTM, with the same weights. Its outputs are in test_interop_torch."""

import jax
import numpy as np
import pytest
from compare import assert_close
from problem import draw

from jaxlstm import LSTMState, lstm
from jaxlstm.interop import to_torch

pytestmark = pytest.mark.usefixtures("float64")

TOLERANCES = {np.float64: 1e-12, np.float32: 2e-6}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: no comparison with torch.nn.LSTM")


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_gradients_of_torch(torch, dtype):
    problem = draw(dtype=dtype)
    module = torch.nn.LSTM(5, 4, batch_first=True, dtype=getattr(torch, np.dtype(dtype).name))
    module.load_state_dict(to_torch((problem.params,)))
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
