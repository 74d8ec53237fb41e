"""Pairs of words as symbols: which are kept, and where they are found."""

from itertools import pairwise

import numpy as np

from jaxlstm.data.bigrams import OTHER, bigram_finder, frequent_bigrams

IDS = np.array([[3, 4, 3, 4, 5], [0, 1, 3, 4, 5], [0, 0, 4, 5, 2]])


def test_the_pairs_of_most_rows_come_first():
    # (4, 5) is in three rows, (3, 4) in two, twice in the first; (4, 3) in one.
    np.testing.assert_array_equal(frequent_bigrams(IDS, 5, first=3), [[4, 5], [3, 4], [4, 3]])
    np.testing.assert_array_equal(frequent_bigrams(IDS, 2, first=3), [[4, 5], [3, 4]])
    assert [0, 1] in frequent_bigrams(IDS, 99).tolist()
    assert frequent_bigrams(IDS, 5, first=6).shape == (0, 2)


def test_a_pair_is_found_at_its_second_word():
    bigrams = np.array([[4, 5], [3, 4]])
    found = bigram_finder(bigrams)(IDS)
    np.testing.assert_array_equal(
        found, [[OTHER, 2, OTHER, 2, 1], [OTHER, OTHER, OTHER, 2, 1], [OTHER] * 3 + [1, OTHER]]
    )
    np.testing.assert_array_equal(bigram_finder(bigrams[:0])(IDS), np.zeros(IDS.shape))


def test_many_pairs_are_found_as_a_dictionary_finds_them():
    ids = np.random.default_rng(0).integers(0, 40, (50, 30))
    bigrams = frequent_bigrams(ids, 300)
    number = {tuple(pair): index for index, pair in enumerate(bigrams.tolist(), 1)}
    assert len(number) == 300
    expected = [[OTHER, *(number.get(pair, OTHER) for pair in pairwise(row))] for row in ids.tolist()]
    np.testing.assert_array_equal(bigram_finder(bigrams)(ids), expected)
