"""The character model at a tiny size: what it learns and writes, resuming, errors."""

import json

import numpy as np
import pytest
from commands import check_result, error_of, rows_of, run

from experiments.command import main

pytestmark = pytest.mark.usefixtures("cache")


CHARLM = ["charlm", "--hidden-size", "12", "--batch-size", "4", "--window", "16", "--dropout", "0",
          "--recurrent-dropout", "0"]  # fmt: skip


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A text of three words at random: log2(3) bits for four characters, and within a word none."""
    path = tmp_path_factory.mktemp("data") / "words.txt"
    path.write_text("".join(np.random.default_rng(0).choice(["abc ", "mno ", "xyz "], 800)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def writer(tmp_path_factory, words):
    """A finished run of charlm: its folder and result.json."""
    options = ["--epochs", "6", "--learning-rate", "0.05", "--sample-length", "80"]
    return run(tmp_path_factory.mktemp("charlm"), *CHARLM, "--text", str(words), *options)


def test_charlm(writer):
    folder, result = writer
    entropy = np.log2(3) / 4
    metrics = {"bits_per_character", "bits_per_character_ngram", "bits_per_character_xz"}
    check_result(folder, result, "charlm", metrics, ["learning.png", "characters.png"])
    assert result["metrics"]["bits_per_character"] == pytest.approx(entropy, abs=0.05)
    assert result["metrics"]["bits_per_character_ngram"] == pytest.approx(entropy, abs=0.05)
    assert {"epoch", "loss", "bits", "validation_bits"} == rows_of(folder)[0].keys()
    sample = (folder / "sample.txt").read_text(encoding="utf-8")
    assert len(sample) == 80
    assert set(sample.split()[:-1]) == {"abc", "mno", "xyz"}


def written(capsys, folder, *arguments):
    capsys.readouterr()
    assert main(["charlm", "--from", str(folder), *arguments]) == 0
    return capsys.readouterr().out.removesuffix("\n")


def test_charlm_writes_on(writer, capsys):
    folder, _ = writer
    greedy = ["--temperature", "0"]
    assert written(capsys, folder, "--prompt", "abc m", *greedy, "--stop", " ") == "abc mno "
    assert written(capsys, folder, "--prompt", "x", *greedy, "--sample-length", "2") == "xyz"
    assert written(capsys, folder, "--prompt", "a", "--top-k", "1", "--stop", "c") == "abc"
    hot = ["--temperature", "20", "--sample-length", "40"]
    assert written(capsys, folder, "--prompt", "m", "--nucleus", "0.01", *hot, "--stop", "o") == "mno"
    texts = {written(capsys, folder, *hot, "--seed", seed) for seed in ("1", "1", "2")}
    assert [len(text) for text in texts] == [40, 40]


def test_charlm_resumes_to_the_same_end(tmp_path, words):
    settings = [*CHARLM, "--text", str(words), "--epochs", "3", "--sample-length", "20"]
    folder, expected = run(tmp_path, *settings)
    metrics, sample = (folder / "metrics.jsonl").read_bytes(), (folder / "sample.txt").read_bytes()
    (folder / "checkpoints" / "3.safetensors").unlink()
    assert main(["charlm", "--resume", str(folder), "--sample-length", "20"]) == 0
    assert json.loads((folder / "result.json").read_text())["metrics"] == expected["metrics"]
    assert (folder / "metrics.jsonl").read_bytes() == metrics
    assert (folder / "sample.txt").read_bytes() == sample


def test_charlm_wants_the_same_text_when_it_resumes(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be. " * 30, encoding="utf-8")
    folder, _ = run(tmp_path, *CHARLM, "--text", str(text), "--epochs", "1", "--sample-length", "5")
    text.write_text("to be or not to be! " * 30, encoding="utf-8")
    assert f"{text}: not what {folder} has learnt from" in error_of(capsys, "charlm", "--resume", str(folder))


def test_charlm_names_what_is_wrong_with_a_text(tmp_path, capsys):
    def error_with(content):
        text = tmp_path / "text.txt"
        text.write_bytes(content)
        line = error_of(capsys, *CHARLM, "--text", str(text), "--runs", str(tmp_path / "runs"))
        return line.replace(str(text), "FILE")

    assert error_of(capsys, "charlm") == "error: --text: expected a text file to learn from, got none"
    missing = error_of(capsys, "charlm", "--text", str(tmp_path / "no.txt"))
    assert missing == f"error: --text: expected a text file, {tmp_path / 'no.txt'}: No such file or directory"
    assert "Is a directory" in error_of(capsys, "charlm", "--text", str(tmp_path))
    assert error_with(b"caf\xe9") == "error: --text: expected UTF-8 text, FILE is not at byte 3"
    short = "error: --text: expected at least 161 characters, a window of 16 for each part, FILE has "
    assert error_with(b"") == short + "0"
    assert error_with(b"a" * 150) == short + "150"
    assert not (tmp_path / "runs").exists()


def test_charlm_names_bad_settings_before_it_trains(tmp_path, words, writer, capsys):
    def error_with(*arguments):
        return error_of(capsys, "charlm", "--text", str(words), "--runs", str(tmp_path / "runs"), *arguments)

    assert error_with("--temperature", "-1") == "error: --temperature: expected at least 0, got -1.0"
    assert error_with("--top-k", "0") == "error: --top-k: expected at least 1, got 0"
    assert error_with("--nucleus", "2") == "error: --nucleus: expected a probability above 0 and at most 1, got 2.0"
    assert error_with("--test-fraction", "0.5") == (
        "error: --test-fraction: expected a share between 0 and 0.5, got 0.5"
    )
    line = error_with("--recurrent-dropout", "1")
    assert line == "error: --recurrent-dropout: expected 0 or more and less than 1, got 1.0"
    assert error_with("--stop", "ab") == "error: --stop: expected one character, got 'ab'"
    assert error_with("--prompt", "abacus") == (
        "error: --prompt: expected characters of the text that was learnt from, got 's'"
    )
    assert not list(tmp_path.glob("runs/*/*"))
    assert "got '!'" in error_of(capsys, "charlm", "--from", str(writer[0]), "--prompt", "abc!")
    line = error_of(capsys, "charlm", "--from", str(writer[0]), "--seed", "3", "--epochs", "3")
    assert line.endswith("keeps the settings it was started with; give no other settings")
