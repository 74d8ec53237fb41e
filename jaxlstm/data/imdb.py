"""The Large Movie Review Dataset (Maas et al. 2011): 50,000 film reviews, half of them positive, and 50,000 unlabelled.

Reviews become ranks in one vocabulary, most frequent word first, once and for all; `encode` then
cuts them to any number of words and any length. Reading takes seconds, so the ranks are cached.
"""

import gzip
import hashlib
import itertools
import lzma
import os
import re
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import rich.progress
from rich.console import Console
from rich.progress import track

from jaxlstm.data.fetch import Source, cache_dir, locate
from jaxlstm.errors import DataError, UserError
from jaxlstm.files import replacing

SOURCE = Source(
    name="aclImdb_v1.tar.gz",
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    hash="sha256:c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    local_names=("aclImdb_v1.tar.xz", "aclImdb"),
)

PADDING = 0
START = 1  # the start of a review
UNKNOWN = 2  # a word outside the vocabulary
FIRST_WORD = 3  # the most frequent word

_REVIEW_FILE = re.compile(r"(?:.*/)?(\w+/\w+)/(\d+_\d+\.txt)")
_BREAK = re.compile(r"<br\s*/?>")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_PARTS = {"train": ("train/neg", "train/pos"), "test": ("test/neg", "test/pos")}
_LABELLED = (*_PARTS["train"], *_PARTS["test"])
_UNLABELLED = ("train/unsup",)
_EDITION = 1  # of `tokenise` and of the cached file; raise it when either changes


class Reviews(NamedTuple):
    """N reviews, end to end, the negative ones first and each half in the order of its file names."""

    words: np.ndarray  # [sum of lengths] int32, ranks in the vocabulary; -1 outside of it
    offsets: np.ndarray  # [N + 1] int64: review n is words[offsets[n] : offsets[n + 1]]
    labels: np.ndarray  # [N] int32, 1 where positive, -1 where nobody has said


class Imdb(NamedTuple):
    """The labelled reviews."""

    train: Reviews
    test: Reviews
    vocabulary: list[str]  # the words of the training reviews, most frequent first


def load_imdb(data_dir: Path | None = None) -> Imdb:
    """The labelled reviews, from the tarball (.tar.gz or .tar.xz) or from the unpacked folder.

    The tarball is read once, front to back; nothing is unpacked to disk. The tokens are cached, for
    as long as the source keeps its path, size and time.

    Args:
      data_dir: as in `jaxlstm.data.fetch.locate`.

    Raises:
      DataError: a damaged or truncated source, a tarball with a member that points outside its
        folder, or no copy of the data set.
    """
    path = locate(SOURCE, data_dir)
    cache = cache_dir() / f"imdb-{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]}.npz"
    try:
        fingerprint = _fingerprint(path)
        imdb = _load_cache(cache, fingerprint)
        if imdb is not None:
            return imdb
        imdb = _index(path, _read(path, _LABELLED))
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error
    _save_cache(cache, fingerprint, imdb)
    return imdb


def load_unlabelled(vocabulary: Sequence[str], data_dir: Path | None = None) -> Reviews:
    """The reviews that nobody has labelled, as ranks in a vocabulary; read anew at each call.

    Args:
      vocabulary: of `load_imdb`.
      data_dir: as in `jaxlstm.data.fetch.locate`.

    Raises:
      DataError: as `load_imdb`, or no such review.
    """
    path = locate(SOURCE, data_dir)
    rank = dict(zip(vocabulary, itertools.count(), strict=False))
    try:
        tokens = {
            name: np.array([rank.get(word, -1) for word in words], np.int32)
            for _, name, words in _read(path, _UNLABELLED)
        }
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error
    if not tokens:
        raise DataError(f"{path}: expected reviews in train/unsup, found none")
    reviews = [tokens[name] for name in sorted(tokens)]
    return Reviews(np.concatenate(reviews), _offsets(reviews), np.full(len(reviews), -1, np.int32))


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
    return encode(Reviews(words, _offsets(tokens), np.zeros(len(tokens), np.int32)), num_words, max_length)


def decode(ids: Iterable[int], vocabulary: Sequence[str]) -> str:
    """Ids [T] -> the words, for showing an example; "?" for UNKNOWN, nothing for PADDING and START."""
    return " ".join("?" if index == UNKNOWN else vocabulary[index - FIRST_WORD] for index in ids if index > START)


