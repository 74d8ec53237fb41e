"""The command line of the experiments: killed runs and resuming, presets, help, errors."""

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import ECHO, error_of, run
from damage import damage

from experiments import autoencoder, cumsum, echo, prices
from experiments.__main__ import interrupt_again
from experiments.command import main
from experiments.presets import named
from experiments.session import batch_size_for, begin, hold_to
from experiments.systems import EXPERIMENTS, QUICK, SYSTEMS
from jaxlstm.errors import UserError
from jaxlstm.runs import Run

pytestmark = pytest.mark.usefixtures("cache")

ROOT = Path(__file__).parent.parent


def python(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "experiments", *arguments], cwd=ROOT, env=environment, **options)


@pytest.mark.parametrize("system", [ECHO, ["cumsum", "--test-size", "30"]], ids=["echo", "cumsum"])
def test_a_killed_run_resumes_to_the_same_end(tmp_path, system):
    settings = [*system, "--epochs", "40", "--steps-per-epoch", "20", "--checkpoint-every", "1"]
    whole, expected = run(tmp_path, *settings)
    process = python(*settings, "--runs", str(tmp_path / "killed"), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("*/*/checkpoints/*.safetensors")):
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


def test_an_interrupt_that_python_would_drop_comes_again(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", interrupt_again)

    class Callback:
        def __del__(self):
            raise KeyboardInterrupt

    Callback()  # whose interrupt is lost at once
    with pytest.raises(KeyboardInterrupt):
        time.sleep(10)


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
    damage(folder / "checkpoints" / "4.safetensors")
    with pytest.warns(UserWarning, match=r"checkpoints/4\.safetensors: damaged"):
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
    line = error_of(capsys, "autoencoder", "--second-moment", "1", *runs)
    assert line == "error: --second-moment: expected 0 or more and less than 1, got 1.0"
    line = error_of(capsys, "echo_lengths", "--lengths", "5", "5", *runs)
    assert line == "error: --lengths: expected each of them once, got 5 5"
    line = error_of(capsys, "echo_lengths", "--forget-biases", "1", "1.0000001", *runs)
    assert line == "error: --forget-biases: expected each of them once, got 1 1"
    line = error_of(capsys, *ECHO, "--process", "1", *runs)
    assert line == "error: --process: expected --coordinator and --processes beside it, got 1 alone"
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
            for number in (0.0, math.nan):
                with pytest.raises(
                    UserError, match=f"^--{field.replace('_', '-')}: expected more than 0, got {number}$"
                ):
                    system.Config(**{field: number})


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
        capsys, *ECHO, "--epochs", "2", "--steps-per-epoch", "3", "--learning-rate", "1e38", "--runs", str(tmp_path)
    )
    assert line.startswith("error: the loss is inf at epoch 1, step 2;")
    assert line.endswith("last good checkpoint: none")


def test_what_is_no_run_is_named(tmp_path, capsys):
    assert "it has no readable config.json" in error_of(capsys, "echo", "--resume", str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    assert "expected settings by name, got list" in error_of(capsys, "echo", "--resume", str(tmp_path))
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


@pytest.mark.parametrize("system", ["langid", "sentiment", "charlm"])
def test_a_run_to_ask_is_not_resumed_beside(tmp_path, capsys, system):
    question = [] if system == "charlm" else ["--predict", "a word"]
    Run.create(tmp_path, system, EXPERIMENTS[system].Config())
    (folder,) = (tmp_path / system).iterdir()
    line = error_of(capsys, system, *question, "--from", str(folder), "--resume", str(folder))
    assert line == "error: --resume and --from: expected one of them, a run to go on with or a finished one to ask"


def test_a_run_is_held_to_its_data(tmp_path):
    run = Run.create(tmp_path, "echo", echo.Config())
    for _ in range(2):
        hold_to(run, "texts", ["one", np.arange(3)])
    with pytest.raises(UserError, match=r"^--resume: other texts: not what .* has learnt from, or changed since$"):
        hold_to(run, "other texts", ["one", np.arange(4)])


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


def test_a_misspelt_option_is_told_the_options_of_its_system_alone(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["sentiment", "--epoch", "3"])
    assert exit_info.value.code == 2
    text = capsys.readouterr().err
    assert "--epochs INT" in text
    assert "python -m experiments sentiment --help" in text
    assert "cumsum" not in text


def test_the_command_without_a_name_runs_the_quick_four(monkeypatch):
    ran = []
    for system in SYSTEMS.values():
        monkeypatch.setattr(system, "main", lambda config, options, system=system: ran.append((system, config.seed)))
    assert main([]) == 0
    assert [system for system, _ in ran] == list(QUICK.values())
    ran.clear()
    assert main(["all", "--seed", "3"]) == 0
    assert ran == [(system, 3) for system in SYSTEMS.values()]


def test_a_run_that_is_not_finished_is_named(tmp_path, capsys):
    folder = Run.create(tmp_path, "echo", echo.Config()).folder
    line = error_of(capsys, "export", str(folder))
    assert line == f"error: {folder}: expected a finished run, it has no parameters.safetensors; --resume continues it"
    assert not (folder / "export").exists()


def test_a_path_is_printed_as_it_is(tmp_path, capsys):
    run(tmp_path / "a [bold] [/x]", *ECHO, "--epochs", "1", "--steps-per-epoch", "1")
    assert str(tmp_path / "a [bold] [/x]" / "runs" / "echo") in capsys.readouterr().out


def test_what_is_drawn_is_in_float32_where_jax_has_float64():
    with jax.enable_x64(True):
        sums, _ = cumsum.draw(jax.random.key(0), 3, 5, True, uneven=0.5)
        market = prices.draw(jax.random.key(0), 3, prices.Config(days=9))
        assert {sums.dtype, market.returns.dtype, echo.one_hot(jnp.arange(3), 4).dtype} == {jnp.dtype(jnp.float32)}


def test_a_text_to_ask_about_has_a_word(tmp_path, capsys):
    line = error_of(capsys, "langid", "--predict", " ", "--from", str(tmp_path))
    assert line == "error: --predict: expected a text with at least one word, got none"
