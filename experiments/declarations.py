"""What manylang reads: the Declaration of Human Rights in many languages, and windows of it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.session import Options
from jaxlstm.data.text import UNKNOWN, Alphabet, alphabet_of, split_words, typeset
from jaxlstm.data.udhr import load_udhr
from jaxlstm.errors import DataError

# ISO 639-1, and the text in the Declaration's corpus: what both Lingua and py3langid know, of it.
LANGUAGES = {
    "af": "afr", "ar": "arb", "be": "bel", "bg": "bul", "bs": "bos_latn", "ca": "cat", "cs": "ces", "cy": "cym",
    "da": "dan", "de": "deu", "el": "ell_monotonic", "en": "eng", "es": "spa", "et": "est", "eu": "eus",
    "fa": "pes_1", "fi": "fin", "fr": "fra", "ga": "gle", "he": "heb", "hi": "hin", "hr": "hrv", "hu": "hun",
    "id": "ind", "is": "isl", "it": "ita", "ja": "jpn", "ko": "kor", "lt": "lit", "lv": "lav", "mk": "mkd",
    "ms": "mly_latn", "nl": "nld", "nn": "nno", "pl": "pol", "pt": "por_PT", "ro": "ron", "ru": "rus",
    "sk": "slk", "sl": "slv", "sq": "als", "sr": "srp_cyrl", "sv": "swe", "sw": "swh", "th": "tha", "tl": "tgl",
    "tr": "tur", "uk": "ukr", "vi": "vie", "zh": "cmn_hans",
}  # fmt: skip


class Parts(NamedTuple):
    """The text in each language: to learn from, to choose the epoch on, to be measured on."""

    train: list[str]
    validation: list[str]
    test: list[str]


class Texts(NamedTuple):
    """The texts in L languages as integers."""

    ids: jax.Array  # [L, N] int32, padded at the right
    sizes: jax.Array  # [L] int32


def load_parts(config: Any, options: Options) -> Parts:
    """The Declaration in each language, cut into its parts."""
    texts = [as_typeset(load_udhr(LANGUAGES[code], options.data_dir)) for code in config.languages]
    learnt, test = zip(*(split_words(text, config.train_fraction) for text in texts), strict=True)
    train, validation = zip(*(split_words(text, 1 - config.validation_fraction) for text in learnt), strict=True)
    parts = Parts(list(train), list(validation), list(test))
    for name, part in parts._asdict().items():
        for code, text in zip(config.languages, part, strict=True):
            if len(text) < config.lengths[-1]:
                raise DataError(
                    f"--lengths: expected at most {len(text)}, the characters of the {name} text in {code!r}, "
                    f"got {config.lengths[-1]}"
                )
    return parts


def as_typeset(text: str) -> str:
    """One space between words, and straight apostrophes: which one a translation has, says nothing of its language."""
    return typeset(text, "'")


def count_characters(texts: Sequence[str]) -> int:
    """The number of characters in all texts."""
    return sum(map(len, texts))


def frequent_characters(text: str, count: int) -> Alphabet:
    """The alphabet of a text, its most frequent characters only."""
    return alphabet_of("".join(character for character, _ in Counter(text).most_common(count)))


def spaced_windows(texts: Sequence[str], length: int, count: int) -> tuple[list[str], np.ndarray]:
    """`count` windows of each text, evenly spaced, and the number of the text that each is of."""
    starts = [np.linspace(0, len(text) - length, count).astype(int) for text in texts]
    found = [text[start : start + length] for text, of_text in zip(texts, starts, strict=True) for start in of_text]
    return found, np.repeat(np.arange(len(texts)), count)


def encode_all(texts: Sequence[str], alphabet: Alphabet) -> np.ndarray:
    """N texts of T characters -> [N, T]."""
    return alphabet.encode("".join(texts)).reshape(len(texts), -1)


def on_device(texts: Sequence[str], alphabets: Sequence[Alphabet]) -> Texts:
    """The texts, each by its own alphabet."""
    ids = [alphabet.encode(text) for text, alphabet in zip(texts, alphabets, strict=True)]
    longest = max(map(len, ids))
    padded = [np.pad(of_text, (0, longest - len(of_text))) for of_text in ids]
    return Texts(jnp.asarray(padded), jnp.array([len(of_text) for of_text in ids]))


def draw_windows(key: jax.Array, texts: Texts, languages: jax.Array, length: int, unknown: float) -> jax.Array:
    """A window at random of each of the languages [B] -> [B, length], a share of its characters hidden."""
    key_starts, key_unknown = jax.random.split(key)
    starts = jax.random.randint(key_starts, languages.shape, 0, texts.sizes[languages] - length + 1)
    ids = texts.ids[languages[:, None], starts[:, None] + jnp.arange(length)]
    return jnp.where(jax.random.bernoulli(key_unknown, unknown, ids.shape), UNKNOWN, ids)
