"""The film reviews: read from folder and tarball, cached, damaged, encoded."""

import gzip
import io
import lzma
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from data_files import LOCAL_DATA, flip, needs_local, one_line

from jaxlstm.data import imdb
from jaxlstm.data.imdb import load_imdb, load_unlabelled
from jaxlstm.data.word_ids import Reviews, decode, encode, encode_texts, tokenise
from jaxlstm.errors import DataError, UserError

pytestmark = pytest.mark.usefixtures("cache")


# ---- reading

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
        with pytest.warns(
            UserWarning, match=r"cannot be written \(No space left on device\), so that .* JAXLSTM_CACHE"
        ):
            reviews = load_imdb(tar_gz)
        assert list(cache.iterdir()) == []
        monkeypatch.undo()
        assert_same(load_imdb(tar_gz), reviews)


# ---- encoding


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
