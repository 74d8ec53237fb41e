"""The Large Movie Review Dataset (Maas et al. 2011): 50,000 film reviews, half of them positive, and 50,000 unlabelled.

Reviews become ranks in one vocabulary, most frequent word first, once and for all; `word_ids.encode` then
cuts them to any number of words and any length. Reading takes seconds, so the ranks are cached.
"""

import hashlib
import itertools
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxlstm.data.fetch import Source, cache_dir, locate
from jaxlstm.data.imdb_files import paths, read_reviews
from jaxlstm.data.word_ids import Reviews, offsets_of
from jaxlstm.errors import DataError
from jaxlstm.files import replacing

SOURCE = Source(
    name="aclImdb_v1.tar.gz",
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    hash="sha256:c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    local_names=("aclImdb_v1.tar.xz", "aclImdb"),
)

_PARTS = {"train": ("train/neg", "train/pos"), "test": ("test/neg", "test/pos")}
_LABELLED = (*_PARTS["train"], *_PARTS["test"])
_UNLABELLED = ("train/unsup",)
_EDITION = 1  # of `tokenise` and of the cached file; raise it when either changes


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
        imdb = _index(path, read_reviews(path, _LABELLED))
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
            for _, name, words in read_reviews(path, _UNLABELLED)
        }
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error
    if not tokens:
        raise DataError(f"{path}: expected reviews in train/unsup, found none")
    reviews = [tokens[name] for name in sorted(tokens)]
    return Reviews(np.concatenate(reviews), offsets_of(reviews), np.full(len(reviews), -1, np.int32))


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


def _join(path: Path, parts: tuple[str, str], reviews: dict[tuple[str, str], np.ndarray]) -> Reviews:
    """The reviews of a half, the negative part first."""
    keys = sorted(key for key in reviews if key[0] in parts)
    for part in parts:
        if not any(key[0] == part for key in keys):
            raise DataError(f"{path}: expected reviews in {part}, found none")
    tokens = [reviews[key] for key in keys]
    positive = [part == parts[1] for part, _ in keys]
    return Reviews(np.concatenate(tokens), offsets_of(tokens), np.array(positive, np.int32))


def _fingerprint(path: Path) -> str:
    """Changes when the source does: the path, size and time of the tarball, or of every review of a folder."""
    stats = [(file, file.stat()) for file in (paths(path, _LABELLED) if path.is_dir() else [path])]
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
