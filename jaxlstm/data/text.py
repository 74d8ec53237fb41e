"""Text for character models: words to learn from and words held out, characters as integers, windows, streams."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxlstm.errors import DataError, UserError

START = 0  # stands before the first character
UNKNOWN = 1  # any character that is not in the alphabet
APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}"  # which one, is up to the typesetter


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


def typeset(text: str, apostrophe: str) -> str:
    """The text with one space between words, and this apostrophe in place of each of the APOSTROPHES."""
    return " ".join(text.translate(dict.fromkeys(map(ord, APOSTROPHES), apostrophe)).split())


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


class Streams(NamedTuple):
    """A text cut into B rows that are read side by side, in S windows of W characters each.

    A row goes on from window to window, so that a state carried along has seen all of the row. The input
    at each position is the character before the target, START before the first of the text.
    """

    # NumPy arrays; inside a compiled loop the same as JAX arrays, or one window of them without S.
    inputs: Any  # [S, B, W] int32
    targets: Any  # [S, B, W] int32
    mask: Any  # [S, B, W] bool, False where a row is over
    is_first: Any  # [S] bool, True where the rows begin


def streams(ids: np.ndarray, rows: int, window: int) -> Streams:
    """Text of n characters, ids [n], as at most `rows` rows; the last row may be shorter.

    Raises:
      DataError: the text is empty.
      UserError: rows or a window below 1.
    """
    if rows < 1 or window < 1:
        raise UserError(f"rows and window: expected at least 1, got {rows} and {window}")
    if not len(ids):
        raise DataError("text: expected at least one character, got none")
    length = -(-len(ids) // rows)
    rows = -(-len(ids) // length)
    steps = -(-length // window)

    def cut(values: np.ndarray) -> np.ndarray:
        side_by_side = np.pad(values, (0, rows * length - len(ids))).reshape(rows, length)
        whole_windows = np.pad(side_by_side, ((0, 0), (0, steps * window - length)))
        return np.ascontiguousarray(whole_windows.reshape(rows, steps, window).swapaxes(0, 1))

    before = np.concatenate([[START], ids[:-1]]).astype(np.int32)
    return Streams(cut(before), cut(ids), cut(np.ones(len(ids), bool)), np.arange(steps) == 0)


def joined(values: np.ndarray, streams: Streams) -> np.ndarray:
    """What was computed for each position of the streams, [S, B, W] -> [n], in the order of the text."""
    return values.swapaxes(0, 1)[streams.mask.swapaxes(0, 1)]
