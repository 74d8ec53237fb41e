"""Random weights, inputs and states to try an LSTM on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlstm import LSTMParams, LSTMState


class Problem(NamedTuple):
    """What an LSTM is given; a pytree, so that one can differentiate by all of it."""

    params: LSTMParams
    xs: jax.Array  # [..., T, D]
    state: LSTMState  # h and c [..., H]
    h_scale: jax.Array  # [..., H]


def draw(batch_shape=(3,), steps=7, input_size=5, hidden_size=4, *, dtype=np.float64, scale=0.7, seed=0) -> Problem:
    """Normal weights of standard deviation `scale`: at 0.7 the gates leave their linear range."""
    rng = np.random.default_rng(seed)

    def normal(*shape, scale=1.0, dtype=dtype):
        return jnp.asarray(scale * rng.standard_normal(shape), dtype)

    width = 4 * hidden_size
    params = LSTMParams(
        normal(input_size, width, scale=scale), normal(hidden_size, width, scale=scale), normal(width, scale=scale)
    )
    c_dtype = jnp.promote_types(dtype, jnp.float32)
    state = LSTMState(normal(*batch_shape, hidden_size), normal(*batch_shape, hidden_size, dtype=c_dtype))
    h_scale = 1 + normal(*batch_shape, hidden_size, scale=0.5)
    return Problem(params, normal(*batch_shape, steps, input_size), state, h_scale)


def draw_like(tree, seed=1, scale=1.0):
    """Normal numbers in the shapes and dtypes of `tree`: tangents, weights of a loss, or of a model.

    Fresh weights of a model have zero biases, behind which a swapped gate could hide.
    """
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.standard_normal(leaf.shape), leaf.dtype), tree)
