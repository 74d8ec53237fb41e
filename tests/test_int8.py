"""Weights in eight bits: how far they are off, what stays, and that a model runs with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlstm import models, weights
from jaxlstm.deploy.int8 import Int8, dequantise, quantise, size_in_bytes

pytestmark = pytest.mark.usefixtures("strict_ranks")


def classifier():
    return models.init_classifier(jax.random.key(0), 16, 32, 2, vocabulary_size=40)


def test_by_hand():
    params = {"w": jnp.array([[1.27, 0.0, -2.0], [-0.634, 0.0, 1.0]]), "b": jnp.array([0.1, 0.2, 0.3])}
    quantised = quantise(params)
    np.testing.assert_array_equal(quantised["w"].q, [[127, 0, -127], [-63, 0, 64]])  # 63.5 rounds to the even 64
    np.testing.assert_allclose(quantised["w"].scale, [0.01, 1, 2 / 127], rtol=1e-6)
    np.testing.assert_array_equal(quantised["b"], params["b"])
    np.testing.assert_allclose(dequantise(quantised)["w"][:, 0], [1.27, -0.63], rtol=1e-6)


def test_every_weight_is_off_by_half_a_scale_at_most():
    params = classifier()
    quantised = quantise(params)
    for path, leaf in jax.tree.leaves_with_path(quantised, is_leaf=lambda leaf: isinstance(leaf, Int8)):
        if isinstance(leaf, Int8):
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            off = np.abs(weights.named(params)[name] - weights.named(dequantise(quantised))[name])
            assert (off <= np.asarray(leaf.scale) * 0.50001).all(), name
            assert off.max() > 0.3 * leaf.scale.max()  # it is rounded, and not by less
    matrices = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    saved = sum(3 * leaf.size - 4 * leaf.shape[1] for leaf in matrices)  # one byte of four, and the scales
    assert size_in_bytes(quantised) == size_in_bytes(params) - saved


def test_narrow_weights_are_off_by_no_more():
    for dtype, scale in ((jnp.bfloat16, 1), (jnp.float16, 1), (jnp.float16, 1e-5), (jnp.float16, 1e-7)):
        w = (scale * jax.random.normal(jax.random.key(0), (64, 256))).astype(dtype)
        quantised = quantise({"w": w})
        q, scales = (np.asarray(leaf, np.float32) for leaf in quantised["w"])
        assert np.abs(q).max() <= 127
        if scale == 1:
            assert (np.abs(q * scales - np.asarray(w, np.float32)) <= 0.50001 * scales).all()
            off = np.abs(np.asarray(dequantise(quantised)["w"], np.float32) - np.asarray(w, np.float32))
            assert (off <= scales).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_model_runs_with_them_in_the_dtype_it_had(dtype):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), classifier())
    ids = jax.random.randint(jax.random.key(1), (4, 9), 0, 40)
    logits = jax.jit(lambda quantised: models.classify(dequantise(quantised), ids))(quantise(params))
    assert logits.dtype == dtype
    expected = models.classify(params, ids).astype(jnp.float32)
    assert 0 < np.abs(logits.astype(jnp.float32) - expected).max() < 0.03 * np.abs(expected).max()


def test_they_save_and_load(tmp_path):
    quantised = quantise(classifier())
    weights.save(tmp_path / "a.safetensors", quantised)
    loaded, _ = weights.load(tmp_path / "a.safetensors", jax.eval_shape(lambda: quantise(classifier())))
    jax.tree.map(np.testing.assert_array_equal, loaded, quantised)
    assert loaded.lstm.w_h.q.dtype == np.int8


def test_weights_that_are_not_finite_are_named():
    params = classifier()
    broken = params._replace(lstm=params.lstm._replace(w_h=params.lstm.w_h.at[0, 0].set(jnp.nan)))
    with pytest.raises(ValueError, match=r"^lstm\.w_h: expected finite weights, got some that are not"):
        quantise(broken)
