"""Where a data set is found: local copies, downloads, and what happens without."""

import hashlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from data_files import one_line
from filelock import FileLock

from jaxlstm.data.fetch import Source, UnreachableError, locate
from jaxlstm.errors import DataError

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def never_download(monkeypatch):
    def fail(*_, **__):
        pytest.fail("a download was started")

    monkeypatch.setattr("jaxlstm.data.fetch.pooch.retrieve", fail)


# ---- local copies


SOURCE = Source("set.tar.gz", "http://127.0.0.1:9/set.tar.gz", "sha256:" + "0" * 64, ("set.tar.xz", "set"))


@pytest.mark.usefixtures("never_download")
class TestLocalCopies:
    @pytest.mark.parametrize("name", SOURCE.names)
    def test_in_the_folder_given(self, tmp_path, name):
        (tmp_path / name).touch()
        assert locate(SOURCE, tmp_path) == tmp_path / name

    def test_the_publishers_file_comes_first(self, tmp_path):
        for name in SOURCE.names:
            (tmp_path / name).touch()
        assert locate(SOURCE, tmp_path) == tmp_path / "set.tar.gz"

    def test_the_file_itself_under_any_name(self, tmp_path):
        (tmp_path / "mine.tgz").touch()
        assert locate(SOURCE, tmp_path / "mine.tgz") == tmp_path / "mine.tgz"

    def test_a_link_to_the_unpacked_folder(self, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "set").symlink_to("elsewhere")
        assert locate(SOURCE, tmp_path / "set") == tmp_path / "set"

    def test_the_unpacked_folder_itself(self, tmp_path, monkeypatch):
        (tmp_path / "set").mkdir()
        assert locate(SOURCE, tmp_path / "set") == tmp_path / "set"
        monkeypatch.chdir(tmp_path / "set")
        assert locate(SOURCE, Path()).resolve() == (tmp_path / "set").resolve()

    def test_the_environment_names_a_folder_and_the_argument_goes_before_it(self, tmp_path, monkeypatch):
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "set.tar.xz").touch()
        monkeypatch.setenv("JAXLSTM_DATA", str(tmp_path / "a"))
        assert locate(SOURCE) == tmp_path / "a" / "set.tar.xz"
        assert locate(SOURCE, tmp_path / "b") == tmp_path / "b" / "set.tar.xz"

    def test_a_folder_without_it(self, tmp_path, monkeypatch):
        with pytest.raises(DataError) as error:
            locate(SOURCE, tmp_path)
        text = one_line(error)
        assert text.startswith(f"--data-dir: {tmp_path} holds none of set.tar.gz, set.tar.xz, set;")
        assert SOURCE.url in text
        monkeypatch.setenv("JAXLSTM_DATA", str(tmp_path / "nowhere"))
        with pytest.raises(DataError, match=r"JAXLSTM_DATA: .*nowhere is not there; set\.tar\.gz is published at"):
            locate(SOURCE)


# ---- downloads, from a server on this machine


CONTENT = np.random.default_rng(0).bytes(300_000)


class Publisher:
    """Serves CONTENT; records the ranges asked for."""

    def __init__(self):
        self.ranges: list[str | None] = []
        self.cut_after: int | None = None  # bytes of a response before the connection is cut
        self.knows_ranges = True
        self.status: int | None = None
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                publisher.ranges.append(self.headers["Range"])
                publisher.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/files/set.bin"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path == "/moved":
            request.send_response(302)
            request.send_header("Location", "/files/set.bin")
            request.end_headers()
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", request.headers["Range"] or "bytes=0-")[1])
        if self.status or (self.knows_ranges and start >= len(CONTENT)):
            request.send_error(self.status or 416)
            return
        partial = self.knows_ranges and request.headers["Range"]
        body = CONTENT[start:] if partial else CONTENT
        request.send_response(206 if partial else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.cut_after])

    def source(self, digest: str = hashlib.sha256(CONTENT).hexdigest()) -> Source:
        return Source("set.bin", self.url, f"sha256:{digest}")


@pytest.fixture
def publisher():
    publisher = Publisher()
    thread = threading.Thread(target=publisher.server.serve_forever, args=(0.01,))
    thread.start()
    yield publisher
    publisher.server.shutdown()
    publisher.server.server_close()
    thread.join()


def kept(cache: Path) -> list[str]:
    """The files in the cache, but for the lock."""
    return [file.name for file in cache.iterdir() if file.suffix != ".lock"]


