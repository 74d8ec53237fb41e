"""A language model in float64, as the library's parameters and as a step in NumPy: what decoders write with."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import oracle
from jax.tree_util import Partial

from jaxlstm import LSTMState, models

HIDDEN = 4


class Writer(NamedTuple):
    """A model and a state to begin in for each row, the rows being as many as there are symbols."""

    params: models.TaggerParams
    state: LSTMState  # h and c [V, H]

    @property
    def step(self) -> Partial:
        return Partial(models.next_symbol, self.params)

    def numpy_state(self, row: int) -> oracle.Pair:
        return np.asarray(self.state.h[row]), np.asarray(self.state.c[row])

    def numpy_step(self, state: oracle.Pair, symbol: int) -> tuple[oracle.Pair, np.ndarray]:
        """One row: h and c [H], a symbol -> the next h and c, log P [V] of the symbol that follows."""
        params = jax.tree.map(np.asarray, self.params)
        h, c = oracle.lstm_step(params.lstm, *state, np.eye(len(params.head.b))[symbol])
        logits = h @ params.head.w + params.head.b
        return (h, c), logits - np.log(np.exp(logits).sum())


def draw_writer(vocabulary: int, seed: int, scale: float = 3.0) -> Writer:
    """Normal weights of standard deviation `scale`: at 3 each symbol matters for all that follow it."""
    rng = np.random.default_rng(seed)

    def normal(leaf, scale):
        return jnp.asarray(scale * rng.standard_normal(leaf.shape))

    state = LSTMState(*(normal(np.zeros((vocabulary, HIDDEN)), 2.0) for _ in range(2)))
    shapes = models.init_language_model(jax.random.key(0), vocabulary, HIDDEN)
    return Writer(jax.tree.map(lambda leaf: normal(leaf, scale), shapes), state)
