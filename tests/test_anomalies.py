"""Anomalies: its scores against plain loops, and the experiment at a tiny size on a series made here."""

import sys

import numpy as np
import pytest
from commands import check_result, error_of, run

from experiments import anomalies
from jaxlstm.data import series as data

RNG = np.random.default_rng(0)


@pytest.fixture
def beats(monkeypatch):
    """A wave to learn, and the same wave to watch, with a bump in it."""
    wave = np.sin(np.arange(220) * 2 * np.pi / 20).astype(np.float32)
    values, labels = wave.copy(), np.zeros(220, np.int32)
    values[100:106] += 3
    labels[100:106] = 1
    monkeypatch.setattr(anomalies, "internal_bleeding", lambda: (wave, data.Watched(values, labels)))


def test_the_score_of_a_step_is_the_mean_over_the_windows_that_hold_it():
    errors = RNG.random((7, 4))
    held = [[errors[row, step - row] for row in range(7) if 0 <= step - row < 4] for step in range(10)]
    np.testing.assert_allclose(anomalies.over_windows(errors), [np.mean(values) for values in held])


def test_windows_are_those_of_the_series():
    series = np.arange(9.0)
    windows = anomalies.windows_of(series, 4)
    np.testing.assert_array_equal(windows[..., 0], [series[first : first + 4] for first in range(6)])


def test_steps_off_is_to_the_nearest_anomaly():
    labels = np.array([0, 0, 1, 1, 0, 0, 0, 1])
    assert anomalies.steps_off(np.eye(8)[5], labels) == 2
    assert anomalies.steps_off(np.eye(8)[3], labels) == 0


def test_anomalies(tmp_path, beats):
    settings = ["--window", "16", "--hidden-size", "8", "--epochs", "20", "--learning-rate", "0.01"]
    folder, result = run(tmp_path, "anomalies", *settings, "--no-baselines")
    check_result(folder, result, "anomalies", {"auc", "steps_off"}, ["roc.png", "scores.png", "learning.png"])
    assert result["metrics"]["auc"] > 0.9
    assert result["metrics"]["steps_off"] <= 3


def test_a_window_that_does_not_fit(tmp_path, beats, capsys):
    line = error_of(capsys, "anomalies", "--window", "60", "--runs", str(tmp_path))
    assert line == "error: --window: expected at most 44, with 44 of 220 steps held out, got 60"
    assert not list(tmp_path.iterdir())


def test_a_missing_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "aeon", None)
    assert error_of(capsys, "anomalies").endswith("jaxlstm's extra 'series' brings it")


def test_the_series_that_aeon_brings():
    pytest.importorskip("aeon", reason="aeon is not installed")
    train, watched = data.internal_bleeding()
    assert (train.shape, watched.values.shape, watched.labels.sum()) == ((1200,), (6301,), 12)
    scores = anomalies.aeon_scores(train, watched.values, 64, seed=0)
    assert {name: score.shape for name, score in scores.items()} == {"KMeansAD": (6301,), "DWT-MLEAD": (6301,)}
