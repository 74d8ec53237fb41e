"""The experiments at a tiny size through their command line: what they leave, errors, killing and resuming."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from commands import check_result, error_of, rows_of, run

from experiments import autoencoder, cumsum, echo
from experiments.__main__ import main
from experiments.presets import named
from experiments.session import batch_size_for, begin
from experiments.systems import EXPERIMENTS, QUICK, SYSTEMS
from jaxlstm.data.sample import load_sample
from jaxlstm.errors import UserError
from jaxlstm.runs import Run

pytestmark = pytest.mark.usefixtures("cache")

ROOT = Path(__file__).parent.parent
ECHO = ["echo", "--length", "8", "--num-symbols", "6", "--hidden-size", "5", "--test-size", "30"]


@pytest.fixture(scope="module")
def declaration(tmp_path_factory):
    """A stand-in for the corpus of the Declaration, made of the bilingual sample."""
    path = tmp_path_factory.mktemp("data") / "udhr2.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for code, language in (("eng", "english"), ("fra", "french")):
            archive.writestr(f"udhr2/{code}.txt", load_sample(language)[:1500])
    return path


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


def test_langid(tmp_path, declaration, capsys):
    folder, result = run(
        tmp_path,
        "langid",
        "--data-dir",
        str(declaration),
        "--hidden-size",
        "16",
        "--epochs",
        "6",
        "--short-epochs",
        "1",
    )
    plots = ["learning_english.png", "learning_french.png", "roc.png", "scores.png", "characters.png"]
    check_result(folder, result, "langid", {"auc", "accuracy", "auc_after_1_epochs"}, plots)
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


def test_langid_offline_uses_the_sample_and_says_so(tmp_path, monkeypatch, capsys):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody listens
    run(tmp_path, "langid", "--hidden-size", "4", "--epochs", "1", "--short-epochs", "1")
    assert "bilingual sample" in capsys.readouterr().out


def python(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "experiments", *arguments], cwd=ROOT, env=environment, **options)


@pytest.mark.parametrize("system", [ECHO, ["cumsum", "--test-size", "30"]], ids=["echo", "cumsum"])
def test_a_killed_run_resumes_to_the_same_end(tmp_path, system):
    settings = [*system, "--epochs", "40", "--steps-per-epoch", "20", "--checkpoint-every", "1"]
    whole, expected = run(tmp_path, *settings)
    process = python(*settings, "--runs", str(tmp_path / "killed"), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("*/*/checkpoints/3")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder,) = (tmp_path / "killed").glob("*/*")
    assert not (folder / "result.json").exists()
    assert main([system[0], "--resume", str(folder)]) == 0
    assert json.loads((folder / "result.json").read_text())["metrics"] == expected["metrics"]
    assert (folder / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_an_interrupted_run_names_the_command_that_continues_it(tmp_path, monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    runs, fit = ["--runs", str(tmp_path / "a b")], echo.fit
    monkeypatch.setattr(echo, "fit", interrupt)
    assert main([*ECHO, "--epochs", "1", "--steps-per-epoch", "1", *runs, "--data-dir", str(tmp_path)]) == 130
    (folder,) = (tmp_path / "a b" / "echo").iterdir()
    command = f"python -m experiments echo --resume '{folder}' --data-dir {tmp_path}"
    assert capsys.readouterr().err == f"interrupted: {command} continues it\n"
    monkeypatch.setattr(echo, "fit", fit)
    assert main(shlex.split(command)[3:]) == 0
    monkeypatch.setattr(echo, "begin", interrupt)
    assert main([*ECHO, *runs]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path):
    settings = [*ECHO, "--epochs", "4", "--steps-per-epoch", "3", "--checkpoint-every", "1"]
    folder, expected = run(tmp_path, *settings)
    (folder / "checkpoints" / "4" / "record.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"checkpoints/4: record\.json is damaged"):
        assert main(["echo", "--resume", str(folder)]) == 0
    assert json.loads((folder / "result.json").read_text())["metrics"] == expected["metrics"]


def test_bad_settings_are_named(tmp_path, capsys):
    runs = ["--runs", str(tmp_path / "runs")]
    line = error_of(capsys, "echo", "--position", "50", *runs)
    assert line == "error: --position: expected 0 to 49, a step of every sequence, got 50"
    assert error_of(capsys, "cumsum", "--epochs", "0", *runs) == "error: --epochs: expected at least 1, got 0"
    for option in ("--pretraining-epochs", "--self-training-rounds", "--bigrams", "--trigrams"):
        assert f"{option}: expected --pooled beside it" in error_of(capsys, "sentiment", option, "1", *runs)
    line = error_of(capsys, "sentiment", "--num-words", "3", *runs)
    assert line == "error: --num-words: expected at least 4, got 3"
    line = error_of(capsys, "sentiment", "--preset", "pretrained", "--num-words", "60", *runs)
    assert line == "error: --pretraining-skipped: expected less than 57, the number of words, got 57"
    line = error_of(capsys, "sentiment", "--pooled", "--self-training-rounds", "1", *runs)
    assert line == "error: --self-training-rounds: expected --bag-of-words beside it, the other teacher"
    assert error_of(capsys, "sentiment", "--models", "0", *runs) == "error: --models: expected at least 1, got 0"
    for option in ("--max-reviews", "--labelled"):
        line = error_of(capsys, "sentiment", option, "3", "--validation-fraction", "0.75", *runs)
        assert line == f"error: {option}: expected at least 4, got 3"
    line = error_of(capsys, "sentiment", "--unlabelled", "-1", *runs)
    assert line == "error: --unlabelled: expected at least 0, got -1"
    line = error_of(capsys, "sentiment", "--dropout", "1", *runs)
    assert line == "error: --dropout: expected 0 or more and less than 1, got 1.0"
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    line = error_of(capsys, *ECHO, "--runs", str(tmp_path / "file"))
    assert line.startswith(f"error: {tmp_path}/file/echo")
    assert line.endswith(": Not a directory")


@pytest.mark.parametrize("system", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_every_system_checks_its_seed_and_its_rates(system):
    for seed in (-1, 2**32):
        with pytest.raises(UserError, match=f"^--seed: expected 0 to 4294967295, got {seed}$"):
            system.Config(seed=seed)
    assert system.Config(seed=2**32 - 1)
    for field in asdict(system.Config()):
        if field.endswith("_rate") or field == "clip":
            with pytest.raises(UserError, match=f"^--{field.replace('_', '-')}: expected more than 0, got 0.0$"):
                system.Config(**{field: 0.0})


@pytest.mark.parametrize(("examples", "devices", "expected"), [(100, 4, 32), (30, 4, 28), (30, 1, 30), (4, 4, 4)])
def test_a_batch_holds_as_many_examples_as_the_devices_divide(examples, devices, expected):
    options = SimpleNamespace(mesh=None if devices == 1 else SimpleNamespace(size=devices))
    assert batch_size_for(examples, SimpleNamespace(batch_size=32), options) == expected


def test_fewer_examples_than_devices_are_named():
    options = SimpleNamespace(mesh=SimpleNamespace(size=4))
    with pytest.raises(UserError, match=r"^--devices: expected at most 3, the number of examples, got 4$"):
        batch_size_for(3, SimpleNamespace(batch_size=32), options)


def test_the_autoencoder_runs_on_one_device():
    options = SimpleNamespace(mesh=SimpleNamespace(size=2), resume=None)
    expected = "--devices: expected one device, this system learns from one sequence, got 2"
    with pytest.raises(UserError, match=f"^{expected}$"):
        begin("autoencoder", autoencoder.Config(), options)


def test_a_diverging_run_is_named(tmp_path, capsys):
    line = error_of(
        capsys, *ECHO, "--epochs", "2", "--steps-per-epoch", "3", "--learning-rate", "nan", "--runs", str(tmp_path)
    )
    assert line.startswith("error: the loss is nan at epoch 1, step 2;")
    assert line.endswith("last good checkpoint: none")


def test_what_is_no_run_is_named(tmp_path, capsys):
    assert "it has no readable config.json" in error_of(capsys, "echo", "--resume", str(tmp_path))
    (tmp_path / "config.json").write_text('{"system": "cumsum"}')
    assert "expected a run of echo, this is one of cumsum" in error_of(capsys, "echo", "--resume", str(tmp_path))
    (tmp_path / "config.json").write_text('{"system": "echo", "colour": 1}')
    assert "colour" in error_of(capsys, "echo", "--resume", str(tmp_path))


def test_resuming_with_other_settings_is_refused(tmp_path, capsys):
    folder, _ = run(tmp_path, *ECHO, "--epochs", "1", "--steps-per-epoch", "1")
    line = error_of(capsys, "echo", "--epochs", "7", "--resume", str(folder))
    assert "keeps the settings it was started with" in line


@pytest.mark.parametrize("system", ["langid", "sentiment"])
def test_asking_with_other_settings_is_refused(tmp_path, capsys, system):
    folder = Run.create(tmp_path, system, EXPERIMENTS[system].Config()).folder
    line = error_of(capsys, system, "--predict", "a", "--from", str(folder), "--epochs", "3")
    assert line == f"error: --from: {folder} keeps the settings it was started with; give no other settings"


def test_predict_wants_a_text_and_a_run(tmp_path, capsys):
    line = error_of(capsys, "langid", "--predict", "text")
    assert line == "error: --predict and --from: expected both, a text and the folder of a finished run"
    assert "no readable config.json" in error_of(capsys, "sentiment", "--predict", "a", "--from", str(tmp_path))
    (tmp_path / "config.json").write_text('{"system": "langid"}')
    assert "no readable alphabet.json" in error_of(capsys, "langid", "--predict", "a", "--from", str(tmp_path))


@pytest.mark.parametrize(("system", "file"), [("langid", "udhr2.zip"), ("sentiment", "aclImdb_v1.tar.gz")])
def test_missing_data_is_named_and_leaves_nothing(tmp_path, capsys, system, file):
    (tmp_path / "data").mkdir()
    arguments = (system, "--data-dir", str(tmp_path / "data"), "--runs", str(tmp_path / "runs"))
    assert file in error_of(capsys, *arguments)
    assert not list((tmp_path / "runs").glob("*/*"))


@pytest.mark.parametrize("command", ["quick", "all", "langid"])
def test_a_data_dir_that_does_not_exist_is_refused_at_once(tmp_path, capsys, command):
    line = error_of(capsys, command, "--data-dir", str(tmp_path / "absent"), "--runs", str(tmp_path / "runs"))
    assert line == f"error: --data-dir: expected a file or folder with the data set, {tmp_path}/absent does not exist"
    assert not (tmp_path / "runs").exists()


def test_a_preset_is_where_the_other_settings_set_out_from(tmp_path, monkeypatch, capsys):
    small = echo.Config(length=8, num_symbols=6, hidden_size=5, epochs=1, steps_per_epoch=2, test_size=30)
    monkeypatch.setattr(echo, "PRESETS", named(original=echo.Config(), small=small))
    folder, result = run(tmp_path, "echo", "--preset", "small", "--hidden-size", "3")
    assert result["config"] == asdict(replace(small, preset="small", hidden_size=3)) | {"curriculum": []}
    assert "give no other settings" in error_of(capsys, "echo", "--preset", "small", "--resume", str(folder))
    assert main(["echo", "--resume", str(folder)]) == 0
    assert error_of(capsys, "echo", "--preset=big") == "error: --preset: expected one of original, small, got 'big'"
    assert error_of(capsys, "cumsum", "--preset") == "error: --preset: expected one of original, longer, got ''"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_help_lists_the_presets(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert f"--preset {{{','.join(EXPERIMENTS[name].PRESETS)}}}" in capsys.readouterr().out


def test_every_system_has_its_original_settings_as_the_default():
    for system in EXPERIMENTS.values():
        assert system.PRESETS["original"] == system.Config()
        assert {name: config.preset for name, config in system.PRESETS.items()} == {
            name: name for name in system.PRESETS
        }


def test_a_resumed_run_keeps_the_command_that_began_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", "-m", "experiments", "echo", "--runs", "a b"])
    folder, result = run(tmp_path, *ECHO, "--epochs", "1", "--steps-per-epoch", "1")
    assert result["command"] == "python3 -m experiments echo --runs 'a b'"
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "experiments", "echo", "--resume", str(folder)])
    assert main(["echo", "--resume", str(folder)]) == 0
    assert json.loads((folder / "result.json").read_text())["command"] == result["command"]


def test_unknown_systems_exit_with_code_2():
    with pytest.raises(SystemExit) as exit_info:
        main(["nothing"])
    assert exit_info.value.code == 2


def test_the_command_without_a_name_runs_the_quick_four(monkeypatch):
    ran = []
    for system in SYSTEMS.values():
        monkeypatch.setattr(system, "main", lambda config, options, system=system: ran.append((system, config.seed)))
    assert main([]) == 0
    assert [system for system, _ in ran] == list(QUICK.values())
    ran.clear()
    assert main(["all", "--seed", "3"]) == 0
    assert ran == [(system, 3) for system in SYSTEMS.values()]
