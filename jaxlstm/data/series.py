"""Numerical series that aeon (https://www.aeon-toolkit.org) brings in its package; nothing is downloaded."""

from typing import NamedTuple

import numpy as np

from jaxlstm.errors import DataError


class Series(NamedTuple):
    """Labelled multivariate series of different lengths, padded at the right with zeros."""

    xs: np.ndarray  # [N, T, D] float32
    lengths: np.ndarray  # [N] int32
    labels: np.ndarray  # [N] int32, from 0


class Watched(NamedTuple):
    """One series, each of whose steps is usual or not."""

    values: np.ndarray  # [T] float32
    labels: np.ndarray  # [T] int32, 1 where it is anomalous


def japanese_vowels() -> tuple[Series, Series]:
    """Training and test series: 12 cepstral coefficients of /ae/, said by nine speakers (Kudo et al. 1999).

    Raises:
      DataError: aeon is not installed.
    """
    load = _datasets().load_japanese_vowels
    (train, train_names), (test, test_names) = load(split="train"), load(split="test")
    steps = max(one.shape[1] for one in (*train, *test))
    return padded(train, train_names, steps), padded(test, test_names, steps)


def internal_bleeding() -> tuple[np.ndarray, Watched]:
    """A series [1200] without an anomaly, to learn from, and the one that follows it, 6,301 steps with one of 12.

    A measurement of a patient with internal bleeding, number 135 of the UCR anomaly archive (Keogh et al. 2021).

    Raises:
      DataError: aeon is not installed.
    """
    load = _datasets().load_kdd_tsad_135
    train, _ = load(split="train")
    values, labels = load(split="test")  # the training steps come first in it
    rest = slice(len(train), None)
    return train.astype(np.float32), Watched(values[rest].astype(np.float32), labels[rest].astype(np.int32))


def _datasets():
    try:
        from aeon import datasets
    except ImportError:
        raise DataError(
            "series: expected the package aeon, which has the data; jaxlstm's extra 'series' brings it"
        ) from None
    return datasets


def padded(series: list[np.ndarray], names: np.ndarray, steps: int) -> Series:
    """Arrays of [D, T] as aeon has them, T up to `steps`, and the names of their classes."""
    xs = np.zeros((len(series), steps, len(series[0])), np.float32)
    for row, one in zip(xs, series, strict=True):
        row[: one.shape[1]] = one.T
    lengths = np.array([one.shape[1] for one in series], np.int32)
    return Series(xs, lengths, np.unique(names, return_inverse=True)[1].astype(np.int32))
