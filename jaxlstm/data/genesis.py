"""The book of Genesis in a few languages (NLTK's `genesis`, public domain), about 190,000 characters each."""

from pathlib import Path

from jaxlstm.data.corpus import read_text
from jaxlstm.data.fetch import Source

SOURCE = Source(
    name="genesis.zip",
    url="https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/genesis.zip",
    hash="sha256:0cac241f88d7999f81a45e26b1764b2d1f3b4d21654aa954e0d5349eb4784cd0",
    local_names=("genesis",),
)


def load_genesis(translation: str, data_dir: Path | None = None) -> str:
    """One translation, verse after verse, without headings and numbers.

    Args:
      translation: the name of a file without its suffix: "english-web" (World English Bible), "english-kjv",
        "finnish", "french", "german", "lolcat", "portuguese" or "swedish".
      data_dir: as in `jaxlstm.data.fetch.locate`.

    Raises:
      DataError: no such translation, a damaged file, or no copy of the data set.
    """
    return read_text(SOURCE, translation, data_dir, _decode, _unknown)


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:  # some of the files are in Latin-1, whose accents are no UTF-8
        return text.decode("latin-1")


def _unknown(_: str, names: list[str]) -> str:
    return f"translation: expected one of {', '.join(names)}"
