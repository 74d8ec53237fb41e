"""An n-gram model of characters, to measure an LSTM by: interpolated, with the smoothing of Witten & Bell (1991).

With N(c) the count of a context c, N(c s) that of c followed by the symbol s, D(c) the number of different
symbols that follow c, and c' the context without its first symbol:

    P(s | c) = (N(c s) + D(c) P(s | c')) / (N(c) + D(c))

A context that was never seen leaves P(s | c'); below the empty context all V symbols are alike.
"""

import numpy as np

from jaxlstm.data.text import START


def ngram_log_p(train: np.ndarray, text: np.ndarray, order: int, num_symbols: int) -> np.ndarray:
    """log P of each symbol of a text [n], given up to `order` - 1 before it, as counted in `train`.

    Both are integers below `num_symbols`. The order is lowered where its contexts would not fit in 64 bits.
    """
    order = min(order, int(63 * np.log(2) / np.log(num_symbols)))
    p = np.full(len(text), 1 / num_symbols)
    for before in range(order):
        contexts, of_text = _contexts(train, before, num_symbols), _contexts(text, before, num_symbols)
        n_context = _counts(contexts, of_text)
        grams, n = np.unique(contexts * num_symbols + train, return_counts=True)
        n_gram = _look_up(grams, n, of_text * num_symbols + text)
        different = _counts(grams // num_symbols, of_text)
        p = np.where(n_context > 0, (n_gram + different * p) / np.maximum(n_context + different, 1), p)
    return np.log(p)


def _contexts(ids: np.ndarray, before: int, num_symbols: int) -> np.ndarray:
    """The `before` symbols in front of each of ids [n], as one number [n]; START in front of the first."""
    padded = np.concatenate([np.full(before, START), ids]).astype(np.int64)
    code = np.zeros(len(ids), np.int64)
    for offset in range(before):
        code = code * num_symbols + padded[offset : offset + len(ids)]
    return code


def _counts(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How often each wanted number is among the values."""
    return _look_up(*np.unique(values, return_counts=True), wanted)


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted key in sorted keys, 0 where it is not among them."""
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, values[index], 0)
