"""The book of Genesis in a few languages (NLTK's `genesis`, public domain), about 190,000 characters each."""

import zipfile
import zlib
from pathlib import Path

from jaxlstm.data.fetch import Source, locate
from jaxlstm.errors import DataError

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
    path = locate(SOURCE, data_dir)
    try:
        text = _read(path, translation)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise DataError(f"{path}: damaged or not {SOURCE.name} ({error}); it is published at {SOURCE.url}") from error
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:  # some of the files are in Latin-1, whose accents are no UTF-8
        return text.decode("latin-1")


def _read(path: Path, translation: str) -> bytes:
    if path.is_dir():
        files = {file.stem: file for file in path.glob("*.txt")}
        return files[_known(translation, files, path)].read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = {Path(name).stem: name for name in archive.namelist() if name.endswith(".txt")}
        return archive.read(members[_known(translation, members, path)])


def _known(translation: str, files: dict, path: Path) -> str:
    if translation in files:
        return translation
    if not files:
        raise DataError(f"{path}: expected text files such as french.txt in it, found none")
    raise DataError(f"translation: expected one of {', '.join(sorted(files))}, got {translation!r} ({path})")
