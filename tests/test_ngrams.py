"""Runs of words as symbols: which are kept, and where they are found."""

import numpy as np
import pytest

from jaxlstm.data.ngrams import OTHER, frequent_ngrams, ngram_finder

IDS = np.array([[3, 4, 3, 4, 5], [0, 1, 3, 4, 5], [0, 0, 4, 5, 2]])


def test_the_runs_of_most_rows_come_first():
    # (4, 5) is in three rows, (3, 4) in two, twice in the first; (4, 3) in one.
    np.testing.assert_array_equal(frequent_ngrams(IDS, 2, 5, first=3), [[4, 5], [3, 4], [4, 3]])
    np.testing.assert_array_equal(frequent_ngrams(IDS, 2, 2, first=3), [[4, 5], [3, 4]])
    np.testing.assert_array_equal(frequent_ngrams(IDS, 3, 2, first=3), [[3, 4, 5], [3, 4, 3]])
    np.testing.assert_array_equal(frequent_ngrams(IDS, 1, 2, first=3), [[4], [5]])
    assert [0, 1] in frequent_ngrams(IDS, 2, 99).tolist()
    for order in (1, 2, 3):
        assert frequent_ngrams(IDS, order, 5, first=6).shape == (0, order)
        assert frequent_ngrams(IDS[:, : order - 1], order, 5).shape == (0, order)


def test_a_run_is_found_at_its_last_word():
    pairs = np.array([[4, 5], [3, 4]])
    found = ngram_finder(pairs)(IDS)
    np.testing.assert_array_equal(
        found, [[OTHER, 2, OTHER, 2, 1], [OTHER, OTHER, OTHER, 2, 1], [OTHER] * 3 + [1, OTHER]]
    )
    np.testing.assert_array_equal(ngram_finder(pairs[:0])(IDS), np.zeros(IDS.shape))
    np.testing.assert_array_equal(ngram_finder(pairs)(IDS[:, :1]), np.zeros((3, 1)))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_many_runs_are_found_as_a_dictionary_finds_them(order):
    # The largest ids there may be: none runs into its neighbour.
    ids = 2**21 - 1 - np.random.default_rng(0).integers(0, 40, (50, 30))
    ngrams = frequent_ngrams(ids, order, 300)
    number = {tuple(run): index for index, run in enumerate(ngrams.tolist(), 1)}
    assert len(number) == (40 if order == 1 else 300)

    def expected(row):
        runs = zip(*(row[step:] for step in range(order)), strict=False)
        return [*[OTHER] * (order - 1), *(number.get(run, OTHER) for run in runs)]

    np.testing.assert_array_equal(ngram_finder(ngrams)(ids), [expected(row) for row in ids.tolist()])


def test_what_does_not_fit_a_key_is_named():
    with pytest.raises(ValueError, match="order: expected 1 to 3, got 4"):
        frequent_ngrams(IDS, 4, 9)
    with pytest.raises(ValueError, match="ids: expected 0 to 2097151, got 0 to 2097152"):
        frequent_ngrams(np.array([[0, 2**21]]), 2, 9)
    with pytest.raises(ValueError, match="ids: expected 0 to 2097151, got -1 to 5"):
        ngram_finder(np.array([[1, 2]]))(np.array([[-1, 5]]))
