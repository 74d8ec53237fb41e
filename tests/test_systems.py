"""Small runs of echo, echo_lengths, cumsum and the autoencoder: what they leave, and that they learn."""

import json
import shutil

import jax
import numpy as np
import pytest
from commands import ECHO, check_result, error_of, rows_of, run

from experiments import cumsum
from experiments.command import main
from jaxlstm.runs import Run

pytestmark = pytest.mark.usefixtures("cache")


def test_echo(tmp_path, capsys):
    folder, result = run(tmp_path, *ECHO, "--epochs", "2", "--steps-per-epoch", "3")
    check_result(folder, result, "echo", {"accuracy"}, ["learning.png", "gates.png"])
    assert result["parameters"] == 4 * 5 * (6 + 5 + 1) + 6 * (5 + 1)
    assert [row["epoch"] for row in rows_of(folder)] == [1, 2]
    assert "original" in capsys.readouterr().out


def test_echo_learns(tmp_path):
    _, result = run(tmp_path, *ECHO, "--epochs", "4", "--steps-per-epoch", "150", "--hidden-size", "12")
    assert result["metrics"]["accuracy"] == 1.0


def test_echo_learns_short_sequences_first(tmp_path, capsys):
    curriculum = ["--length", "10", "--curriculum", "4", "6", "--epochs", "2", "--steps-per-epoch", "3"]
    folder, result = run(tmp_path, *ECHO, *curriculum)
    assert result["config"]["curriculum"] == [4, 6]
    stages = [(model, epoch) for model in ("length-4", "length-6", "length-10") for epoch in (1, 2)]
    assert [(row["model"], row["epoch"]) for row in rows_of(folder)] == stages
    metrics = (folder / "metrics.jsonl").read_bytes()
    shutil.rmtree(folder / "checkpoints" / "length-10")  # as if killed after the second length
    assert main(["echo", "--resume", str(folder)]) == 0
    assert (folder / "metrics.jsonl").read_bytes() == metrics
    assert json.loads((folder / "result.json").read_text())["metrics"] == result["metrics"]
    capsys.readouterr()
    for given in (["8"], ["6", "5"]):
        assert "expected ever larger lengths below 8" in error_of(capsys, *ECHO, "--curriculum", *given)


def test_cumsum(tmp_path):
    folder, result = run(tmp_path, "cumsum", "--epochs", "2", "--steps-per-epoch", "40", "--test-size", "200")
    check_result(folder, result, "cumsum", {"step_accuracy", "sequence_accuracy"}, ["learning.png", "crossing.png"])
    assert result["metrics"]["step_accuracy"] > 0.8 >= result["metrics"]["sequence_accuracy"]


@pytest.mark.parametrize("length", [10, 40])
def test_the_scaled_threshold_is_one_at_every_length(length):
    xs, labels = (np.asarray(array) for array in cumsum.draw(jax.random.key(0), 50, length, scaled=True))
    sums = np.cumsum(xs, axis=1)
    clear = np.abs(sums - 1) > 1e-5
    np.testing.assert_array_equal(labels[clear], (sums > 1)[clear])
    assert xs.max() <= 4 / length < 1.1 * xs.max()


def test_uneven_sequences_end_anywhere_and_hold_small_numbers():
    length = 10
    xs, labels = (np.asarray(array) for array in cumsum.draw(jax.random.key(0), 2000, length, True, uneven=1.0))
    key_numbers, *_ = jax.random.split(jax.random.key(0), 3)
    even, _ = cumsum.draw(key_numbers, 2000, length, True)
    sums = xs.sum(axis=1)  # uniform on [0, 2) thresholds
    np.testing.assert_allclose(np.quantile(sums, [0.25, 0.5, 0.75]), [0.5, 1.0, 1.5], atol=0.05)
    np.testing.assert_array_equal(labels[:, -1], sums >= 1)
    assert np.mean(xs < 0.04) > 3 * np.mean(np.asarray(even) < 0.04)  # 0.04 being the largest at T = 100
    both, _ = cumsum.draw(jax.random.key(0), 2000, length, True, uneven=0.5)
    assert np.mean(np.all(np.asarray(both) == np.asarray(even), axis=1)) == pytest.approx(0.5, abs=0.05)


