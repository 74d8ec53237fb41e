"""`init_lstm`: shapes, dtypes and the distributions that its docstring promises."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlstm import cells, init_lstm, layers, models
from jaxlstm.stack import init_stack

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

KEY = 0  # made into a JAX key inside the tests: float64 is not on yet when this file is read


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
@pytest.mark.parametrize("chrono", [None, 50])
def test_shapes_and_dtypes(dtype, chrono):
    params = init_lstm(jax.random.key(KEY), 3, 5, chrono=chrono, dtype=dtype)
    assert [leaf.shape for leaf in params] == [(3, 20), (5, 20), (20,)]
    assert {leaf.dtype for leaf in params} == {jnp.dtype(dtype)}
    assert all(jnp.isfinite(leaf).all() for leaf in params)


def test_default_dtype_is_float32():
    assert {leaf.dtype for leaf in init_lstm(jax.random.key(KEY), 3, 5)} == {jnp.dtype(jnp.float32)}


def test_w_x_is_glorot_uniform():
    w_x = np.asarray(init_lstm(jax.random.key(KEY), 100, 50, dtype=jnp.float64).w_x)
    limit = np.sqrt(6 / (100 + 200))  # fan in D, fan out 4H
    assert np.abs(w_x).max() <= limit
    # 20,000 draws: the quarters of the range hold a quarter each, to five standard deviations.
    share, _ = np.histogram(w_x, bins=4, range=(-limit, limit))
    np.testing.assert_allclose(share / w_x.size, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / w_x.size))


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-14), (jnp.float32, 1e-6), (jnp.bfloat16, 1e-2)])
def test_rows_of_w_h_are_orthonormal(dtype, tolerance):
    w_h = np.asarray(init_lstm(jax.random.key(KEY), 3, 32, dtype=dtype).w_h, np.float64)
    np.testing.assert_allclose(w_h @ w_h.T, np.eye(32), atol=tolerance)


@pytest.mark.parametrize(
    ("options", "forget_bias"), [({}, 1.0), ({"forget_bias": -2.5}, -2.5), ({"forget_bias": 0}, 0)]
)
def test_bias_is_zero_but_for_the_forget_gate(options, forget_bias):
    b_i, b_f, b_g, b_o = jnp.split(init_lstm(jax.random.key(KEY), 3, 5, **options).b, 4)
    np.testing.assert_array_equal(b_f, forget_bias)
    np.testing.assert_array_equal(jnp.concatenate([b_i, b_g, b_o]), 0)


@pytest.mark.parametrize("chrono", [3, 50, 1000])
def test_chrono(chrono):
    b = init_lstm(jax.random.key(KEY), 2, 200, chrono=chrono, dtype=jnp.float64).b
    b_i, b_f, b_g, b_o = (np.asarray(block) for block in jnp.split(b, 4))
    np.testing.assert_array_equal(b_i, -b_f)
    np.testing.assert_array_equal(np.concatenate([b_g, b_o]), 0)
    # exp(b_f) is uniform over [1, L - 1].
    u = (np.exp(b_f) - 1) / (chrono - 2)
    assert u.min() >= -1e-12
    assert u.max() <= 1 + 1e-12
    share, _ = np.histogram(u, bins=4, range=(0, 1))
    np.testing.assert_allclose(share / u.size, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / u.size))


def test_one_key_gives_one_network_and_its_parts_are_independent():
    params, again = (init_lstm(jax.random.key(KEY), 5, 5, chrono=50) for _ in range(2))
    other = init_lstm(jax.random.key(KEY + 1), 5, 5, chrono=50)
    for leaf, same, different in zip(params, again, other, strict=True):
        np.testing.assert_array_equal(leaf, same)
        assert (leaf != different).any()
    # Drawn from one key, the two matrices of one shape would be functions of the same numbers.
    assert abs(np.corrcoef(params.w_x.ravel(), params.w_h.ravel())[0, 1]) < 0.4


@pytest.mark.parametrize("sizes", [(0, 5), (3, 0), (-1, 5)])
def test_a_size_below_1_is_an_error(sizes):
    name = "input_size" if sizes[0] < 1 else "hidden_size"
    with pytest.raises(ValueError, match=f"^{name}: expected at least 1, got {min(sizes)}$"):
        init_lstm(jax.random.key(KEY), *sizes)


@pytest.mark.parametrize("chrono", [2, 0, -5])
def test_a_chrono_of_2_or_less_is_an_error(chrono):
    with pytest.raises(ValueError, match=f"chrono: expected a number of steps above 2, got {chrono}"):
        init_lstm(jax.random.key(KEY), 3, 5, chrono=chrono)


# Every public function that makes fresh parameters, but for those of the cells, of which there is a list.
INITS = {
    "init_lstm": lambda key: init_lstm(key, 3, 4, chrono=9),
    "init_stack": lambda key: init_stack(key, cells.GRU, 3, [4, 4], bidirectional=True),
    "init_dense": lambda key: layers.init_dense(key, 3, 4),
    "init_embedding": lambda key: layers.init_embedding(key, 3, 4),
    "init_autoencoder": lambda key: models.init_autoencoder(key, 3, 4, conditional=True),
    "init_classifier": lambda key: models.init_classifier(key, 3, 4, 2, vocabulary_size=5, chrono=9),
    "init_composite": lambda key: models.init_composite(key, 3, 4),
    "init_language_model": lambda key: models.init_language_model(key, 3, 4),
    "init_missing_words": lambda key: models.init_missing_words(key, [3, 4], 5),
    "init_pooled_classifier": lambda key: models.init_pooled_classifier(key, (6, 9), (5, 2), 4, 3),
    "init_seq2seq": lambda key: models.init_seq2seq(key, 3, 4, 5, 6),
    "init_tagger": lambda key: models.init_tagger(key, 3, 4, 5),
}


def test_no_init_uses_a_key_twice():
    assert {name for name in models.__all__ if name.startswith("init_")} <= INITS.keys()
    kinds = {name: getattr(cells, name) for name in cells.__all__ if isinstance(getattr(cells, name), cells.Cell)}
    assert len(kinds) == 8
    of_cells = {name: partial(kind.init, input_size=3, hidden_size=4) for name, kind in kinds.items()}
    of_cells["SLSTM with heads"] = partial(of_cells["SLSTM"], heads=2)
    with jax.debug_key_reuse(True):
        for name, init in (INITS | of_cells).items():
            try:
                init(jax.random.key(KEY))
            except jax.errors.KeyReuseError as error:
                pytest.fail(f"{name}: {error}")


def test_an_init_wants_a_key_and_a_floating_dtype():
    with pytest.raises(ValueError, match=r"^key: expected a random key such as jax\.random\.key\(0\), got int$"):
        init_lstm(0, 3, 5)
    with pytest.raises(ValueError, match=r"^dtype: expected a floating one such as float32, got int32$"):
        init_lstm(jax.random.key(KEY), 3, 5, dtype=jnp.int32)
    init_lstm(jax.random.PRNGKey(KEY), 3, 5)
