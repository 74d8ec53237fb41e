"""The layers around an LSTM: dense heads, embeddings and dropout, as pure functions over plain pytrees."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxlstm.checks import check_key, check_rates, check_sizes


class DenseParams(NamedTuple):
    """The weights of an affine map."""

    w: Array  # [D, N]
    b: Array  # [N]


def init_dense(key: Array, input_size: int, output_size: int, dtype: DTypeLike = jnp.float32) -> DenseParams:
    """w [D, N] Glorot uniform (Glorot & Bengio 2010), b zero.

    Raises:
      ValueError: no random key, or a size below 1.
    """
    check_key(key)
    check_sizes(input_size=input_size, output_size=output_size)
    w = jax.nn.initializers.glorot_uniform()(key, (input_size, output_size), dtype)
    return DenseParams(w, jnp.zeros(output_size, dtype))


def dense(params: DenseParams, x: Array) -> Array:
    """x [..., D] -> x w + b [..., N]."""
    y = x @ params.w
    return y + jnp.broadcast_to(params.b, y.shape)


def init_embedding(key: Array, vocabulary_size: int, size: int, dtype: DTypeLike = jnp.float32) -> Array:
    """[V, D] uniform in [-0.05, 0.05], as in Keras; look symbols up with `embedding[ids]`.

    Raises:
      ValueError: no random key, or a size below 1.
    """
    check_key(key)
    check_sizes(vocabulary_size=vocabulary_size, size=size)
    return jax.random.uniform(key, (vocabulary_size, size), dtype, -0.05, 0.05)


def dropout_scale(key: Array, rate: float, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    """What to multiply by for dropout: 0 with probability `rate`, else 1 / (1 - rate) (Srivastava et al. 2014).

    One draw used at every step of a sequence is variational dropout (Gal & Ghahramani 2016).

    Raises:
      ValueError: a rate outside [0, 1).
    """
    check_rates(rate=rate)
    rate = float(rate)  # a scalar of NumPy's would decide on the dtype
    return jax.random.bernoulli(key, 1 - rate, shape).astype(dtype) / (1 - rate)
