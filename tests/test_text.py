"""Text as characters: alphabets, windows, streams."""

import numpy as np
import pytest

from jaxlstm.data.text import START, UNKNOWN, Alphabet, alphabet_of, joined, split_words, streams, windows
from jaxlstm.errors import DataError, UserError


def test_split_words_as_the_original_does():
    text = "  ".join(f"w{n}" for n in range(37)) + "\n"
    learn, held_out = split_words(text, 0.8)
    assert learn.split() == [f"w{n}" for n in range(37 // 10 * 8)]
    assert held_out == " ".join(f"w{n}" for n in range(24, 37))
    assert learn == " ".join(learn.split())
    # A product such as 100 * 0.57, which is a little below 57, takes no word away.
    assert split_words("word " * 100, 0.57)[0] == " ".join(["word"] * 57)


@pytest.mark.parametrize("text", ["", "  \n", "one", "nine words are too few to cut in tens"])
def test_split_words_needs_words(text):
    with pytest.raises(DataError, match="text: expected enough words"):
        split_words(text, 0.8)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2, float("nan")])
def test_split_words_needs_a_fraction(fraction):
    with pytest.raises(UserError, match="fraction: expected a number between 0 and 1"):
        split_words("word " * 20, fraction)


def test_alphabet():
    alphabet = alphabet_of("cab", "bad")
    assert alphabet == Alphabet("abcd")
    assert alphabet.size == 6
    ids = alphabet.encode("dab!\N{GRINNING FACE}")
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, [5, 2, 3, UNKNOWN, UNKNOWN])
    assert alphabet.decode([START, *ids]) == "dab\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    assert alphabet.encode("").shape == (0,)
    with pytest.raises(DataError, match="text: expected at least one character"):
        alphabet_of("", "")


def test_windows():
    np.testing.assert_array_equal(windows(np.arange(5), 3), [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    np.testing.assert_array_equal(windows(np.arange(3), 3), [[0, 1, 2]])
    with pytest.raises(DataError, match="text: expected at least 3 characters, the length of a window, got 2"):
        windows(np.arange(2), 3)
    with pytest.raises(DataError, match="got 0"):
        windows(np.arange(0), 1)
    with pytest.raises(UserError, match="length: expected a window of at least 1 character, got 0"):
        windows(np.arange(5), 0)


def test_streams_by_hand():
    text = streams(np.arange(10, 21), rows=2, window=4)
    assert text.inputs.tolist() == [[[START, 10, 11, 12], [15, 16, 17, 18]], [[13, 14, 0, 0], [19, 0, 0, 0]]]
    assert text.targets.tolist() == [[[10, 11, 12, 13], [16, 17, 18, 19]], [[14, 15, 0, 0], [20, 0, 0, 0]]]
    assert text.is_first.tolist() == [True, False]


@pytest.mark.parametrize("rows", [1, 3, 8, 40])
@pytest.mark.parametrize("window", [1, 5, 100])
@pytest.mark.parametrize("length", [1, 29, 30])
def test_streams_hold_every_character_once(length, window, rows):
    ids = np.arange(100, 100 + length, dtype=np.int32)
    text = streams(ids, rows, window)
    np.testing.assert_array_equal(joined(text.targets, text), ids)
    np.testing.assert_array_equal(joined(text.inputs, text), [START, *ids[:-1]])
    assert text.mask.sum() == length
    steps, found_rows, width = text.inputs.shape
    assert width == window
    assert found_rows <= min(rows, length)
    assert text.mask.any(axis=(1, 2)).all()
    assert text.is_first.tolist() == [True] + [False] * (steps - 1)
    # A row goes on in the next window where it stopped.
    np.testing.assert_array_equal(text.inputs[1:, 0, 0], text.targets[:-1, 0, -1])


def test_streams_of_nothing_or_of_no_rows():
    with pytest.raises(DataError, match="text: expected at least one character, got none"):
        streams(np.zeros(0, np.int32), 2, 4)
    with pytest.raises(UserError, match="rows and window: expected at least 1, got 0 and 4"):
        streams(np.arange(9), 0, 4)
