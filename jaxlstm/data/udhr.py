"""The Universal Declaration of Human Rights in some 390 languages (NLTK's `udhr2`, public domain)."""

from pathlib import Path

from jaxlstm.data.corpus import read_text
from jaxlstm.data.fetch import Source

SOURCE = Source(
    name="udhr2.zip",
    url="https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/udhr2.zip",
    hash="sha256:0796c314b09a930c989c6f9d93d226af9af13feccd88496e196c743dd266c7f3",
    local_names=("udhr2",),
)


def load_udhr(language: str, data_dir: Path | None = None) -> str:
    """The declaration in one language, a paragraph a line, its own title and headings included.

    This edition has no licence header. What is taken out is layout: indentation, empty lines, and
    the lines "[??]" that stand for a title or heading which a translation lacks.

    Args:
      language: the name of a file without its suffix: ISO 639-3, at times with a variant, such as
        "eng", "fra", "deu_1901" or "por_BR".
      data_dir: as in `jaxlstm.data.fetch.locate`.

    Raises:
      DataError: no such language, a damaged file, an empty text (two of this edition are), or no
        copy of the data set.
    """
    return read_text(SOURCE, language, data_dir, _decode, _unknown)


def _decode(text: bytes) -> str:
    lines = map(str.strip, text.decode("utf-8").splitlines())
    return "\n".join(line for line in lines if line not in ("", "[??]"))


def _unknown(language: str, names: list[str]) -> str:
    known = [name for name in ("eng", "fra", "deu", "spa") if name in names]
    alike = [name for name in names if name[:2] == language[:2].lower()] or known or names
    return f"language: expected one of {len(names)} such as {', '.join(alike[:8])}"