def _read(path: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, str, list[str]]]:
    """The part, the file's name and the words of each review in these parts of the folder or tarball."""
    for name, content in _folder_files(path, parts) if path.is_dir() else _tarball_files(path, parts):
        if match := _REVIEW_FILE.fullmatch(name):
            yield match[1], match[2], _words(path, name, content)


def _folder_files(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    description = f"Reading {folder.name}"
    for path in track(_paths(folder, parts), description, console=Console(stderr=True), transient=True):
        yield path.as_posix(), path.read_bytes()


def _paths(folder: Path, parts: tuple[str, ...]) -> list[Path]:
    return sorted(path for part in parts for path in (folder / part).glob("*.txt"))


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
        raise DataError(f"{path}: damaged or cut short ({error}); fetch it again from {SOURCE.url}") from error


def _refuse_outside(member: tarfile.TarInfo, path: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"{path}: refused, its member {member.name!r} points outside of its folder")
    if not (member.isfile() or member.isdir()):
        raise DataError(f"{path}: refused, its member {member.name!r} is a link or a device, not a file")


def _index(path: Path, files: Iterable[tuple[str, str, list[str]]]) -> Imdb:
    """Numbers the words of the reviews, and ranks them."""
    numbers: dict[str, int] = {}  # a number for each word, by first appearance
    reviews: dict[tuple[str, str], np.ndarray] = {}
    for part, name, words in files:
        reviews[part, name] = np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int32)
    train, test = (_join(path, parts, reviews) for parts in _PARTS.values())

    # Words of one count are ranked by the alphabet, whatever the order of the files in the source.
    words_in_order = sorted(numbers)
    number = np.array([numbers[word] for word in words_in_order])
    counts = np.bincount(train.words, minlength=len(numbers))[number]
    by_rank = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    rank = np.full(len(numbers), -1, np.int32)
    rank[number[by_rank]] = np.arange(len(by_rank))
    train, test = (reviews._replace(words=rank[reviews.words]) for reviews in (train, test))
    return Imdb(train, test, [words_in_order[index] for index in by_rank])


def _words(path: Path, name: str, content: bytes) -> list[str]:
    try:
        return tokenise(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: damaged, {name} is not UTF-8 text; fetch it again") from error


def _join(path: Path, parts: tuple[str, str], reviews: dict[tuple[str, str], np.ndarray]) -> Reviews:
    """The reviews of a half, the negative part first."""
    keys = sorted(key for key in reviews if key[0] in parts)
    for part in parts:
        if not any(key[0] == part for key in keys):
            raise DataError(f"{path}: expected reviews in {part}, found none")
    tokens = [reviews[key] for key in keys]
    positive = [part == parts[1] for part, _ in keys]
    return Reviews(np.concatenate(tokens), _offsets(tokens), np.array(positive, np.int32))


def _offsets(tokens: Iterable[Sized]) -> np.ndarray:
    return np.cumsum([0, *map(len, tokens)], dtype=np.int64)


def _fingerprint(path: Path) -> str:
    """Changes when the source does: the path, size and time of the tarball, or of every review of a folder."""
    stats = [(file, file.stat()) for file in (_paths(path, _LABELLED) if path.is_dir() else [path])]
    facts = [_EDITION, *((os.fspath(file.resolve()), stat.st_size, stat.st_mtime_ns) for file, stat in stats)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _load_cache(cache: Path, fingerprint: str) -> Imdb | None:
    """What `_save_cache` wrote; None where it is missing, of another source or damaged."""
    try:
        # Opened here, as `np.load` leaves open what turns out to be no archive.
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if str(arrays["fingerprint"]) != fingerprint:
                return None
            train, test = (Reviews(*(arrays[f"{split}_{name}"] for name in Reviews._fields)) for split in _PARTS)
            return Imdb(train, test, arrays["vocabulary"].tobytes().decode("utf-8").splitlines())
    except (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None


def _save_cache(cache: Path, fingerprint: str, imdb: Imdb) -> None:
    arrays = {f"train_{name}": array for name, array in imdb.train._asdict().items()}
    arrays |= {f"test_{name}": array for name, array in imdb.test._asdict().items()}
    vocabulary = np.frombuffer("\n".join(imdb.vocabulary).encode("utf-8"), np.uint8)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with replacing(cache) as partial, partial.open("wb") as file:
            np.savez(file, fingerprint=np.array(fingerprint), vocabulary=vocabulary, **arrays)
    except OSError as error:
        problem = f"{cache}: cannot be written ({error.strerror or error}), so that the reviews are read anew each time"
        warnings.warn(f"{problem}; set JAXLSTM_CACHE", stacklevel=2)
