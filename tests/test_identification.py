"""Identifying languages: a model for each, models taught together, many languages, and what they are compared with."""

import json
import zipfile
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import check_result, error_of, rows_of, run
from sklearn.metrics import roc_auc_score

from experiments import declarations, identifiers, judges, langid, manylang, manylang_models
from experiments.bilingual import Parts
from experiments.command import main
from experiments.language_models import score_of
from experiments.ngram import window_log_p
from jaxlstm import models
from jaxlstm.data.sample import load_sample
from jaxlstm.data.text import START, Alphabet, split_words, windows
from jaxlstm.errors import UserError
from jaxlstm.runs import Run

KEY = jax.random.key(0)


def by_accents(languages):
    """An identifier for tests: a text with an accent is French, one without English, and never another language."""
    return lambda text: [float({"fr": not text.isascii(), "en": text.isascii()}.get(code, 0)) for code in languages]


@pytest.fixture
def stubs(monkeypatch):
    """Two identifiers in place of the real ones, one of them not installed."""
    stubs = {
        "lingua": (by_accents, "json"),
        "py3langid": (None, "no_such_module"),
        "fasttext_lite": (by_accents, "json"),
    }
    monkeypatch.setattr(identifiers, "IDENTIFIERS", stubs)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Stand-ins for both corpora; the third language is English, its letters moved on by one."""
    folder = tmp_path_factory.mktemp("data")
    texts = {"eng": load_sample("english"), "fra": load_sample("french")}
    texts["deu"] = "".join(chr(ord(c) + 1) if c.isalpha() else c for c in texts["eng"])
    with zipfile.ZipFile(folder / "udhr2.zip", "w") as archive:
        for code, text in texts.items():
            archive.writestr(f"udhr2/{code}.txt", text[:1500])
    with zipfile.ZipFile(folder / "genesis.zip", "w") as archive:
        archive.writestr("genesis/english-web.txt", texts["eng"][1500:4000].encode())
        archive.writestr("genesis/french.txt", texts["fra"][1500:4000].encode("latin-1", "replace"))
    return folder


def test_langid(tmp_path, data, capsys):
    settings = ["--data-dir", str(data / "udhr2.zip"), "--hidden-size", "16", "--epochs", "6", "--short-epochs", "1"]
    folder, result = run(tmp_path, "langid", *settings)
    plots = ["learning_english.png", "learning_french.png", "roc.png", "scores.png", "characters.png"]
    check_result(folder, result, "langid", {"auc", "accuracy", "auc_after_1_epochs"}, plots, {"text"})
    assert result["text"] == "the Universal Declaration of Human Rights"
    assert result["metrics"]["auc"] > 0.7
    assert {row["model"]: row["epoch"] for row in rows_of(folder)} == {
        "short-english": 1, "short-french": 1, "english": 6, "french": 6,
    }  # fmt: skip
    assert "P(character | prefix)" in capsys.readouterr().out
    for text, language in (
        ("the people of the town and their", "english"),
        ("les gens de la ville et leurs", "french"),
    ):
        out = predicted(capsys, folder, text)
        assert out.startswith(language)
        assert "unknown" not in out
    # However it is typed: the texts learnt from have another apostrophe, and neither capitals nor lines.
    typed = ("l'heure est venue", "L\N{RIGHT SINGLE QUOTATION MARK}heure\n est  venue ")
    assert len({predicted(capsys, folder, text) for text in typed}) == 1
    assert predicted(capsys, folder, "le \u65e5\u672c").endswith(
        "2 of the 5 characters that it has read are unknown to it\n"
    )


def predicted(capsys, folder, text):
    assert main(["langid", "--predict", text, "--from", str(folder)]) == 0
    return capsys.readouterr().out


@pytest.mark.usefixtures("cache")
def test_langid_offline_uses_the_sample_and_says_so(tmp_path, monkeypatch, capsys):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody listens
    _, result = run(tmp_path, "langid", "--hidden-size", "4", "--epochs", "1", "--short-epochs", "1")
    assert "bilingual sample" in capsys.readouterr().out
    assert result["text"] == "the bilingual sample"


@pytest.mark.usefixtures("cache")
def test_langid_goes_on_with_its_own_texts_alone(tmp_path, data, monkeypatch, capsys):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    settings = ["--data-dir", str(data / "udhr2.zip"), "--hidden-size", "4", "--epochs", "1", "--short-epochs", "0"]

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(langid, "train_apart", interrupt)
    assert main(["langid", *settings, "--runs", str(tmp_path)]) == 130
    capsys.readouterr()
    (folder,) = (tmp_path / "langid").iterdir()
    alphabet = (folder / "alphabet.json").read_bytes()
    line = error_of(capsys, "langid", "--resume", str(folder)).split("\n")[-1]
    assert line == f"error: --resume: the bilingual sample: not what {folder} has learnt from, or changed since"
    assert (folder / "alphabet.json").read_bytes() == alphabet


def test_a_window_longer_than_a_text_is_named_and_leaves_nothing(tmp_path, data, capsys):
    settings = ["--data-dir", str(data / "udhr2.zip"), "--runs", str(tmp_path / "runs")]
    line = error_of(capsys, "langid", *settings, "--window", "100000")
    assert line.startswith("error: --window: expected at most ")
    assert line.endswith(", the characters of the shortest text, got 100000")
    assert not (tmp_path / "runs").exists()


BEST = ["langid", "--preset", "best", "--hidden-size", "12", "--batch-size", "32", "--learning-rate", "0.02"]


def test_langid_taught_together(tmp_path, data, stubs, capsys):
    folder, result = run(tmp_path, *BEST, "--data-dir", str(data), "--epochs", "10")
    metrics = {"auc", "accuracy", "auc_ngram", "auc_with_ngram", "auc_lingua", "auc_fasttext_lite"}
    check_result(folder, result, "langid", metrics, ["learning_together.png", "roc.png", "scores.png"], {"text"})
    assert result["metrics"].keys() == metrics
    assert all(result["metrics"][name] > 0.85 for name in ("auc", "auc_ngram", "auc_with_ngram"))
    assert 0.5 < result["metrics"]["auc_lingua"] == result["metrics"]["auc_fasttext_lite"] < 0.7
    assert result["config"]["preset"] == "best"
    assert {"nats", "contrast", "accuracy"} < rows_of(folder)[-1].keys()
    assert "py3langid is not installed" in capsys.readouterr().out
    assert main(["langid", "--predict", "les gens de la ville", "--from", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("french")


def test_langid_chooses_on_words_to_learn_from(tmp_path, data):
    """The parameters kept are those of the epoch that is best on the last words to learn from."""
    settings = ["--data-dir", str(data), "--epochs", "6", "--validation-fraction", "0.3", "--no-identifiers"]
    folder, _ = run(tmp_path, *BEST, *settings, "--patience", "2")
    rows = rows_of(folder)
    assert {"validation_auc"} < rows[0].keys()
    config = langid.Config(**(json.loads((folder / "result.json").read_text())["config"]))
    text = {
        name: split_words(load_sample(name)[:1500].lower(), config.train_fraction)[0] for name in ("english", "french")
    }
    kept = [split_words(of_language, 0.7)[1] for of_language in text.values()]
    alphabet = Alphabet(json.loads((folder / "alphabet.json").read_text()))
    like = {name: models.init_language_model(KEY, alphabet.size, 12) for name in ("english", "french")}
    params = Run.open(folder, "langid", langid.Config).load_parameters(like)
    ids = [windows(alphabet.encode(part), 5) for part in kept]
    auc = roc_auc_score(np.repeat([1, 0], list(map(len, ids))), score_of(params, np.concatenate(ids)))
    assert auc == pytest.approx(max(row["validation_auc"] for row in rows), abs=1e-6)


def test_the_score_of_the_ngrams_weighs_genesis():
    alphabet = Alphabet("ab")
    parts = {"english": Parts("abab", "", "aaaa"), "french": Parts("bbab", "", "abab")}
    ids = windows(alphabet.encode("abba"), 2)

    def score(weight, parts=parts):
        config = langid.Config(ngram=2, genesis_weight=weight)
        return langid.ngram_score(parts, alphabet, ids, config)

    # P(b) is that of both texts, those of Genesis counting half: with d different characters, which is two,
    # (n_b + d / 4) / (n + d) at first, of four symbols.
    english, french = (2 + 0.5) / (4 + 0.5 * 4 + 2), (3 + 0.5 * 2 + 0.5) / (4 + 0.5 * 4 + 2)
    of_b = window_log_p([(alphabet.encode("abab"), 1.0), (alphabet.encode("aaaa"), 0.5)], np.array([[3]]), 2, 4)
    assert np.exp(of_b[0, 0]) == pytest.approx(english)
    config = langid.Config(ngram=2, genesis_weight=0.5)
    only_b = langid.ngram_score(parts, alphabet, np.array([[3]]), config)
    assert only_b[0] == pytest.approx(np.log(english / french))
    alone = {name: part._replace(genesis="") for name, part in parts.items()}
    np.testing.assert_allclose(score(0), score(1.0, alone))
    assert not np.allclose(score(0), score(1.0))


def test_the_settings_of_models_taught_together_need_a_contrast(tmp_path, capsys):
    for setting in (["--genesis"], ["--dropout", "0.1"], ["--validation-fraction", "0.2"]):
        line = error_of(capsys, "langid", *setting, "--runs", str(tmp_path / "runs"))
        assert line.startswith("error: --contrast: expected more than 0 for --genesis")
    line = error_of(capsys, "langid", "--near-share", "1", "--runs", str(tmp_path / "runs"))
    assert line == "error: --near-share: expected a share between 0 and 1, got 1.0"
    assert not (tmp_path / "runs").exists()


def test_a_missing_genesis_is_named_and_leaves_nothing(tmp_path, data, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "udhr2.zip").write_bytes((data / "udhr2.zip").read_bytes())
    line = error_of(capsys, *BEST, "--data-dir", str(tmp_path / "data"), "--runs", str(tmp_path / "runs"))
    assert "genesis.zip" in line
    assert not list(tmp_path.glob("runs/*/*"))


MANY = [
    "manylang", "--languages", "en", "fr", "de", "--lengths", "3", "12", "--test-windows", "20",
    "--classifier-size", "16", "--model-size", "12", "--embedding-size", "8", "--batch-size", "16",
    "--classifier-rate", "0.02", "--model-rate", "0.03",
]  # fmt: skip


def test_manylang(tmp_path, data, stubs, capsys):
    settings = [*MANY, "--data-dir", str(data), "--epochs", "12", "--model-epochs", "12"]
    folder, result = run(tmp_path, *settings)
    names = ("classifier", "character_models", "together", "ngram", "with_ngram", "lingua")
    metrics = {f"{name}_{length}" for name in names for length in (3, 12)}
    pictures = ["accuracy.png", "closest_3.png", "closest_12.png", "learning_classifier.png", "learning_models.png"]
    check_result(folder, result, "manylang", metrics, pictures)
    for name in names[:5]:
        assert result["metrics"][f"{name}_12"] > 0.75, name
        assert result["metrics"][f"{name}_12"] > result["metrics"][f"{name}_3"] > 0.4, name
    # The stub never says German, and of French windows finds those that have an accent.
    assert 1 / 3 < result["metrics"]["lingua_3"] < result["metrics"]["lingua_12"] < 2 / 3
    out = capsys.readouterr().out
    assert "py3langid is not installed" in out
    assert main(["manylang", "--predict", "les gens de la ville", "--from", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("fr ")
    assert "unknown" not in out
    assert main(["manylang", "--predict", "les gens \u65e5", "--from", str(folder)]) == 0
    assert capsys.readouterr().out.endswith("1 of the 10 characters that it has read are unknown to it\n")

    # Taken up before the last epoch of either, it comes to the same end.
    (folder / "result.json").unlink()
    for stage in ("classifier", "character-models"):
        max((folder / "checkpoints" / stage).iterdir(), key=lambda path: int(path.stem)).unlink()
    assert main(["manylang", "--resume", str(folder), "--data-dir", str(data)]) == 0
    assert json.loads((folder / "result.json").read_text())["metrics"] == result["metrics"]


def test_manylang_names_bad_settings(tmp_path, data, capsys):
    def error_with(*arguments):
        return error_of(capsys, "manylang", "--data-dir", str(data), "--runs", str(tmp_path / "runs"), *arguments)

    for code in ("xx", "en"):
        line = error_with("--languages", "en", code)
        assert line.startswith("error: --languages: expected two or more, each once, of af ar be")
        assert line.endswith(f", got en {code}")
    assert (
        error_with("--lengths", "5", "3") == "error: --lengths: expected numbers from 1 on, in rising order, got (5, 3)"
    )
    assert error_with("--unknown", "1") == "error: --unknown: expected 0 or more and less than 1, got 1.0"
    line = error_with("--languages", "en", "fr", "--lengths", "5", "200")
    assert line.startswith("error: --lengths: expected at most 1")
    assert line.endswith("the characters of the validation text in 'en', got 200")
    assert not (tmp_path / "runs").exists()


def test_the_characters_that_a_model_does_not_tell_apart_share_one_probability():
    """So that over all characters there are, its probabilities sum to one."""
    alphabets = [Alphabet("ab"), Alphabet("abcdef")]
    params = manylang_models.init_models(KEY, alphabets, SimpleNamespace(model_size=4))
    # Both models are as wide as the larger alphabet; take from the first what it never meets.
    head = params.head._replace(b=params.head.b.at[0, 4:].set(-1e9).at[:, START].set(-1e9))
    params = params._replace(head=head)
    log_p = manylang_models.model_log_p(params, list("abcdefgh"), alphabets, characters=8)
    assert log_p.shape == (8, 1, 2)
    np.testing.assert_allclose(np.exp(log_p[:, 0]).sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(log_p[2:, 0, 0], log_p[2, 0, 0])
    longer = manylang_models.model_log_p(params, ["ab", "gb"], alphabets, characters=8)
    np.testing.assert_allclose(longer[:, 0], log_p[[0, 6], 0], rtol=1e-5)
    one = jax.tree.map(lambda leaf: leaf[1], params)
    expected = models.log_probabilities(one, jnp.array([2, 3]), START).sum()
    assert longer[0, 1, 1] == pytest.approx(float(expected), rel=1e-5)


def test_windows_are_spaced_over_the_whole_text():
    found, labels = declarations.spaced_windows(["abcdefg", "xyz"], 3, 3)
    assert found == ["abc", "cde", "efg", "xyz", "xyz", "xyz"]
    np.testing.assert_array_equal(labels, [0, 0, 0, 1, 1, 1])


def test_the_closest_languages_are_those_taken_for_each_other():
    matrix = np.array([[9, 0, 1, 0], [0, 5, 0, 3], [1, 0, 9, 0], [0, 2, 0, 7]])
    assert manylang.closest_languages(matrix, 1) == [1, 3]
    assert manylang.closest_languages(matrix, 2) == [1, 3, 0, 2]


def test_training_windows_come_from_their_language_and_lie_inside_its_text():
    alphabet = Alphabet("abcdxyz")
    texts = declarations.on_device(["abcd" * 3, "xyz" * 2], [alphabet, alphabet])
    languages = jnp.array([0, 1] * 200)
    found = np.asarray(declarations.draw_windows(KEY, texts, languages, 5, 0.0))
    strings = [alphabet.decode(row) for row in found]
    assert set(strings[::2]) == {("abcd" * 3)[at : at + 5] for at in range(8)}
    assert set(strings[1::2]) == {"xyzxy", "yzxyz"}
    hidden = np.asarray(declarations.draw_windows(KEY, texts, languages, 5, 0.25)) == declarations.UNKNOWN
    assert abs(hidden.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / hidden.size)


SENTENCES = {
    "en": "Everyone has the right to freedom of thought.",
    "fr": "Toute personne a droit à la liberté de pensée.",
    "de": "Jeder hat das Recht auf Gedankenfreiheit.",
}


@pytest.mark.parametrize("name", identifiers.IDENTIFIERS)
def test_an_identifier_gives_its_scores_in_the_order_asked_for(name):
    pytest.importorskip(identifiers.IDENTIFIERS[name][1], reason=f"{name} is not installed")
    for languages in (["en", "fr", "de"], ["de", "fr", "en"]):
        (scores,) = identifiers.ask_identifiers([*SENTENCES.values()], languages, (name,)).values()
        assert scores.shape == (3, 3)
        assert [languages[index] for index in scores.argmax(axis=1)] == list(SENTENCES)


def test_every_judge_has_a_name_in_pictures():
    found = [judges.name_of(judge, 5) for judge in ("lstm", "with_ngram", "character_models", "after_5_epochs")]
    assert found == ["LSTMs", "LSTMs and 5-grams", "character models", "after 5 epochs"]


def test_the_classifier_counts_where_it_helps():
    # Two windows, two lengths, two languages. At the first length the classifier puts right what the models
    # get wrong, if it counts half or more; at the second it is wrong itself.
    labels = np.array([0, 1])
    of_models = np.array([[[-2.0, -1.0], [0.0, -1.0]], [[-1.0, 0.0], [-1.0, 0.0]]])
    of_classifier = np.array([[[0.0, -2.5], [-9.0, 0.0]], [[-1.0, 0.0], [0.0, -9.0]]])
    assert judges.weights_beside(of_models, of_classifier, labels) == [0.5, 0.0]


def test_manylang_names_devices_that_do_not_divide_its_languages(tmp_path):
    options = SimpleNamespace(mesh=SimpleNamespace(size=4), resume=None)
    expected = "--devices: expected a divisor of 50, the number of languages, got 4"
    with pytest.raises(UserError, match=f"^{expected}$"):
        manylang.main(manylang.Config(), options)
    manylang.check_devices(manylang.Config(), SimpleNamespace(mesh=SimpleNamespace(size=5)))
