"""The files of the Large Movie Review Dataset: a folder, or its tarball read from front to back."""

import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import rich.progress
from rich.console import Console
from rich.progress import track

from jaxlstm.data.word_ids import tokenise
from jaxlstm.errors import DataError

_REVIEW_FILE = re.compile(r"(?:.*/)?(\w+/\w+)/(\d+_\d+\.txt)")


def read_reviews(path: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, str, list[str]]]:
    """The part, the file's name and the words of each review in these parts of the folder or tarball."""
    for name, content in _folder_files(path, parts) if path.is_dir() else _tarball_files(path, parts):
        if match := _REVIEW_FILE.fullmatch(name):
            yield match[1], match[2], _words(path, name, content)


def paths(folder: Path, parts: tuple[str, ...]) -> list[Path]:
    """The files of the reviews in these parts of the unpacked folder, in order."""
    return sorted(path for part in parts for path in (folder / part).glob("*.txt"))


def _folder_files(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    description = f"Reading {folder.name}"
    for path in track(paths(folder, parts), description, console=Console(stderr=True), transient=True):
        yield path.as_posix(), path.read_bytes()


def _tarball_files(path: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """The name and content of each review in these parts, in one pass from front to back."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic[:2] != b"\x1f\x8b" and magic != b"\xfd7zXZ\0":
        raise DataError(f"{path}: expected a .tar.gz or .tar.xz file, got one that is neither")
    description, console = f"Reading {path.name}", Console(stderr=True)
    try:
        with (
            rich.progress.open(path, "rb", description=description, console=console, transient=True) as compressed,
            gzip.open(compressed) if magic[:2] == b"\x1f\x8b" else lzma.open(compressed) as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                _refuse_outside(member, path)
                match = _REVIEW_FILE.fullmatch(member.name)
                if match and match[1] in parts and (content := archive.extractfile(member)):
                    yield member.name, content.read()
            while stream.read(2**20):  # tarfile stops at the end mark; the checksum comes after it
                pass
    except (tarfile.TarError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}: damaged or cut short ({error}); fetch it again") from error


def _refuse_outside(member: tarfile.TarInfo, path: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"{path}: refused, its member {member.name!r} points outside of its folder")
    if not (member.isfile() or member.isdir()):
        raise DataError(f"{path}: refused, its member {member.name!r} is a link or a device, not a file")


def _words(path: Path, name: str, content: bytes) -> list[str]:
    try:
        return tokenise(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: damaged, {name} is not UTF-8 text; fetch it again") from error
