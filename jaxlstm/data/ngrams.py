"""Runs of n words as symbols of their own: what a bag of words loses, "not good" say.

The runs that stand in most sequences make a vocabulary (n-grams beside words: Wang & Manning 2012). A run's id
is its place there, counted from 1; 0 stands for every other run.
"""

from collections.abc import Callable

import numpy as np

OTHER = 0
LONGEST = 3  # words in a run: as many ids of _BITS bits as one integer holds
_BITS = 21


def frequent_ngrams(ids: np.ndarray, order: int, count: int, first: int = 0) -> np.ndarray:
    """The runs of `order` neighbours in the rows of ids [N, T] that most rows have -> [count or fewer, order] int32.

    The most frequent run comes first, and equally frequent ones in the order of their ids.

    Args:
      ids: integers from 0 on, below 2^21.
      order: 1 to LONGEST.
      count: how many runs at the most.
      first: runs with an id below it, one that is no word, are left out.

    Raises:
      ValueError: an order or ids outside of these.
    """
    keys = _keys(ids, order)
    for step in range(order):
        words = ids[:, step : step + keys.shape[1]]
        keys[words < first] = -1
    keys.sort(axis=1)
    new = keys >= 0
    new[:, 1:] &= keys[:, 1:] != keys[:, :-1]  # once a row
    found, rows = np.unique(keys[new], return_counts=True)
    kept = found[np.argsort(-rows, kind="stable")[:count]]
    shifts = _BITS * np.arange(order)[::-1]
    return (kept[:, None] >> shifts & 2**_BITS - 1).astype(np.int32)


def ngram_finder(ngrams: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Runs [K, n] -> a function of ids [N, T] that gives [N, T] int32, the id of the run that ends at each step.

    At the first n - 1 steps it is OTHER. The runs are sorted once, here.
    """
    order = ngrams.shape[1]
    known = _keys(ngrams, order)[:, 0]
    by_key = np.argsort(known)
    known = known[by_key]

    def find(ids: np.ndarray) -> np.ndarray:
        found = np.full(ids.shape, OTHER, np.int32)
        if len(known):
            keys = _keys(ids, order)
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            found[:, order - 1 :] = np.where(known[place] == keys, by_key[place] + 1, OTHER)
        return found

    return find


def _keys(ids: np.ndarray, order: int) -> np.ndarray:
    """Ids [N, T] -> [N, T - order + 1] int64, one integer for each run."""
    if not 1 <= order <= LONGEST:
        raise ValueError(f"order: expected 1 to {LONGEST}, got {order}")
    if ids.size and not 0 <= ids.min() <= ids.max() < 2**_BITS:
        raise ValueError(f"ids: expected 0 to {2**_BITS - 1}, got {ids.min()} to {ids.max()}")
    runs = max(ids.shape[1] - order + 1, 0)
    keys = np.zeros((len(ids), runs), np.int64)
    for step in range(order):
        keys = keys << _BITS | ids[:, step : step + runs]
    return keys
