"""How far two results are apart."""

import jax
import numpy as np


def assert_close(actual, expected, tolerance: float) -> None:
    """Every leaf is within `tolerance` of the expected one, relative to the largest entry of that leaf."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, got), want in zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        assert got.shape == want.shape, f"{jax.tree_util.keystr(path)}: {got.shape} instead of {want.shape}"
        if want.size:
            error, largest = np.abs(got - want).max(), np.abs(want).max()
            # Written so that a NaN fails.
            assert error <= tolerance * largest, (
                f"{jax.tree_util.keystr(path)}: off by {error:.2e}, {error / largest:.2e} of the largest entry"
            )


def assert_close_by_norm(actual, expected, tolerance: float) -> None:
    """Every leaf is within `tolerance` of the expected one, relative to its norm: for bfloat16, whose rounding
    errors are many and independent, so that the largest one says little."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        assert got.shape == want.shape
        assert np.linalg.norm(got - want) <= tolerance * np.linalg.norm(want), np.linalg.norm(
            got - want
        ) / np.linalg.norm(want)


def assert_equal(actual, expected) -> None:
    """The same structure, and every leaf the same in dtype, shape and to the bit."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        np.testing.assert_array_equal(got, want)
