"""The layers around an LSTM: values against NumPy, the ranges of fresh weights, the rate of dropout."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close

from jaxlstm.layers import DenseParams, dense, dropout_scale, init_dense, init_embedding

KEY = jax.random.key(0)


def uniform(*shape):
    return jax.random.uniform(jax.random.key(1), shape, minval=-1.0)


def test_dropout_scale_keeps_the_mean():
    scale = np.asarray(dropout_scale(KEY, 0.2, (100_000,)))
    assert set(np.unique(scale)) == {0.0, np.float32(1.25)}
    assert abs(scale.mean() - 1) < 5 * 0.5 / math.sqrt(100_000)
    for rate in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"rate: expected 0 or more and less than 1, got {rate}"):
            dropout_scale(KEY, rate, (1,))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_a_rate_of_numpy_leaves_the_dtype(dtype):
    scale = dropout_scale(KEY, np.float64(0.2), (10,), dtype)
    assert scale.dtype == dtype
    np.testing.assert_array_equal(scale, dropout_scale(KEY, 0.2, (10,), dtype))


def test_a_dense_layer_is_an_affine_map():
    x = np.asarray(uniform(2, 3, 4))
    params = DenseParams(uniform(4, 5), uniform(5))
    assert_close(dense(params, x), x @ np.asarray(params.w) + np.asarray(params.b), 1e-6)


def test_fresh_weights_fill_their_range():
    limit = math.sqrt(6 / (40 + 60))
    w = np.abs(init_dense(KEY, 40, 60).w)
    assert 0.95 * limit < w.max() <= limit
    embedding = np.abs(init_embedding(KEY, 50, 30))
    assert embedding.shape == (50, 30)
    assert 0.045 < embedding.max() <= 0.05
