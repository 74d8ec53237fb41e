"""The data sets: found, downloaded, read, encoded; and what happens when they are damaged or missing."""

import gzip
import hashlib
import io
import lzma
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from jaxlstm.data import genesis, imdb, udhr
from jaxlstm.data.fetch import Source, UnreachableError, locate
from jaxlstm.data.genesis import load_genesis
from jaxlstm.data.imdb import Reviews, decode, encode, encode_texts, load_imdb, load_unlabelled, tokenise
from jaxlstm.data.sample import load_sample
from jaxlstm.data.text import START, UNKNOWN, Alphabet, alphabet_of, joined, split_words, streams, windows
from jaxlstm.data.udhr import load_udhr
from jaxlstm.errors import DataError, UserError

LOCAL_DATA = os.environ.get("JAXLSTM_DATA")


def needs_local(source: Source):
    present = LOCAL_DATA is not None and any((Path(LOCAL_DATA) / name).exists() for name in source.names)
    return pytest.mark.skipif(not present, reason=f"JAXLSTM_DATA names no folder that holds {source.name}")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for each test, no local data, and no proxy before the server on this machine."""
    monkeypatch.setenv("JAXLSTM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("JAXLSTM_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def never_download(monkeypatch):
    def fail(*_, **__):
        pytest.fail("a download was started")

    monkeypatch.setattr("jaxlstm.data.fetch.pooch.retrieve", fail)


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


# ---- fetch: local copies


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


# ---- fetch: downloads, from a server on this machine


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


class TestDownloads:
    def test_once_then_from_the_cache(self, publisher, cache):
        path = locate(publisher.source())
        assert path == cache / "set.bin"
        assert path.read_bytes() == CONTENT
        assert locate(publisher.source()) == path
        assert publisher.ranges == [None]
        assert [file.name for file in cache.iterdir()] == ["set.bin"]

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
        (part,) = cache.iterdir()
        assert part.name == "set.bin.part"
        size = part.stat().st_size
        assert 100_000 < size <= 200_000
        assert f"{size:,} bytes" in str(error.value)

        publisher.cut_after = None
        assert locate(publisher.source()).read_bytes() == CONTENT
        assert publisher.ranges == [None, f"bytes={size}-"]
        assert [file.name for file in cache.iterdir()] == ["set.bin"]
        assert "300.0/300.0 kB" in capsys.readouterr().err

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
        assert list(cache.iterdir()) == []

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
        assert list(cache.iterdir()) == []

    def test_offline(self, publisher, cache):
        publisher.server.server_close()  # nobody listens at this port now
        source = Source("set.bin", publisher.url, "sha256:" + "0" * 64, ("set",))
        with pytest.raises(UnreachableError) as error:
            locate(source)
        assert one_line(error) == (
            f"set.bin: cannot be downloaded from {publisher.url} (no connection); "
            "put set.bin or set in a folder and name the folder with --data-dir or JAXLSTM_DATA"
        )
        assert list(cache.iterdir()) == []

    def test_a_cache_that_cannot_be_written(self, publisher, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("JAXLSTM_CACHE", str(tmp_path / "file"))
        with pytest.raises(DataError, match=r"file: cannot hold set\.bin \(.*\); set JAXLSTM_CACHE"):
            locate(publisher.source())


# ---- imdb: reading

REVIEWS = {
    "train/neg/0_1.txt": "Bad, bad film.<br /><br />The end!",
    "train/neg/10_2.txt": "A film too long",
    "train/neg/9_2.txt": "Don't!",
    "train/pos/0_9.txt": "The film; the best film.",
    "test/neg/0_3.txt": "The worst",
    "test/pos/0_10.txt": "Best film \N{EN DASH} caf\N{LATIN SMALL LETTER E WITH ACUTE}",
}
OTHERS = {"train/unsup/0_0.txt": "film " * 100, "README": "film " * 100, "train/neg/._0_1.txt": "film " * 100}
# Counts in train: film 4, the 3, bad 2, then one each by the alphabet.
VOCABULARY = ["film", "the", "bad", "a", "best", "don't", "end", "long", "too"]


def tarball(path: Path, files: dict[str, str | bytes], extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            content = text if isinstance(text, bytes) else text.encode("utf-8")
            member = tarfile.TarInfo(f"aclImdb/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    compress = lzma.compress if path.suffix == ".xz" else gzip.compress
    path.write_bytes(compress(buffer.getvalue()))
    return path


def unpacked(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "aclImdb" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "aclImdb"


@pytest.fixture
def tar_gz(tmp_path):
    return tarball(tmp_path / "aclImdb_v1.tar.gz", REVIEWS | OTHERS)


def words_of(reviews: Reviews, vocabulary: list[str]) -> list[list[str]]:
    named = [*vocabulary, "?"]  # rank -1 is the last
    return [[named[rank] for rank in part] for part in np.split(reviews.words, reviews.offsets[1:-1])]


def assert_same(a: imdb.Imdb, b: imdb.Imdb) -> None:
    assert a.vocabulary == b.vocabulary
    for ours, theirs in zip(a[:2], b[:2], strict=True):
        for x, y in zip(ours, theirs, strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


class TestReadingReviews:
    def test_values(self, tar_gz):
        data = load_imdb(tar_gz)
        assert data.vocabulary == VOCABULARY
        assert words_of(data.train, VOCABULARY) == [
            ["bad", "bad", "film", "the", "end"],
            ["a", "film", "too", "long"],
            ["don't"],
            ["the", "film", "the", "best", "film"],
        ]
        assert words_of(data.test, VOCABULARY) == [["the", "?"], ["best", "film", "?"]]
        np.testing.assert_array_equal(data.train.labels, [0, 0, 0, 1])
        np.testing.assert_array_equal(data.test.labels, [0, 1])
        np.testing.assert_array_equal(data.train.offsets, [0, 5, 9, 10, 15])
        assert (data.train.words.dtype, data.train.offsets.dtype, data.train.labels.dtype) == (
            np.int32,
            np.int64,
            np.int32,
        )

    def test_every_source_gives_the_same_order(self, tmp_path, tar_gz):
        first = load_imdb(tar_gz)
        turned = dict(reversed(list((REVIEWS | OTHERS).items())))
        assert_same(load_imdb(tarball(tmp_path / "aclImdb_v1.tar.xz", turned)), first)
        assert_same(load_imdb(unpacked(tmp_path, REVIEWS | OTHERS)), first)

    def test_nothing_is_unpacked(self, tmp_path, tar_gz, cache):
        before = set(tmp_path.iterdir())
        load_imdb(tar_gz)
        assert set(tmp_path.iterdir()) - before == {cache}

    @pytest.mark.parametrize("suffix", ["gz", "xz"])
    @pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.9, -1], ids=lambda keep: f"keep {keep}")
    def test_truncated(self, tmp_path, cache, suffix, keep):
        noise = {f"train/neg/{n}_1.txt": np.random.default_rng(n).bytes(5000).hex() for n in range(20)}
        path = tarball(tmp_path / f"aclImdb_v1.tar.{suffix}", REVIEWS | noise)
        whole = path.read_bytes()
        path.write_bytes(whole[: -1 if keep < 0 else int(keep * len(whole))])
        with pytest.raises(DataError, match=r"damaged or cut short|neither") as error:
            load_imdb(path)
        assert str(path) in one_line(error)
        assert not cache.exists()

    @pytest.mark.parametrize("suffix", ["gz", "xz"])
    def test_a_damaged_byte(self, tmp_path, suffix):
        path = tarball(tmp_path / f"aclImdb_v1.tar.{suffix}", REVIEWS)
        whole = path.read_bytes()
        for position in np.linspace(12, len(whole) - 1, 40).astype(int):
            path.write_bytes(flip(whole, position))
            with pytest.raises(DataError, match=r"damaged|refused|expected") as error:
                load_imdb(path)
            assert str(path) in one_line(error)

    def test_damage_in_the_middle_of_a_review(self, tmp_path):
        path = tarball(tmp_path / "aclImdb_v1.tar.gz", {"train/pos/1_8.txt": "word " * 100_000} | REVIEWS)
        compressor = zlib.compressobj(wbits=31)
        half = compressor.compress(gzip.decompress(path.read_bytes())[:300_000]) + compressor.flush(zlib.Z_FULL_FLUSH)
        path.write_bytes(half + b"\x07" * 100)  # there is no deflate block of this type
        with pytest.raises(DataError, match=r"damaged or cut short \(.*invalid block type"):
            load_imdb(path)

    def test_unlabelled_reviews(self, tmp_path, tar_gz):
        more = REVIEWS | OTHERS | {"train/unsup/1_0.txt": "A caf\N{LATIN SMALL LETTER E WITH ACUTE} film"}
        path = tarball(tmp_path / "more.tar.gz", more)
        vocabulary = load_imdb(path).vocabulary
        for source in (path, unpacked(tmp_path, more)):
            reviews = load_unlabelled(vocabulary, source)
            assert words_of(reviews, VOCABULARY) == [["film"] * 100, ["a", "?", "film"]]
            np.testing.assert_array_equal(reviews.labels, [-1, -1])
        with pytest.raises(DataError, match="expected reviews in train/unsup, found none"):
            load_unlabelled(vocabulary, tarball(tmp_path / "less.tar.gz", REVIEWS))

    def test_not_an_archive(self, tmp_path):
        (tmp_path / "aclImdb_v1.tar.gz").write_text("<html>not found</html>")
        with pytest.raises(DataError, match=r"expected a \.tar\.gz or \.tar\.xz file"):
            load_imdb(tmp_path)

    def test_an_archive_of_something_else(self, tmp_path):
        with pytest.raises(DataError, match="expected reviews in train/neg, found none"):
            load_imdb(tarball(tmp_path / "other.tar.gz", {"README": "hello"}))

    def test_a_folder_with_a_part_missing(self, tmp_path):
        folder = unpacked(tmp_path, {name: text for name, text in REVIEWS.items() if not name.startswith("test/pos")})
        with pytest.raises(DataError, match="aclImdb: expected reviews in test/pos, found none"):
            load_imdb(folder)

    def test_a_review_that_is_no_text(self, tmp_path):
        path = tarball(tmp_path / "aclImdb_v1.tar.gz", REVIEWS | {"train/neg/7_1.txt": b"\xff\xfe"})
        with pytest.raises(DataError, match=r"train/neg/7_1\.txt is not UTF-8"):
            load_imdb(path)

    @pytest.mark.parametrize(
        "name", ["/etc/evil", "../evil", "aclImdb/../../evil", "aclImdb/train/neg/../../../../1_1.txt"]
    )
    def test_a_member_that_points_outside(self, tmp_path, cache, name):
        path = tarball(tmp_path / "aclImdb_v1.tar.gz", REVIEWS, (tarfile.TarInfo(name),))
        with pytest.raises(DataError, match=r"refused.*points outside of its folder") as error:
            load_imdb(path)
        assert repr(name) in one_line(error)
        assert not cache.exists()

    @pytest.mark.parametrize(
        "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE], ids=["soft", "hard", "device"]
    )
    def test_a_link(self, tmp_path, kind):
        link = tarfile.TarInfo("aclImdb/train/neg/5_1.txt")
        link.type, link.linkname = kind, "/etc/passwd"
        path = tarball(tmp_path / "aclImdb_v1.tar.gz", REVIEWS, (link,))
        with pytest.raises(DataError, match=r"refused, its member 'aclImdb/train/neg/5_1\.txt' is a link"):
            load_imdb(path)


class TestTokenCache:
    @pytest.fixture
    def readings(self, monkeypatch):
        """How many times the source was read, as a list that grows."""
        readings = []
        index = imdb._index
        monkeypatch.setattr(imdb, "_index", lambda *args: readings.append(1) or index(*args))
        return readings

    def test_the_second_load_reads_the_cache(self, tar_gz, cache, readings):
        assert_same(load_imdb(tar_gz), load_imdb(tar_gz))
        assert len(readings) == 1
        assert [file.suffix for file in cache.iterdir()] == [".npz"]

    def test_a_changed_source_is_read_again(self, tmp_path, tar_gz, cache, readings):
        load_imdb(tar_gz)
        tarball(tar_gz, REVIEWS | {"train/neg/3_1.txt": "bad " * 9})
        assert load_imdb(tar_gz).vocabulary[0] == "bad"
        folder = unpacked(tmp_path, REVIEWS)
        load_imdb(folder)
        load_imdb(folder)
        assert len(readings) == 3
        (folder / "test/pos/0_10.txt").write_text("film film")
        assert words_of(load_imdb(folder).test, VOCABULARY)[1] == ["film", "film"]
        assert len(list(cache.iterdir())) == 2  # one for each path, however often it changes

    def test_a_damaged_cache_is_made_anew(self, tar_gz, cache, readings):
        fresh = load_imdb(tar_gz)
        (path,) = cache.iterdir()
        whole = path.read_bytes()
        damages = [whole[:keep] for keep in (0, 3, 100, len(whole) // 2, len(whole) - 1)]
        damages += [flip(whole, position) for position in np.linspace(0, len(whole) - 1, 200).astype(int)]
        for damaged in damages:
            path.write_bytes(damaged)
            assert_same(load_imdb(tar_gz), fresh)
        assert len(readings) > 100  # a flip in a date or another idle field does no harm

    def test_a_pickle_in_the_cache_is_never_run(self, tmp_path, tar_gz, cache):
        class Evil:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "ran",))

        fresh = load_imdb(tar_gz)
        (path,) = cache.iterdir()
        with np.load(path) as arrays:
            contents = dict(arrays)
        contents["train_words"] = np.array([Evil()], dtype=object)
        np.savez(path, **contents)
        assert_same(load_imdb(tar_gz), fresh)
        assert not (tmp_path / "ran").exists()

    def test_a_failed_write_leaves_nothing(self, tar_gz, cache, monkeypatch):
        def full(file, **_):
            file.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez", full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); set JAXLSTM_CACHE"):
            load_imdb(tar_gz)
        assert list(cache.iterdir()) == []


# ---- imdb: encoding


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Great film!<br /><br>It's GOOD<BR/>really", ["great", "film", "it's", "good", "really"]),
        ("'quoted' rock'n'roll the boys' dogs'", ["quoted", "rock'n'roll", "the", "boys", "dogs"]),
        (
            "don\N{RIGHT SINGLE QUOTATION MARK}t well-made 10/10 (2,000)",
            ["don't", "well", "made", "10", "10", "2", "000"],
        ),
        (
            "caf\N{LATIN SMALL LETTER E WITH ACUTE}\x96ol\N{LATIN SMALL LETTER E WITH ACUTE} a_b",
            ["caf\xe9", "ol\xe9", "a", "b"],
        ),
        ("a < b > c", ["a", "b", "c"]),
        ("", []),
        (" ... \n\t <br />", []),
    ],
)
def test_tokenise(text, words):
    assert tokenise(text) == words


def reviews_of(*reviews: list[int]) -> Reviews:
    words = np.array([rank for review in reviews for rank in review], np.int32)
    return Reviews(words, np.cumsum([0, *map(len, reviews)]), np.zeros(len(reviews), np.int32))


def test_encode_by_hand():
    reviews = reviews_of([0, 1, 2], [], [0, 9, -1, 1], [5, 6, 7, 8, 4])
    ids = encode(reviews, num_words=10, max_length=5)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, [[0, 1, 3, 4, 5], [0, 0, 0, 0, 1], [1, 3, 2, 2, 4], [8, 9, 2, 2, 7]])
    np.testing.assert_array_equal(encode(reviews, 4, 1), [[2], [1], [2], [2]])


def test_encode_against_a_plain_loop():
    rng = np.random.default_rng(1)
    reviews = [rng.integers(-1, 50, rng.integers(0, 30)).tolist() for _ in range(200)]
    for num_words, max_length in [(20, 10), (1000, 12), (4, 40)]:
        expected = []
        for review in reviews:
            ids = [1, *(rank + 3 if 0 <= rank < num_words - 3 else 2 for rank in review)][-max_length:]
            expected.append([0] * (max_length - len(ids)) + ids)
        np.testing.assert_array_equal(encode(reviews_of(*reviews), num_words, max_length), expected)


def test_encode_of_reviews_without_words():
    np.testing.assert_array_equal(encode(reviews_of([], []), 10, 2), [[0, 1], [0, 1]])
    assert encode(reviews_of(), 10, 2).shape == (0, 2)


def test_encode_leaves_the_reviews_alone():
    reviews = reviews_of([0, 40])
    encode(reviews, 10, 3)
    np.testing.assert_array_equal(reviews.words, [0, 40])


@pytest.mark.parametrize(("num_words", "max_length", "name"), [(3, 5, "num_words"), (10, 0, "max_length")])
def test_encode_refuses(num_words, max_length, name):
    with pytest.raises(UserError, match=f"{name}: expected at least"):
        encode(reviews_of([1]), num_words, max_length)
    with pytest.raises(UserError, match=f"{name}: expected at least"):
        encode_texts(["film"], VOCABULARY, num_words, max_length)


def test_new_texts_are_encoded_as_the_training_texts(tar_gz):
    data = load_imdb(tar_gz)
    texts = [REVIEWS[name] for name in sorted(REVIEWS) if name.startswith("train")]
    for num_words in (4, 8, 100):
        np.testing.assert_array_equal(encode_texts(texts, VOCABULARY, num_words, 6), encode(data.train, num_words, 6))
    np.testing.assert_array_equal(encode_texts(["unheard of", ""], VOCABULARY, 100, 4), [[0, 1, 2, 2], [0, 0, 0, 1]])
    assert encode_texts([], VOCABULARY, 100, 4).shape == (0, 4)


def test_decode():
    ids = encode_texts(["The best film, unheard of!"], VOCABULARY, 100, 8)
    assert decode(ids[0], VOCABULARY) == "the best film ? ?"


@needs_local(imdb.SOURCE)
def test_the_real_reviews(monkeypatch):
    data = load_imdb(Path(LOCAL_DATA))
    sizes = len(data.train.labels), len(data.test.labels)
    assert all(24_990 <= size <= 25_000 for size in sizes)
    assert all(0.499 < part.labels.mean() < 0.501 for part in (data.train, data.test))
    # The ten most frequent words of the Keras set, with which this one shares source and rules.
    assert data.vocabulary[:10] == ["the", "and", "a", "of", "to", "is", "in", "it", "i", "this"]
    assert len(set(data.vocabulary)) == len(data.vocabulary)
    assert data.train.words.min() == 0  # no training word is outside of the vocabulary
    counts = np.bincount(data.train.words)
    assert (np.diff(counts) <= 0).all()
    assert counts[-1] == 1
    ids = encode(data.train, 2000, 80)
    assert ids.shape == (sizes[0], 80)
    assert ids.max() == 1999
    assert ids.min() == 0
    monkeypatch.setattr(imdb, "_index", None)  # the second time nothing is read
    assert_same(load_imdb(Path(LOCAL_DATA)), data)


# ---- udhr

DECLARATION = "Title of it\n      Preamble\n\n      All are born  free.\n   "


@pytest.fixture
def udhr_zip(tmp_path):
    path = tmp_path / "udhr2.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("udhr2/eng.txt", DECLARATION)
        archive.writestr("udhr2/fra.txt", "D\N{LATIN SMALL LETTER E WITH ACUTE}claration\n" + "libert\xe9 " * 50)
        archive.writestr("udhr2/chr.txt", "[??]\n      [??]\n      text\n")
        archive.writestr("udhr2/nku.txt", " \n ")
        archive.writestr("udhr2/bad.txt", b"\xe9\xe8")
    return path


class TestDeclaration:
    def test_values(self, udhr_zip):
        assert load_udhr("eng", udhr_zip) == "Title of it\nPreamble\nAll are born  free."
        assert load_udhr("fra", udhr_zip).startswith("D\xe9claration\nlibert\xe9 libert\xe9")
        assert load_udhr("chr", udhr_zip) == "text"

    def test_the_unpacked_folder(self, tmp_path, udhr_zip):
        with zipfile.ZipFile(udhr_zip) as archive:
            archive.extractall(tmp_path / "data")
        for language in ("eng", "fra"):
            assert load_udhr(language, tmp_path / "data") == load_udhr(language, udhr_zip)

    def test_an_unknown_language_names_close_ones(self, udhr_zip):
        with pytest.raises(DataError, match=r"expected one of 5 such as eng, got 'english'") as error:
            load_udhr("english", udhr_zip)
        one_line(error)
        for language in ("../udhr2/eng", "", "zzz"):
            with pytest.raises(DataError, match="language: expected one of 5 such as eng, fra, deu, spa, got"):
                load_udhr(language, udhr_zip)

    def test_an_empty_text(self, udhr_zip):
        with pytest.raises(DataError, match="the text of language 'nku' is empty"):
            load_udhr("nku", udhr_zip)

    def test_a_text_that_is_not_utf_8(self, udhr_zip):
        with pytest.raises(DataError, match=r"damaged or not udhr2\.zip"):
            load_udhr("bad", udhr_zip)

    def test_truncated(self, udhr_zip):
        whole = udhr_zip.read_bytes()
        for keep in (0, 10, len(whole) // 2, len(whole) - 1):
            udhr_zip.write_bytes(whole[:keep])
            with pytest.raises(DataError, match=r"damaged or not udhr2\.zip") as error:
                load_udhr("fra", udhr_zip)
            one_line(error)

    def test_a_damaged_byte(self, udhr_zip):
        whole = udhr_zip.read_bytes()
        start = whole.index(b"udhr2/fra.txt") + len("udhr2/fra.txt")  # of the compressed text
        for position in range(start, start + 20):
            udhr_zip.write_bytes(flip(whole, position))
            with pytest.raises(DataError, match=r"damaged or not udhr2\.zip"):
                load_udhr("fra", udhr_zip)

    def test_another_zip(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr("picture.png", b"")
        with pytest.raises(DataError, match=r"expected text files such as eng\.txt in it, found none"):
            load_udhr("eng", tmp_path / "other.zip")

    @needs_local(udhr.SOURCE)
    def test_the_real_declaration(self):
        english, french = (load_udhr(language, Path(LOCAL_DATA)) for language in ("eng", "fra"))
        assert english.startswith("Universal Declaration of Human Rights\nPreamble\nWhereas recognition")
        assert french.startswith("D\xe9claration universelle des droits de l\N{RIGHT SINGLE QUOTATION MARK}homme\n")
        assert english.endswith("rights and freedoms set forth herein.")
        assert 10_000 < len(english) < len(french) < 13_000
        with pytest.raises(DataError, match="'nku' is empty"):
            load_udhr("nku", Path(LOCAL_DATA))


# ---- genesis


@pytest.fixture
def genesis_zip(tmp_path):
    path = tmp_path / "genesis.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("genesis/README", "what this is")
        archive.writestr("genesis/english-web.txt", "In the beginning")
        archive.writestr("genesis/french.txt", "Dieu cr\xe9a".encode("latin-1"))
        archive.writestr("genesis/portuguese.txt", "No princ\xedpio".encode())
    return path


class TestGenesis:
    def test_values_in_either_encoding(self, genesis_zip, tmp_path):
        with zipfile.ZipFile(genesis_zip) as archive:
            archive.extractall(tmp_path / "unpacked")
        for place in (genesis_zip, tmp_path / "unpacked" / "genesis"):
            assert load_genesis("english-web", place) == "In the beginning"
            assert load_genesis("french", place) == "Dieu cr\xe9a"
            assert load_genesis("portuguese", place) == "No princ\xedpio"

    def test_errors(self, genesis_zip, tmp_path):
        with pytest.raises(DataError, match="expected one of english-web, french, portuguese, got 'README'") as error:
            load_genesis("README", genesis_zip)
        one_line(error)
        genesis_zip.write_bytes(genesis_zip.read_bytes()[:-30])
        with pytest.raises(DataError, match=r"damaged or not genesis\.zip"):
            load_genesis("french", genesis_zip)
        (tmp_path / "genesis").mkdir()
        with pytest.raises(DataError, match=r"expected text files such as french\.txt in it, found none"):
            load_genesis("french", tmp_path / "genesis")

    @needs_local(genesis.SOURCE)
    def test_the_real_book(self):
        english, french = (load_genesis(name, Path(LOCAL_DATA)) for name in ("english-web", "french"))
        assert english.startswith("In the beginning God created the heavens and the earth.")
        assert french.startswith("Au commencement, Dieu cr\xe9a les cieux et la terre.")
        assert 185_000 < len(english) < len(french) < 195_000


# ---- sample


@pytest.mark.parametrize(("language", "words"), [("english", {"the", "and", "of"}), ("french", {"le", "et", "de"})])
def test_the_sample_is_in_its_language(language, words):
    text = load_sample(language)
    assert 8_000 < len(text) < 20_000
    assert words < {word for word, _ in Counter(text.lower().split()).most_common(12)}


def test_a_language_without_sample():
    with pytest.raises(DataError, match="expected one of english, french, got 'german'"):
        load_sample("german")


# ---- text


def test_split_words_as_the_original_does():
    text = "  ".join(f"w{n}" for n in range(37)) + "\n"
    learn, held_out = split_words(text, 0.8)
    assert learn.split() == [f"w{n}" for n in range(37 // 10 * 8)]
    assert held_out == " ".join(f"w{n}" for n in range(24, 37))
    assert learn == " ".join(learn.split())
    # A product such as 100 * 0.57, which is a little below 57, takes no word away.
    assert split_words("word " * 100, 0.57)[0] == " ".join(["word"] * 57)


@pytest.mark.parametrize("text", ["", "  \n", "one", "nine words are too few to cut in tens"])
def test_split_words_needs_words(text):
    with pytest.raises(DataError, match="text: expected enough words"):
        split_words(text, 0.8)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2, float("nan")])
def test_split_words_needs_a_fraction(fraction):
    with pytest.raises(UserError, match="fraction: expected a number between 0 and 1"):
        split_words("word " * 20, fraction)


def test_alphabet():
    alphabet = alphabet_of("cab", "bad")
    assert alphabet == Alphabet("abcd")
    assert alphabet.size == 6
    ids = alphabet.encode("dab!\N{GRINNING FACE}")
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, [5, 2, 3, UNKNOWN, UNKNOWN])
    assert alphabet.decode([START, *ids]) == "dab\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    assert alphabet.encode("").shape == (0,)
    with pytest.raises(DataError, match="text: expected at least one character"):
        alphabet_of("", "")


def test_windows():
    np.testing.assert_array_equal(windows(np.arange(5), 3), [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    np.testing.assert_array_equal(windows(np.arange(3), 3), [[0, 1, 2]])
    with pytest.raises(DataError, match="text: expected at least 3 characters, the length of a window, got 2"):
        windows(np.arange(2), 3)
    with pytest.raises(DataError, match="got 0"):
        windows(np.arange(0), 1)
    with pytest.raises(UserError, match="length: expected a window of at least 1 character, got 0"):
        windows(np.arange(5), 0)


def test_streams_by_hand():
    text = streams(np.arange(10, 21), rows=2, window=4)
    assert text.inputs.tolist() == [[[START, 10, 11, 12], [15, 16, 17, 18]], [[13, 14, 0, 0], [19, 0, 0, 0]]]
    assert text.targets.tolist() == [[[10, 11, 12, 13], [16, 17, 18, 19]], [[14, 15, 0, 0], [20, 0, 0, 0]]]
    assert text.is_first.tolist() == [True, False]


@pytest.mark.parametrize("rows", [1, 3, 8, 40])
@pytest.mark.parametrize("window", [1, 5, 100])
@pytest.mark.parametrize("length", [1, 29, 30])
def test_streams_hold_every_character_once(length, window, rows):
    ids = np.arange(100, 100 + length, dtype=np.int32)
    text = streams(ids, rows, window)
    np.testing.assert_array_equal(joined(text.targets, text), ids)
    np.testing.assert_array_equal(joined(text.inputs, text), [START, *ids[:-1]])
    assert text.mask.sum() == length
    steps, found_rows, width = text.inputs.shape
    assert width == window
    assert found_rows <= min(rows, length)
    assert text.mask.any(axis=(1, 2)).all()
    assert text.is_first.tolist() == [True] + [False] * (steps - 1)
    # A row goes on in the next window where it stopped.
    np.testing.assert_array_equal(text.inputs[1:, 0, 0], text.targets[:-1, 0, -1])


def test_streams_of_nothing_or_of_no_rows():
    with pytest.raises(DataError, match="text: expected at least one character, got none"):
        streams(np.zeros(0, np.int32), 2, 4)
    with pytest.raises(UserError, match="rows and window: expected at least 1, got 0 and 4"):
        streams(np.arange(9), 0, 4)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, jaxlstm.data; print({'pooch', 'requests', 'rich', 'sklearn', 'matplotlib'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
