"""The memory of a training step, beside Flax's: what XLA sets aside for the values between the two passes."""

import jax
import jax.numpy as jnp
import pytest

from jaxlstm import init_lstm, lstm

BATCH, STEPS, SIZE = 32, 80, 128  # the sentiment experiment's; SIZE is that of the embedding and of the LSTM
ONE_ARRAY = 4 * BATCH * STEPS * SIZE  # bytes of one float32 number for each unit and step


def logistic_loss(h, weights):
    return jnp.mean(jnp.logaddexp(0, -h @ weights))


LOSSES = {
    "every-step": lambda state_h, ys, weights: logistic_loss(ys, weights),
    "last-state": lambda state_h, ys, weights: logistic_loss(state_h, weights),
}


def temporary_bytes(run, lstm_params, loss) -> int:
    """Of the step from tokens, through an embedding, the LSTM that `run` is and a logistic loss, to all gradients."""
    params = {"embedding": jnp.ones((2000, SIZE)), "lstm": lstm_params, "weights": jnp.ones(SIZE)}

    def step(params, tokens):
        state_h, ys = run(params["lstm"], params["embedding"][tokens])
        return loss(state_h, ys, params["weights"])

    compiled = jax.jit(jax.value_and_grad(step)).lower(params, jnp.ones((BATCH, STEPS), int)).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def ours(loss) -> int:
    def run(params, xs):
        state, ys = lstm(params, xs)
        return state.h, ys

    return temporary_bytes(run, init_lstm(jax.random.key(0), SIZE, SIZE), loss)


@pytest.mark.parametrize("loss", LOSSES)
def test_no_more_than_flax(loss):
    linen = pytest.importorskip("flax.linen", reason="Flax is not installed: nothing to compare the memory with")
    rnn = linen.RNN(linen.OptimizedLSTMCell(SIZE), return_carry=True)

    def run(params, xs):
        (_, h), ys = rnn.apply(params, xs)
        return h, ys

    params = rnn.init(jax.random.key(0), jnp.ones((BATCH, STEPS, SIZE)))
    assert 0 < ours(LOSSES[loss]) <= temporary_bytes(run, params, LOSSES[loss])


@pytest.mark.parametrize("loss", LOSSES)
def test_no_array_more_than_the_rule_needs(loss):
    # Over all steps: inputs 1, coefficients 6, hidden states 1, the gradient that arrives 1, that of the inputs 1.
    # Over a quarter of them, the chunk at hand: projected inputs 4, gradient of the gates 4, coefficients 6, copies 2.
    assert 0 < ours(LOSSES[loss]) <= 14 * ONE_ARRAY
