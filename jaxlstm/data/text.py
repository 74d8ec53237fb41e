"""Text for character models: words to learn from and words held out, characters as integers, windows."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jaxlstm.errors import DataError, UserError

START = 0  # stands before the first character
UNKNOWN = 1  # any character that is not in the alphabet


class Alphabet(NamedTuple):
    """The characters that a model knows; character k has index k + 2, after START and UNKNOWN."""

    characters: str

    @property
    def size(self) -> int:
        """The number of indices: the characters, START and UNKNOWN."""
        return len(self.characters) + 2

    def encode(self, text: str) -> np.ndarray:
        """Text of n characters -> indices [n], int32; no START is added."""
        # `find` gives -1 for a character that is not there, and -1 + 2 is UNKNOWN.
        return np.fromiter((self.characters.find(character) + 2 for character in text), np.int32, len(text))

    def decode(self, ids: Iterable[int]) -> str:
        """Indices [n] -> text; START leaves nothing, UNKNOWN the replacement character U+FFFD."""
        symbols = ["", "\N{REPLACEMENT CHARACTER}", *self.characters]
        return "".join(symbols[index] for index in ids)


def alphabet_of(*texts: str) -> Alphabet:
    """The alphabet of the texts, in code point order.

    Raises:
      DataError: there is no character in any of them.
    """
    characters = "".join(sorted(set().union(*texts)))
    if not characters:
        raise DataError("text: expected at least one character, got none")
    return Alphabet(characters)


def split_words(text: str, fraction: float) -> tuple[str, str]:
    """The first `fraction` of the words, to learn from, and the rest, held out.

    The text is split at white space and joined again by single spaces. As in the original system,
    where 0.8 was `len(words) // 10 * 8`, the fraction is that of whole tens of words.

    Raises:
      DataError: a part would be empty.
      UserError: a fraction that is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise UserError(f"fraction: expected a number between 0 and 1, got {fraction}")
    words = text.split()
    cut = round(len(words) // 10 * 10 * fraction)
    if not 0 < cut < len(words):
        raise DataError(f"text: expected enough words to learn from {fraction:.0%} and hold out some, got {len(words)}")
    return " ".join(words[:cut]), " ".join(words[cut:])


def windows(ids: np.ndarray, length: int) -> np.ndarray:
    """Every run of `length` neighbours: ids [n] -> [n - length + 1, length], a read-only view.

    Raises:
      DataError: the text is shorter than one window.
      UserError: a length below 1.
    """
    if length < 1:
        raise UserError(f"length: expected a window of at least 1 character, got {length}")
    if len(ids) < length:
        raise DataError(f"text: expected at least {length} characters, the length of a window, got {len(ids)}")
    return np.lib.stride_tricks.sliding_window_view(ids, length)
