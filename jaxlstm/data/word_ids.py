"""Words of texts as integers: tokens, ranks in a vocabulary, ids by the convention of Keras."""

import itertools
import re
from collections.abc import Iterable, Sequence, Sized
from typing import NamedTuple

import numpy as np

from jaxlstm.errors import UserError

PADDING = 0
START = 1  # the start of a review
UNKNOWN = 2  # a word outside the vocabulary
FIRST_WORD = 3  # the most frequent word

_BREAK = re.compile(r"<br\s*/?>")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


class Reviews(NamedTuple):
    """N reviews, end to end, the negative ones first and each half in the order of its file names."""

    words: np.ndarray  # [sum of lengths] int32, ranks in the vocabulary; -1 outside of it
    offsets: np.ndarray  # [N + 1] int64: review n is words[offsets[n] : offsets[n + 1]]
    labels: np.ndarray  # [N] int32, 1 where positive, -1 where nobody has said


def tokenise(text: str) -> list[str]:
    """Lowercase words, as in the IMDB set of Keras: no HTML breaks, no punctuation but an apostrophe within a word."""
    return _WORD.findall(_BREAK.sub(" ", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")))


def encode(reviews: Reviews, num_words: int, max_length: int) -> np.ndarray:
    """Reviews -> ids [N, max_length], int32, by the convention of Keras.

    A review is START, then its words: FIRST_WORD for the most frequent one, and so on while the id
    is below `num_words`, UNKNOWN for any other. The last `max_length` of these are kept, with
    PADDING to the left of a shorter review. (Keras counts words from 1, so that its id 3 is idle.)

    Raises:
      UserError: `num_words` of 3 or less, or a `max_length` below 1.
    """
    if num_words <= FIRST_WORD:
        raise UserError(f"num_words: expected at least {FIRST_WORD + 1}, as ids 0 to 2 are no words, got {num_words}")
    if max_length < 1:
        raise UserError(f"max_length: expected at least 1, got {max_length}")
    first, end = reviews.offsets[:-1, None], reviews.offsets[1:, None]
    position = end - np.arange(max_length, 0, -1)  # of each id in `words`; START stands at first - 1
    # Rank -1 becomes UNKNOWN. The entry appended is for reviews without a single word.
    ids = np.append(reviews.words, -1).astype(np.int32)[np.maximum(position, 0)] + FIRST_WORD
    ids[ids >= num_words] = UNKNOWN
    ids[position == first - 1] = START
    ids[position < first - 1] = PADDING
    return ids


def encode_texts(texts: Iterable[str], vocabulary: Sequence[str], num_words: int, max_length: int) -> np.ndarray:
    """New texts -> ids [N, max_length], int32, as `encode` makes them."""
    rank = dict(zip(vocabulary[: max(num_words - FIRST_WORD, 0)], itertools.count(), strict=False))
    tokens = [[rank.get(word, -1) for word in tokenise(text)] for text in texts]
    words = np.array(list(itertools.chain.from_iterable(tokens)), np.int32)
    return encode(Reviews(words, offsets_of(tokens), np.zeros(len(tokens), np.int32)), num_words, max_length)


def decode(ids: Iterable[int], vocabulary: Sequence[str]) -> str:
    """Ids [T] -> the words, for showing an example; "?" for UNKNOWN, nothing for PADDING and START."""
    return " ".join("?" if index == UNKNOWN else vocabulary[index - FIRST_WORD] for index in ids if index > START)


def offsets_of(tokens: Iterable[Sized]) -> np.ndarray:
    """Where each of N lists of tokens begins once they stand end to end, and where the last ends: [N + 1] int64."""
    return np.cumsum([0, *map(len, tokens)], dtype=np.int64)
