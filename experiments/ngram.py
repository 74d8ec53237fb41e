"""An n-gram model of characters, beside an LSTM: interpolated, with the smoothing of Witten & Bell (1991).

With N(c) the count of a context c, N(c s) that of c followed by the symbol s, D(c) the number of different
symbols that follow c, and c' the context without its first symbol:

    P(s | c) = (N(c s) + D(c) P(s | c')) / (N(c) + D(c))

A context that was never seen leaves P(s | c'); below the empty context all V symbols are alike. Texts less like
those to be judged may count for less: N is then a sum of weights.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxlstm.data.text import START


def ngram_log_p(train: np.ndarray, text: np.ndarray, order: int, num_symbols: int) -> np.ndarray:
    """log P of each symbol of a text [n], given up to `order` - 1 before it, as counted in `train`.

    Both are integers below `num_symbols`. The order is lowered where its contexts would not fit in 64 bits.
    """
    p = np.full(len(text), 1 / num_symbols)
    for before in range(_possible(order, num_symbols)):
        counted = _count([(train, 1.0)], before, num_symbols)
        p = counted.interpolate(p, _contexts(text, before, num_symbols), text, num_symbols)
    return np.log(p)


def window_log_p(
    texts: Sequence[tuple[np.ndarray, float]], windows: np.ndarray, order: int, num_symbols: int
) -> np.ndarray:
    """log P of each symbol of windows [N, T], given up to `order` - 1 before it in its window.

    Args:
      texts: what is counted, integers [n] each, and how much each counts.
      windows: integers below `num_symbols`.
      order: lowered where its contexts would not fit in 64 bits.
    """
    p = np.full(windows.shape, 1 / num_symbols)
    for before in range(min(_possible(order, num_symbols), windows.shape[1])):
        counted = _count(texts, before, num_symbols)
        for at in range(before, windows.shape[1]):
            contexts = _code(windows[:, at - before : at], num_symbols)
            p[:, at] = counted.interpolate(p[:, at], contexts, windows[:, at], num_symbols)
    return np.log(p)


class _Counts(NamedTuple):
    """What follows the contexts of one length; contexts and grams are numbers in rising order."""

    contexts: np.ndarray
    n_contexts: np.ndarray
    different: np.ndarray  # symbols that follow each context
    grams: np.ndarray
    n_grams: np.ndarray

    def interpolate(self, p: np.ndarray, contexts: np.ndarray, symbols: np.ndarray, num_symbols: int) -> np.ndarray:
        """P(symbol | context), from `p`, P(symbol | context without its first symbol)."""
        n_context = _look_up(self.contexts, self.n_contexts, contexts)
        n_gram = _look_up(self.grams, self.n_grams, contexts * num_symbols + symbols)
        different = _look_up(self.contexts, self.different, contexts)
        return np.where(n_context > 0, (n_gram + different * p) / np.maximum(n_context + different, 1), p)


def _count(texts: Sequence[tuple[np.ndarray, float]], before: int, num_symbols: int) -> _Counts:
    found = [_contexts(ids, before, num_symbols) * num_symbols + ids for ids, _ in texts]
    weights = np.concatenate([np.full(len(ids), weight) for ids, weight in texts])
    grams, of_gram = np.unique(np.concatenate(found), return_inverse=True)
    n_grams = np.bincount(of_gram, weights)
    contexts, of_context = np.unique(grams // num_symbols, return_inverse=True)
    return _Counts(contexts, np.bincount(of_context, n_grams), np.bincount(of_context), grams, n_grams)


def _possible(order: int, num_symbols: int) -> int:
    """The order, or the highest one whose contexts fit in 64 bits."""
    return min(order, int(63 * np.log(2) / np.log(num_symbols)))


def _contexts(ids: np.ndarray, before: int, num_symbols: int) -> np.ndarray:
    """The `before` symbols in front of each of ids [n], as one number [n]; START in front of the first."""
    padded = np.concatenate([np.full(before, START), ids])
    return _code(np.lib.stride_tricks.sliding_window_view(padded, before + 1)[:, :-1], num_symbols)


def _code(symbols: np.ndarray, num_symbols: int) -> np.ndarray:
    """Rows of symbols [n, k] -> one number each [n]."""
    code = np.zeros(len(symbols), np.int64)
    for column in symbols.T:
        code = code * num_symbols + column
    return code


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted key in sorted keys, 0 where it is not among them."""
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, values[index], 0)
