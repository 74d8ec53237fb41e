"""Where a data set comes from: a local copy of the user's, or the publisher's copy, downloaded once.

Downloads go through pooch: into its cache folder, checked by hash, under their final name only when
complete and right. What a cut connection leaves is a `.part` file, which the next call continues. Of several
processes that want a file one downloads it, and the others wait.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from jaxlstm.errors import DataError

TIMEOUT = (5, 60)  # seconds to connect, so that an offline machine knows soon, and between two packets


class UnreachableError(DataError):
    """No local copy was named, and the publisher's could not be downloaded."""


@dataclass(frozen=True)
class Source:
    """A data set: one file at its publisher's."""

    name: str  # the publisher's file name
    url: str
    hash: str  # of the publisher's file, "algorithm:digest"
    local_names: tuple[str, ...] = ()  # what else a local copy may be called: other editions, the unpacked folder

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a local copy may have, the publisher's first."""
        return (self.name, *self.local_names)


def locate(source: Source, data_dir: Path | None = None) -> Path:
    """The file of a data set, or its unpacked folder.

    A local copy is taken as it is, so that other editions are welcome; a download is checked by hash.

    Args:
      source: the data set.
      data_dir: a folder that holds a copy, or the copy itself (file or unpacked folder). By default
        the environment variable JAXLSTM_DATA; where that is not set, the publisher's copy is
        downloaded, once.

    Raises:
      DataError: there is no copy at the place named, or the download is not what it should be.
      UnreachableError: the download failed.
    """
    if data_dir is not None:
        return _local_copy(source, Path(data_dir), "--data-dir")
    if folder := os.environ.get("JAXLSTM_DATA"):
        return _local_copy(source, Path(folder), "JAXLSTM_DATA")
    return _download(source)


def cache_dir() -> Path:
    """The folder of downloads and tokens: JAXLSTM_CACHE, or the cache folder of the operating system."""
    return Path(os.environ.get("JAXLSTM_CACHE") or pooch.os_cache("jaxlstm")).expanduser()


def _local_copy(source: Source, place: Path, given_by: str) -> Path:
    place = place.expanduser()
    if place.is_file() or (place.is_dir() and {place.name, place.resolve().name} & set(source.names)):
        return place
    for name in source.names:
        if (place / name).exists():
            return place / name
    problem = f"holds none of {', '.join(source.names)}" if place.is_dir() else "is not there"
    raise DataError(f"{given_by}: {place} {problem}; {source.name} is published at {source.url}")


def _download(source: Source) -> Path:
    part = cache_dir() / f"{source.name}.part"

    def downloader(url: str, output_file: str, _: pooch.Pooch | None) -> None:
        _download_rest(url, part)
        part.replace(output_file)  # pooch checks the hash next, and deletes the file if it is wrong

    try:
        # What is there already needs no lock, so that a cache that can only be read serves as well.
        with nullcontext() if (cache_dir() / source.name).exists() else _one_at_a_time(source):
            path = pooch.retrieve(source.url, source.hash, fname=source.name, path=cache_dir(), downloader=downloader)
    except requests.RequestException as error:
        rest = f", the next call continues after {part.stat().st_size:,} bytes" if part.exists() else ""
        raise UnreachableError(
            f"{source.name}: cannot be downloaded from {source.url} ({_reason(error)}{rest}); put "
            f"{' or '.join(source.names)} in a folder and name the folder with --data-dir or JAXLSTM_DATA"
        ) from error
    except ValueError as error:  # pooch: the hash, expected and actual
        raise DataError(f"{source.url}: {error}") from error
    except OSError as error:
        raise UnreachableError(f"{cache_dir()}: cannot hold {source.name} ({error}); set JAXLSTM_CACHE") from error
    return Path(path)


@contextmanager
def _one_at_a_time(source: Source) -> Iterator[None]:
    """No other process is within at the same time, for this file."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache_dir() / f"{source.name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        Console(stderr=True).print(f"{source.name}: another process is downloading it; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download_rest(url: str, part: Path) -> None:
    """Appends to `part` what it lacks of the file at `url`."""
    try:
        with part.open("ab") as file, _progress_bar(part.stem, start := file.tell()) as bar:

            def start_anew(response: requests.Response, **_) -> None:
                if response.status_code == requests.codes.ok:  # the whole file, not the range asked for
                    file.truncate(0)
                    bar.start = 0

            # Without "identity" a server may compress, and then its byte ranges are not those of the file.
            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
            hooks = {"response": start_anew}
            download = pooch.HTTPDownloader(bar, 2**16, timeout=TIMEOUT, headers=headers, hooks=hooks)
            download(url, file, None)
    except requests.HTTPError as error:
        # Of a part that is complete already, no range is left to ask for.
        if error.response is None or error.response.status_code != requests.codes.requested_range_not_satisfiable:
            raise
    finally:
        if part.exists() and not part.stat().st_size:
            part.unlink()


class _Bar:
    """What pooch expects of a progress bar, drawn by rich."""

    total = 0  # set by pooch: the bytes that this request brings

    def __init__(self, progress: Progress, name: str, start: int):
        self.start = start  # bytes that an earlier call brought
        self._progress = progress
        self._task = progress.add_task(name, total=None, visible=False)
        self._received = 0

    def update(self, size: int) -> None:
        self._received += size
        total = self.start + self.total if self.total else None
        self._progress.update(self._task, total=total, completed=self.start + self._received, visible=True)

    def reset(self) -> None:
        self._received = 0

    def close(self) -> None:
        """Nothing to do: rich closes the bar."""


@contextmanager
def _progress_bar(name: str, start: int) -> Iterator[_Bar]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        yield _Bar(progress, name, start)


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    if isinstance(error, requests.Timeout):
        return "no answer"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__
