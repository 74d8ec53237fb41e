"""The Declaration, Genesis and the sample: their values, and what is said of those that are not there."""

import re
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from data_files import LOCAL_DATA, flip, needs_local, one_line

from jaxlstm.data import genesis, udhr
from jaxlstm.data.genesis import load_genesis
from jaxlstm.data.sample import load_sample
from jaxlstm.data.udhr import load_udhr
from jaxlstm.errors import DataError

pytestmark = pytest.mark.usefixtures("cache")


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
            with pytest.raises(DataError, match="language: expected one of 5 such as eng, fra, got"):
                load_udhr(language, udhr_zip)

    def test_an_empty_text(self, udhr_zip):
        with pytest.raises(DataError, match=rf"{re.escape(str(udhr_zip))}: the text of 'nku' is empty; choose another"):
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
        with pytest.raises(DataError, match="expected a text file for each language in it, found none"):
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
        with pytest.raises(DataError, match="expected a text file for each language in it, found none"):
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
