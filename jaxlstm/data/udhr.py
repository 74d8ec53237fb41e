"""The Universal Declaration of Human Rights in some 390 languages (NLTK's `udhr2`, public domain)."""

import re
import zipfile
import zlib
from pathlib import Path

from jaxlstm.data.fetch import Source, locate
from jaxlstm.errors import DataError

SOURCE = Source(
    name="udhr2.zip",
    url="https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/udhr2.zip",
    hash="sha256:0796c314b09a930c989c6f9d93d226af9af13feccd88496e196c743dd266c7f3",
    local_names=("udhr2",),
)

_TEXT_FILE = re.compile(r"(?:.*/)?(\w+)\.txt")


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
    path = locate(SOURCE, data_dir)
    try:
        text = _read(path, language).decode("utf-8")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: damaged or not {SOURCE.name} ({error}); it is published at {SOURCE.url}") from error
    lines = [line for line in map(str.strip, text.splitlines()) if line not in ("", "[??]")]
    if not lines:
        raise DataError(f"{path}: the text of language {language!r} is empty; choose another language")
    return "\n".join(lines)


def _read(path: Path, language: str) -> bytes:
    if path.is_dir():
        files = {file.stem: file for file in path.glob("*.txt")}
        return files[_known(language, files, path)].read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = {match[1]: match[0] for match in map(_TEXT_FILE.fullmatch, archive.namelist()) if match}
        return archive.read(members[_known(language, members, path)])


def _known(language: str, files: dict, path: Path) -> str:
    if language in files:
        return language
    if not files:
        raise DataError(f"{path}: expected text files such as eng.txt in it, found none")
    alike = sorted(code for code in files if code[:2] == language[:2].lower()) or ["eng", "fra", "deu", "spa"]
    raise DataError(f"language: expected one of {len(files)} such as {', '.join(alike[:8])}, got {language!r} ({path})")
