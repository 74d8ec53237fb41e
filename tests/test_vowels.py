"""Vowels: its measures against plain loops, and the experiment at a tiny size on series made here."""

import sys

import jax
import numpy as np
import pytest
from commands import check_result, error_of, run
from sklearn.linear_model import LogisticRegression

from experiments import vowels
from jaxlstm import models
from jaxlstm.data import series as data

RNG = np.random.default_rng(0)


def made(count):
    """Series of three classes that differ in their level, as aeon has them: [D, T] each, and their names."""
    names = np.array([f"speaker {index % 3}" for index in range(count)])
    return [RNG.normal(int(name[-1]), 0.3, (2, RNG.integers(3, 7))) for name in names], names


@pytest.fixture
def spoken(monkeypatch):
    parts = [data.padded(*made(count), 6) for count in (30, 12)]
    monkeypatch.setattr(vowels, "japanese_vowels", lambda: parts)
    monkeypatch.setattr(vowels, "PENALTIES", [0.1, 1.0])
    return parts


def test_series_are_padded_and_their_classes_counted():
    series, names = made(5)
    padded = data.padded(series, names, 6)
    assert padded.labels.tolist() == [0, 1, 2, 0, 1]
    for row, length, one in zip(padded.xs, padded.lengths, series, strict=True):
        np.testing.assert_array_equal(row[:length], one.T.astype(np.float32))
        assert not row[length:].any()


def test_measures_leave_the_padding_out(spoken):
    train, test = vowels.standardised(*spoken)
    ragged = [one[:length] for one, length in zip(train.xs, train.lengths, strict=True)]
    steps = np.concatenate(ragged)
    np.testing.assert_allclose((steps.mean(0), steps.std(0)), ([0, 0], [1, 1]), atol=1e-5)
    expected = [np.concatenate([one.mean(0), one.std(0)]) for one in ragged]
    np.testing.assert_allclose(vowels.moments(train), expected, rtol=1e-4, atol=1e-5)
    errors = np.concatenate([np.square(one - one.mean(0)) for one in ragged])
    assert vowels.own_mean_error(train) == pytest.approx(errors.mean(), rel=1e-4)
    assert not test.xs[~vowels.valid_steps(test)].any()


def test_vowels(tmp_path, spoken, monkeypatch):
    judged, classified = [], vowels.classified
    monkeypatch.setattr(vowels, "classified", lambda *args: judged.append(args[0]) or classified(*args))
    settings = ["--variants", "reverse", "composite-conditional", "--hidden-size", "6", "--epochs", "3"]
    folder, result = run(tmp_path, "vowels", *settings, "--batch-size", "8", "--no-baselines")
    check_result(folder, result, "vowels", {"accuracy", "cross_validated"}, ["learning.png", "coefficient_1.png"])
    metrics = result["metrics"]
    assert metrics["moments_accuracy"] > 0.8
    best = max(("reverse", "composite-conditional"), key=lambda name: metrics[f"{name}_cross_validated"])
    assert metrics["accuracy"] == metrics[f"{best}_accuracy"]
    assert metrics["cross_validated"] == metrics[f"{best}_cross_validated"]
    # Two variants, the control and the moments; the control's encoder is as it was drawn.
    codes = judged[2]
    assert len(judged) == 4
    assert metrics["untrained_cross_validated"] > 0.5
    key = jax.random.split(jax.random.key(0), 3)[2]
    drawn = vowels.init(key, "reverse", 2, 6)
    xs, lengths, _ = vowels.standardised(*spoken)[0]
    np.testing.assert_allclose(codes, models.encode(drawn.encoder, xs, lengths=lengths), atol=1e-6)


def test_the_penalty_is_chosen_on_training_codes_alone(monkeypatch):
    seen = []
    fit = LogisticRegression.fit
    monkeypatch.setattr(LogisticRegression, "fit", lambda self, xs, ys: seen.append(len(xs)) or fit(self, xs, ys))
    codes, labels = RNG.normal(size=(30, 2)), np.arange(30) % 3
    vowels.classified(codes, labels, codes[:6] + 100, labels[:6], seed=0)
    assert max(seen) == 30


def test_unknown_variants_and_a_missing_package(monkeypatch, capsys):
    line = error_of(capsys, "vowels", "--variants", "sideways")
    assert line.startswith("error: --variants: expected some of alone")
    assert error_of(capsys, "vowels", "--variants", "alone", "alone").endswith("each once, got alone alone")
    monkeypatch.setitem(sys.modules, "aeon", None)
    assert error_of(capsys, "vowels").endswith("jaxlstm's extra 'series' brings it")


def test_the_series_that_aeon_brings():
    pytest.importorskip("aeon", reason="aeon is not installed")
    train, test = data.japanese_vowels()
    assert (train.xs.shape, test.xs.shape) == ((270, 29, 12), (370, 29, 12))
    assert np.bincount(train.labels).tolist() == [30] * 9
    assert (train.lengths.min(), test.lengths.max()) == (7, 29)
