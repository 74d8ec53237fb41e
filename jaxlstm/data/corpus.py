"""Corpora of NLTK's: a zip, or the folder in it, with one text file for each language."""

import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from jaxlstm.data.fetch import Source, locate
from jaxlstm.errors import DataError

_TEXT_FILE = re.compile(r"(?:.*/)?([\w-]+)\.txt")


def read_text(
    source: Source,
    name: str,
    data_dir: Path | None,
    decode: Callable[[bytes], str],
    unknown: Callable[[str, list[str]], str],
) -> str:
    """The text of one file of a corpus, not an empty one.

    Args:
      name: of the file, without its suffix.
      data_dir: as in `jaxlstm.data.fetch.locate`.
      decode: bytes -> text; a UnicodeDecodeError says that the file is damaged.
      unknown: `name`, and the names there are in order -> what to say where it is not among them.

    Raises:
      DataError: no such name, a damaged file, an empty text, or no copy of the corpus.
    """
    path = locate(source, data_dir)
    try:
        text = decode(_read_folder(path, name, unknown) if path.is_dir() else _read_zip(path, name, unknown))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: damaged or not {source.name} ({error}); it is published at {source.url}") from error
    if not text:
        raise DataError(f"{path}: the text of {name!r} is empty; choose another")
    return text


def _read_folder(path: Path, name: str, unknown: Callable[[str, list[str]], str]) -> bytes:
    files = {file.stem: file for file in path.glob("*.txt")}
    return files[_known(name, files, path, unknown)].read_bytes()


def _read_zip(path: Path, name: str, unknown: Callable[[str, list[str]], str]) -> bytes:
    with zipfile.ZipFile(path) as archive:
        members = {match[1]: match[0] for match in map(_TEXT_FILE.fullmatch, archive.namelist()) if match}
        return archive.read(members[_known(name, members, path, unknown)])


def _known(name: str, files: dict, path: Path, unknown: Callable[[str, list[str]], str]) -> str:
    if name in files:
        return name
    if not files:
        raise DataError(f"{path}: expected a text file for each language in it, found none")
    raise DataError(f"{unknown(name, sorted(files))}, got {name!r} ({path})")
