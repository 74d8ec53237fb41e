"""Pairs of words that follow each other, as symbols of their own: what a bag of words loses, "not good" say.

The pairs that stand in most sequences make a vocabulary (bigrams beside words: Wang & Manning 2012). A pair's id
is its place there, counted from 1; 0 stands for every other pair.
"""

from collections.abc import Callable

import numpy as np

OTHER = 0


def frequent_bigrams(ids: np.ndarray, count: int, first: int = 0) -> np.ndarray:
    """The pairs of neighbours in the rows of ids [N, T] that most rows have -> [count or fewer, 2] int32.

    The most frequent pair comes first, and equally frequent ones in the order of their ids.

    Args:
      ids: integers from 0 on.
      count: how many pairs at the most.
      first: pairs with an id below it, one that is no word, are left out.
    """
    keys = np.where((ids[:, :-1] >= first) & (ids[:, 1:] >= first), _keys(ids[:, :-1], ids[:, 1:]), -1)
    keys.sort(axis=1)
    new = keys >= 0
    new[:, 1:] &= keys[:, 1:] != keys[:, :-1]  # once a row
    found, rows = np.unique(keys[new], return_counts=True)
    kept = found[np.argsort(-rows, kind="stable")[:count]]
    return np.stack([kept >> 32, kept & 0xFFFFFFFF], axis=1).astype(np.int32)


def bigram_finder(bigrams: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Pairs [K, 2] -> a function of ids [N, T] that gives [N, T] int32, the id of each step's pair with the one before.

    At the first step it is OTHER. The pairs are sorted once, here.
    """
    known = _keys(bigrams[:, 0], bigrams[:, 1])
    order = np.argsort(known)
    known = known[order]

    def find(ids: np.ndarray) -> np.ndarray:
        found = np.full(ids.shape, OTHER, np.int32)
        if len(known):
            keys = _keys(ids[:, :-1], ids[:, 1:])
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            found[:, 1:] = np.where(known[place] == keys, order[place] + 1, OTHER)
        return found

    return find


def _keys(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """One integer for each pair."""
    return before.astype(np.int64) << 32 | after.astype(np.int64)
