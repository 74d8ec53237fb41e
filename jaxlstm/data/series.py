"""Numerical series that aeon (https://www.aeon-toolkit.org) brings in its package; nothing is downloaded."""

from typing import NamedTuple

import numpy as np

from jaxlstm.errors import DataError


class Series(NamedTuple):
    """Labelled multivariate series of different lengths, padded at the right with zeros."""

    xs: np.ndarray  # [N, T, D] float32
    lengths: np.ndarray  # [N] int32
    labels: np.ndarray  # [N] int32, from 0


def japanese_vowels() -> tuple[Series, Series]:
    """Training and test series: 12 cepstral coefficients of /ae/, said by nine speakers (Kudo et al. 1999).

    Raises:
      DataError: aeon is not installed.
    """
    try:
        from aeon.datasets import load_japanese_vowels as load
    except ImportError:
        raise DataError(
            "vowels: expected the package aeon, which has the data; pip install 'jaxlstm[series]' brings it"
        ) from None
    (train, train_names), (test, test_names) = load(split="train"), load(split="test")
    steps = max(one.shape[1] for one in (*train, *test))
    return padded(train, train_names, steps), padded(test, test_names, steps)


def padded(series: list[np.ndarray], names: np.ndarray, steps: int) -> Series:
    """Arrays of [D, T] as aeon has them, T up to `steps`, and the names of their classes."""
    xs = np.zeros((len(series), steps, len(series[0])), np.float32)
    for row, one in zip(xs, series, strict=True):
        row[: one.shape[1]] = one.T
    lengths = np.array([one.shape[1] for one in series], np.int32)
    return Series(xs, lengths, np.unique(names, return_inverse=True)[1].astype(np.int32))