class TestDownloads:
    def test_once_then_from_the_cache(self, publisher, cache):
        path = locate(publisher.source())
        assert path == cache / "set.bin"
        assert path.read_bytes() == CONTENT
        assert locate(publisher.source()) == path
        assert publisher.ranges == [None]
        assert kept(cache) == ["set.bin"]

    def test_the_bar_counts_to_the_end(self, publisher, capsys):
        locate(publisher.source())
        assert "300.0/300.0 kB" in capsys.readouterr().err

    @pytest.mark.parametrize("knows_ranges", [True, False], ids=["ranges", "no ranges"])
    def test_a_cut_connection_is_resumed(self, publisher, cache, capsys, knows_ranges):
        publisher.cut_after = 200_000
        publisher.knows_ranges = knows_ranges
        with pytest.raises(UnreachableError, match="the connection was cut, the next call continues after") as error:
            locate(publisher.source())
        one_line(error)
        assert kept(cache) == ["set.bin.part"]
        size = (cache / "set.bin.part").stat().st_size
        assert 100_000 < size <= 200_000
        assert f"{size:,} bytes" in str(error.value)

        publisher.cut_after = None
        assert locate(publisher.source()).read_bytes() == CONTENT
        assert publisher.ranges == [None, f"bytes={size}-"]
        assert kept(cache) == ["set.bin"]
        assert "300.0/300.0 kB" in capsys.readouterr().err

    def test_while_another_process_downloads_it_is_waited_for(self, publisher, cache, capsys):
        cache.mkdir()
        with ThreadPoolExecutor() as pool:
            with FileLock(cache / "set.bin.lock"):
                path = pool.submit(locate, publisher.source())
                seen = ""
                while not seen and not path.done():
                    time.sleep(0.01)
                    seen = capsys.readouterr().err
                (cache / "set.bin").write_bytes(CONTENT)
            assert path.result() == cache / "set.bin"
        assert seen == "set.bin: another process is downloading it; waiting\n"
        assert publisher.ranges == []

    def test_a_cache_that_can_only_be_read_serves(self, publisher, cache, monkeypatch):
        path = locate(publisher.source())
        monkeypatch.setattr("jaxlstm.data.fetch.FileLock", lambda _: pytest.fail("a lock was taken"))
        assert locate(publisher.source()) == path

    def test_a_redirect_keeps_the_part(self, publisher, cache):
        cache.mkdir()
        (cache / "set.bin.part").write_bytes(CONTENT[:1000])
        source = Source("set.bin", publisher.url.replace("/files/set.bin", "/moved"), publisher.source().hash)
        assert locate(source).read_bytes() == CONTENT
        assert publisher.ranges == ["bytes=1000-", "bytes=1000-"]

    def test_a_part_that_is_complete(self, publisher, cache):
        cache.mkdir()
        (cache / "set.bin.part").write_bytes(CONTENT)
        assert locate(publisher.source()).read_bytes() == CONTENT
        assert publisher.ranges == ["bytes=300000-"]

    def test_a_wrong_hash_is_named_and_nothing_is_kept(self, publisher, cache):
        with pytest.raises(DataError) as error:
            locate(publisher.source("ab" * 32))
        text = one_line(error)
        assert not isinstance(error.value, UnreachableError)
        assert publisher.url in text
        assert f"expected sha256:{'ab' * 32}" in text
        assert hashlib.sha256(CONTENT).hexdigest() in text
        assert kept(cache) == []

    def test_a_wrong_part_is_not_kept_either(self, publisher, cache):
        cache.mkdir()
        (cache / "set.bin.part").write_bytes(b"x" * 1000)
        with pytest.raises(DataError, match="does not match the known hash"):
            locate(publisher.source())
        assert locate(publisher.source()).read_bytes() == CONTENT

    def test_a_damaged_file_in_the_cache_is_fetched_again(self, publisher):
        path = locate(publisher.source())
        path.write_bytes(CONTENT[:-1])
        assert locate(publisher.source()).read_bytes() == CONTENT

    def test_a_file_that_is_gone(self, publisher, cache):
        publisher.status = 404
        with pytest.raises(UnreachableError, match=r"\(404 Not Found\)"):
            locate(publisher.source())
        assert kept(cache) == []

    def test_offline(self, publisher, cache):
        publisher.server.server_close()  # nobody listens at this port now
        source = Source("set.bin", publisher.url, "sha256:" + "0" * 64, ("set",))
        with pytest.raises(UnreachableError) as error:
            locate(source)
        assert one_line(error) == (
            f"set.bin: cannot be downloaded from {publisher.url} (no connection); "
            "put set.bin or set in a folder and name the folder with --data-dir or JAXLSTM_DATA"
        )
        assert kept(cache) == []

    def test_a_cache_that_cannot_be_written(self, publisher, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("JAXLSTM_CACHE", str(tmp_path / "file"))
        with pytest.raises(DataError, match=r"file: cannot hold set\.bin \(.*\); set JAXLSTM_CACHE"):
            locate(publisher.source())
