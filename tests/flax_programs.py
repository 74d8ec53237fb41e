"""One small program in linen and in NNX, as its users write it: padded batches, a Bidirectional, an RNN, optax.

Only the class of the RNN is an argument: Flax's own, or the one that takes its place.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import nnx

VOCABULARY, STEPS, LABELS, BATCHES, EPOCHS = 12, 9, 3, 3, 6


class Batch(NamedTuple):
    tokens: np.ndarray  # [B, T]
    lengths: np.ndarray  # [B]
    labels: np.ndarray  # [B]


def batches() -> list[Batch]:
    """The label is in the first token; the padding holds tokens as well."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(BATCHES):
        tokens = rng.integers(VOCABULARY, size=(8, STEPS))
        drawn.append(Batch(tokens, rng.integers(1, STEPS + 1, size=8), tokens[:, 0] % LABELS))
    return drawn


class LinenModel(nn.Module):
    rnn: Any  # nn.RNN, or jaxlstm.linen.RNN
    dtype: Any

    @nn.compact
    def __call__(self, tokens, lengths):
        x = nn.Embed(VOCABULARY, 6, param_dtype=self.dtype)(tokens)
        cells = [nn.OptimizedLSTMCell(5, param_dtype=self.dtype), nn.LSTMCell(5, param_dtype=self.dtype)]
        x = nn.Bidirectional(*map(self.rnn, cells))(x, seq_lengths=lengths)
        last = self.rnn(nn.OptimizedLSTMCell(7, param_dtype=self.dtype), return_carry=True)
        (_, h), _ = last(x, seq_lengths=lengths)
        return nn.Dense(LABELS, param_dtype=self.dtype)(h)


class NNXModel(nnx.Module):
    def __init__(self, rnn: Any, dtype: Any):  # nnx.RNN, or jaxlstm.nnx.RNN
        rngs = nnx.Rngs(0)
        options = {"param_dtype": dtype, "rngs": rngs}
        cells = [nnx.OptimizedLSTMCell(6, 5, **options), nnx.LSTMCell(6, 5, **options)]
        self.embed = nnx.Embed(VOCABULARY, 6, **options)
        self.both = nnx.Bidirectional(*(rnn(cell, rngs=rngs) for cell in cells), rngs=rngs)
        self.last = rnn(nnx.OptimizedLSTMCell(10, 7, **options), return_carry=True, rngs=rngs)
        self.head = nnx.Linear(7, LABELS, **options)

    def __call__(self, tokens, lengths):
        (_, h), _ = self.last(self.both(self.embed(tokens), seq_lengths=lengths), seq_lengths=lengths)
        return self.head(h)


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def train_linen(rnn, dtype) -> tuple[np.ndarray, Any]:
    """The loss of every step, and the parameters after the last."""
    model, optimizer = LinenModel(rnn, dtype), optax.adam(0.03)
    data = batches()
    variables = jax.jit(model.init)(jax.random.key(0), data[0].tokens, data[0].lengths)

    @jax.jit
    def step(variables, state, batch):
        def loss(variables):
            return cross_entropy(model.apply(variables, batch.tokens, batch.lengths), batch.labels)

        value, gradient = jax.value_and_grad(loss)(variables)
        updates, state = optimizer.update(gradient, state)
        return value, optax.apply_updates(variables, updates), state

    state, losses = optimizer.init(variables), []
    for batch in data * EPOCHS:
        value, variables, state = step(variables, state, batch)
        losses.append(value)
    return np.array(losses), variables


def train_nnx(rnn, dtype) -> tuple[np.ndarray, Any]:
    """The same in NNX; the parameters are the module's whole state."""
    model = NNXModel(rnn, dtype)
    optimizer = nnx.Optimizer(model, optax.adam(0.03), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, batch):
        def loss(model):
            return cross_entropy(model(batch.tokens, batch.lengths), batch.labels)

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    losses = [step(model, optimizer, jax.tree.map(jnp.asarray, batch)) for batch in batches() * EPOCHS]
    return np.array(losses), nnx.to_pure_dict(nnx.state(model, nnx.Param))