def test_cumsum_at_longer_lengths(tmp_path, capsys):
    longer = ["--preset", "longer", "--longer", "15", "30", "--validation-size", "50", "--test-size", "200"]
    size = ["--hidden-size", "20", "--networks", "2"]
    folder, result = run(tmp_path, "cumsum", *longer, *size, "--epochs", "4", "--steps-per-epoch", "50")
    metrics = {"step_accuracy", "step_accuracy_at_15", "step_accuracy_at_30", "sequence_accuracy_at_30"}
    check_result(folder, result, "cumsum", metrics, ["learning.png", "crossing.png", "lengths.png"])
    assert result["metrics"]["step_accuracy"] > 0.85
    validation = [(row["model"], row["validation_accuracy"]) for row in rows_of(folder)]
    assert [model for model, _ in validation] == ["network-1"] * 4 + ["network-2"] * 4
    # What was kept is the best of both networks, at its best epoch.
    finished = Run.open(folder, "cumsum", cumsum.Config)
    params = finished.load_parameters(cumsum.init(jax.random.key(0), finished.config))
    key_validation = jax.random.split(jax.random.key(0), 4)[3]
    found = []
    for length, key in zip((15, 30), jax.random.split(key_validation), strict=True):
        xs, labels = cumsum.draw(key, 50, length, True)
        found.append(float(np.mean((np.asarray(cumsum.logits_of(params, xs)) > 0) == (np.asarray(labels) > 0))))
    assert min(found) == pytest.approx(max(accuracy for _, accuracy in validation), abs=1e-6)
    capsys.readouterr()
    assert "expected --longer too, to choose one of 2 on" in error_of(capsys, "cumsum", "--networks", "2")
    assert "--uneven: expected a share" in error_of(capsys, "cumsum", "--uneven", "2")
    assert "expected --scaled too" in error_of(capsys, "cumsum", "--longer", "20")
    assert "expected ever larger lengths above 10" in error_of(capsys, "cumsum", "--scaled", "--longer", "9")


def test_echo_lengths(tmp_path, capsys):
    lengths = ["--lengths", "4", "6", "--num-symbols", "3", "--hidden-size", "8", "--learnt", "0.9"]
    steps = ["--steps-per-epoch", "20", "--epochs", "20", "--learning-rate", "0.05", "--forget-biases", "1"]
    folder, result = run(tmp_path, "echo_lengths", *lengths, *steps)
    check_result(folder, result, "echo_lengths", {"steps_forget_bias_1_at_4", "steps_chrono_at_4"}, ["lengths.png"])
    for name, steps in result["metrics"].items():
        if name.startswith("steps_"):
            assert result["metrics"][name.replace("steps_", "accuracy_")] >= 0.9
            model = name.removeprefix("steps_").replace("_at_", ", length ").replace("_", " ")
            own = [row["accuracy"] for row in rows_of(folder) if row["model"] == model]
            assert len(own) * 20 == steps  # it stopped there
            assert max(own[:-1], default=0) < 0.9 <= own[-1]
    capsys.readouterr()
    assert "--lengths: expected" in error_of(capsys, "echo_lengths", "--lengths", "2")


def test_autoencoder(tmp_path, capsys):
    folder, result = run(tmp_path, "autoencoder", "--epochs", "60", "--checkpoint-every", "30", "--hidden-size", "20")
    metrics = {"max_abs_error", "composite_max_abs_error", "prediction_max_abs_error"}
    check_result(folder, result, "autoencoder", metrics, ["learning.png", "reconstruction.png", "composite.png"])
    assert max(result["metrics"][name] for name in metrics) < 0.4
    assert (folder / "encoder.safetensors").is_file()
    assert [(row["model"], row["epoch"]) for row in rows_of(folder)] == [
        (model, epoch) for model in ("alone", "composite") for epoch in range(1, 61)
    ]
    assert "[1, 20]" in capsys.readouterr().out


def test_autoencoder_with_conditional_decoders_that_walk_back(tmp_path):
    _, result = run(
        tmp_path, "autoencoder", "--epochs", "10", "--checkpoint-every", "10", "--hidden-size", "5", "--conditional",
        "--reverse",
    )  # fmt: skip
    encoder, decoder, head = 4 * 5 * (1 + 5 + 1), 4 * 5 * (5 + 1 + 5 + 1), 5 + 1
    assert result["parameters"] == 2 * encoder + 3 * (decoder + head)
    assert result["config"]["reverse"] is True
