"""Finished runs of the five systems: exported, and asked. They are made, not trained."""

import jax
import numpy as np
import pytest
from problem import draw_like

from experiments import autoencoder, cumsum, echo, langid, sentiment
from experiments.command import main
from experiments.predict import load_predictor
from experiments.systems import SYSTEMS, open_finished
from jaxlstm import models
from jaxlstm.data.text import Alphabet
from jaxlstm.errors import CheckpointError, UserError
from jaxlstm.files import write_json
from jaxlstm.runs import Run

KEY = jax.random.key(0)
WORDS = ["film", "the", "wonderful", "dull", "a", "of", "time"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run folder of each system, its parameters drawn at random."""
    root = tmp_path_factory.mktemp("runs")
    alphabet = Alphabet("abcdefghij ")
    configs = {
        "echo": echo.Config(length=6, num_symbols=5, hidden_size=4),
        "cumsum": cumsum.Config(length=5, hidden_size=4),
        "autoencoder": autoencoder.Config(length=4, hidden_size=8),
        "langid": langid.Config(window=4, hidden_size=5),
        "sentiment": sentiment.Config(num_words=10, length=20, embedding_size=4, hidden_size=3),
    }
    spellers = (models.init_language_model(key, alphabet.size, 5) for key in jax.random.split(KEY))
    alone, composite = autoencoder.init(KEY, KEY, configs["autoencoder"])
    params = {
        "echo": echo.init(KEY, configs["echo"]),
        "cumsum": cumsum.init(KEY, configs["cumsum"]),
        "autoencoder": {"alone": alone, "composite": composite},
        "langid": dict(zip(langid.LANGUAGES, spellers, strict=True)),
        "sentiment": sentiment.init(KEY, configs["sentiment"]),
    }
    runs = {name: Run.create(root, name, config) for name, config in configs.items()}
    for name, run in runs.items():
        run.save_parameters(draw_like(params[name], seed=0, scale=0.7))
    write_json(runs["langid"].folder / "alphabet.json", alphabet.characters)
    write_json(runs["sentiment"].folder / "vocabulary.json", WORDS)
    return {name: run.folder for name, run in runs.items()}


def random_inputs(model, batch, time):
    ((shape, dtype),) = model.inputs.values()
    rng, shape = np.random.default_rng(0), (batch, time, *shape[2:])
    array = rng.integers(1, 5, shape) if np.dtype(dtype).kind == "i" else rng.random(shape)
    array = array.astype(dtype)
    if np.dtype(dtype).kind == "i":
        array[0, :2] = 0  # for sentiment, padding on the left
    return array


@pytest.mark.parametrize("system", SYSTEMS)
def test_both_exports_compute_what_the_run_does(folders, system, capsys):
    check_exports(folders[system], system, capsys)


def test_both_exports_of_several_sentiment_models(tmp_path, capsys):
    config = sentiment.Config(
        num_words=10, length=20, embedding_size=4, hidden_size=3, pooled=True, bigrams=4, models=3,
    )  # fmt: skip
    run = Run.create(tmp_path, "sentiment", config)
    params = draw_like(sentiment.ensemble_of([sentiment.init(KEY, config)] * 3), scale=0.7)
    run.save_parameters(params)
    check_exports(run.folder, "sentiment", capsys)
    deployed = sentiment.deployed(run)["sentiment"]
    ids = random_inputs(deployed, 3, 6)
    each = [sentiment.logits_of(member, ids) for member in params.members]
    assert np.std(each, axis=0).min() > 0.01
    expected = jax.nn.sigmoid(np.mean(each, axis=0))
    np.testing.assert_allclose(deployed.apply(deployed.params, ids), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("conditional", [False, True])
def test_both_exports_of_an_autoencoder_that_rebuilds_from_the_end(conditional, tmp_path, capsys):
    run = Run.create(tmp_path, "autoencoder", autoencoder.Config(hidden_size=8, conditional=conditional, reverse=True))
    alone, composite = autoencoder.init(KEY, KEY, run.config)
    run.save_parameters(draw_like({"alone": alone, "composite": composite}, seed=0, scale=0.7))
    check_exports(run.folder, "autoencoder", capsys)


def check_exports(folder, system, capsys):
    """ONNX and StableHLO files of a run's models, beside the models."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("flatbuffers", reason="flatbuffers is not installed")
    pytest.importorskip("onnx", reason="ONNX is not installed")
    for form in ("onnx", "stablehlo"):
        assert main(["export", str(folder), "--format", form]) == 0
    deployed = SYSTEMS[system].deployed(open_finished(folder)[1])
    printed = capsys.readouterr().out
    for name, model in deployed.items():
        (input_name,) = model.inputs
        assert f"{name}.onnx: {input_name} [batch, time" in printed
        path = folder / "export" / f"{name}.onnx"
        session = onnxruntime.InferenceSession(path)
        exported = jax.export.deserialize(bytearray(path.with_suffix(".stablehlo").read_bytes()))
        array = random_inputs(model, 3, 6)
        expected = jax.tree.leaves(model.apply(model.params, array))
        assert all(want.std() > 0.01 for want in expected)  # so that the comparison means something
        for got, want in zip(session.run(None, {input_name: array}), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
        for got, want in zip(jax.tree.leaves(exported.call(array)), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_sentiment_reads_texts_and_ids(folders):
    predict = load_predictor(folders["sentiment"])
    texts = ["a wonderful film", "a dull film, of the time" * 9, "Wonderful!"]
    together = predict(texts)
    assert together.shape == (3,)
    # One at a time, and left-padded as in training, the same.
    run = open_finished(folders["sentiment"])[1]
    params = sentiment.deployed(run)["sentiment"].params
    ids = sentiment.word_ids.encode_texts(texts, WORDS, 10, 20)
    expected = jax.nn.sigmoid(sentiment.logits_of(params, ids))
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([predict([text]) for text in texts]), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(predict(list(ids)), expected, rtol=0, atol=1e-6)
    assert predict([]).shape == (0,)


def test_langid_reads_texts_longer_and_shorter_than_its_window(folders):
    predict = load_predictor(folders["langid"])
    run = open_finished(folders["langid"])[1]
    deployed, alphabet = langid.deployed(run), Alphabet(run.read_json("alphabet.json"))
    texts = ["a bad cafe", "ab", "I", "abcd"]
    actual = predict(texts)
    for name, model in deployed.items():
        for text, got in zip(texts, actual[name], strict=True):
            # Each character from the four that end with it, or from the first ones.
            want = 0.0
            for end in range(1, len(text) + 1):
                part = alphabet.encode(text.lower()[max(0, end - 4) : end])
                want += float(model.apply(model.params, part)[-1])
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("system", "shapes"),
    [("echo", [(2, 5)]), ("cumsum", [(2, 5)]), ("autoencoder", [(2, 4, 1), (2, 3, 1)])],
)
def test_the_others_take_arrays(folders, system, shapes):
    predict = load_predictor(str(folders[system]))
    array = {
        "echo": np.ones((2, 6), np.int32), "cumsum": np.ones((2, 5)), "autoencoder": np.ones((2, 4, 1), np.float32),
    }[system]  # fmt: skip
    assert [leaf.shape for leaf in jax.tree.leaves(predict(array))] == shapes


def test_errors_are_one_line(folders, tmp_path, capsys):
    for system in ("langid", "sentiment"):
        predict = load_predictor(folders[system])
        with pytest.raises(UserError, match=r"^texts: expected a list of them, got one text$"):
            predict("a film")
        with pytest.raises(UserError, match=r"^texts\[1\]: expected at least one word, got none$"):
            predict(["a film", " "])
    with pytest.raises(CheckpointError, match=r"no readable config\.json"):
        load_predictor(tmp_path)
    (tmp_path / "config.json").write_text('{"system": "chess"}')
    assert main(["export", str(tmp_path)]) == 2
    assert "expected a run of one of echo, cumsum, autoencoder, langid, sentiment" in capsys.readouterr().err
