"""Training end to end beside Keras, and the time to a figure."""

import json

import pytest
from benchmark_cases import call, prepare_of

from jaxlstm.errors import UserError


@pytest.mark.parametrize("name", ["sentiment", "cumsum"])
def test_both_libraries_make_the_same_updates(name):
    prepare_of("keras")
    from benchmarks import keras_training

    assert keras_training.check_equal(name) < 1e-4


def test_the_end_to_end_command(tmp_path):
    prepare_of("keras")
    sizes = ("--rounds", 1, "--reviews", 40, "--updates", 3)
    code, _, errors = call(*sizes, "--out", tmp_path, module="benchmarks.end_to_end")
    assert code == 0, errors
    rows = json.loads((tmp_path / "end_to_end.json").read_text())["rows"]
    assert [(row["task"], row["samples"]) for row in rows] == [("sentiment", 40), ("cumsum", 3)]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["rival_seconds"] / row["seconds"], rel=1e-3)


def test_end_to_end_needs_keras(tmp_path, monkeypatch):
    from benchmarks import end_to_end

    monkeypatch.setattr(end_to_end, "installed", lambda package: False)
    with pytest.raises(UserError, match="keras: not installed"):
        end_to_end.run(end_to_end.Options(out=tmp_path))


def test_seconds_count_where_every_figure_is_reached():
    from benchmarks import to_target

    assert to_target.reached("echo", {"accuracy": 1.0})
    assert not to_target.reached("echo", {"accuracy": 0.9999})
    assert to_target.reached("cumsum", {"step_accuracy": 0.999, "sequence_accuracy": 0.99})
    assert not to_target.reached("cumsum", {"step_accuracy": 0.9995, "sequence_accuracy": 0.98})
    errors = dict.fromkeys(to_target.TARGETS["autoencoder"], 0.003)
    assert to_target.reached("autoencoder", errors)
    assert not to_target.reached("autoencoder", errors | {"prediction_max_abs_error": 0.0031})
