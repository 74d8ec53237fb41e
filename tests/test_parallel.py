"""Eight devices and two processes train as one device does; a process that is killed is named by the other."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_classifier
from train_classifier import Settings

from experiments.command import main
from jaxlstm import init_lstm, lstm, parallel, processes
from jaxlstm.checkpoint import Checkpoints

ROOT = Path(__file__).parent.parent
ECHO = ["echo", "--length", "9", "--num-symbols", "6", "--hidden-size", "5", "--test-size", "30"]
SHORT = ["--epochs", "2", "--steps-per-epoch", "3", "--checkpoint-every", "1"]
LOST = f"error: {processes.LOST}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parallel")


@pytest.fixture(scope="module")
def one_device():
    """The summaries of one device: resident data, generated data."""
    settings = Settings(epochs=5), Settings("generated", epochs=4, epochs_per_call=2)
    return [train_classifier.summary(train_classifier.train(each)) for each in settings]


@pytest.fixture(scope="module")
def eight_devices(folder):
    """The summaries of several trainings in a program with eight devices, which leaves its compiled code."""
    runs = [
        Settings("resident", epochs=4, devices=8, checkpoints=str(folder / "eight")),
        Settings("stream", epochs=5, devices=2, checkpoints=str(folder / "eight")),
        Settings("generated", epochs=4, epochs_per_call=2, devices=4),
        Settings(batch_size=12, devices=8),
        Settings("stream", batch_size=12, devices=8),
        Settings(devices=9, result=str(folder / "eight.json")),
    ]
    flags = f"--xla_dump_to={folder} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=jit_run"
    process = start(runs, XLA_FLAGS=flags, JAX_ENABLE_COMPILATION_CACHE="false")
    assert process.communicate(timeout=200)[1] == ""
    return json.loads((folder / "eight.json").read_text())


def python(*arguments, **environment):
    """A program beside this one."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def start(runs, **environment):
    """A program that trains with these settings, one after the other."""
    return python(train_classifier.__file__, json.dumps([each._asdict() for each in runs]), **environment)


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def start_two(folder, *runs):
    """Two processes of one device each; each has a folder of its own."""
    common = {"devices": 1, "coordinator": free_address(), "processes": 2}
    return [
        start(
            [
                each._replace(
                    **common, process=index, checkpoints=str(folder / str(index)), result=str(folder / f"{index}.json")
                )
                for each in runs
            ]
        )
        for index in range(2)
    ]


def assert_same(actual, expected):
    """Losses, accuracies and parameters to 1e-6, relative, over the epochs that `actual` has."""
    assert 0 < len(actual["rows"]) <= len(expected["rows"])
    for ours, theirs in zip(actual["rows"], expected["rows"], strict=False):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-7)
    if len(actual["rows"]) == len(expected["rows"]):
        assert actual["parameters"] == pytest.approx(expected["parameters"], rel=1e-6)


def test_eight_devices_give_the_losses_of_one(eight_devices, one_device):
    assert len(eight_devices[0]["rows"]) == 4
    assert_same(eight_devices[0], one_device[0])


def test_a_checkpoint_of_eight_devices_resumes_as_a_stream_on_two_and_on_one(eight_devices, one_device, folder):
    assert_same(eight_devices[1], one_device[0])
    resumed = train_classifier.train(Settings(epochs=5, checkpoints=str(folder / "eight")))
    assert train_classifier.summary(resumed) == eight_devices[1]


def test_generated_batches_on_four_of_eight_devices_and_two_epochs_in_a_call(eight_devices, one_device):
    assert_same(eight_devices[2], one_device[1])


def test_batch_sizes_that_the_devices_do_not_divide(eight_devices):
    expected = {"error": "batch size: expected a multiple of 8, the number of devices, got 12"}
    assert eight_devices[3] == eight_devices[4] == expected


def test_more_devices_than_there_are(eight_devices):
    assert eight_devices[5] == {"error": "devices: expected at most 8, what JAX has started with, got 9"}
    with pytest.raises(ValueError, match="devices: expected at least 1, got 0"):
        parallel.make_mesh(0)


def test_gradients_are_summed_in_one_exchange_outside_of_the_loops_over_time(eight_devices, folder):
    module = sorted(folder.glob("*jit_run*cpu_after_optimizations.txt"))[0].read_text()
    collective = r" = (.*) (?:all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
    found = [
        (match[1], computation)
        for computation in module.split("\n\n")
        for match in re.finditer(collective, computation)
    ]
    # The count of the mask's entries goes ahead of the rest: the loss is divided by it.
    shapes = sorted((shape for shape, _ in found), key=len)
    assert len(shapes) == 2
    assert shapes[0].startswith("s32[]")
    assert all(size in shapes[1] for size in ("f32[12,4]", "f32[4,20]", "f32[5,20]", "f32[20]", "f32[1,5]"))
    assert not re.search(r"\[\d+,\d+,\d+\]", shapes[1])  # nothing that still has a step or a sequence
    assert all(" while(" in computation for _, computation in found)  # beside the loops over time, not in one


def test_a_mesh_in_force_changes_no_lstm():
    params = init_lstm(jax.random.key(0), 3, 4)
    xs = jax.random.normal(jax.random.key(1), (2, 5, 3))
    expected = lstm(params, xs)
    with jax.set_mesh(parallel.make_mesh(1)):
        for batch in (xs, xs[0]):
            state, ys = lstm(params, batch)
            np.testing.assert_allclose(ys, expected[1] if batch.ndim == 3 else expected[1][0], rtol=1e-6)
            assert state.h.shape == (*batch.shape[:-2], 4)


def test_several_processes_need_a_mesh(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="mesh: expected one over the 2 processes, got None"):
        train_classifier.train(Settings())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("10.0.0.1", 2, 0), "coordinator: expected HOST:PORT, got '10.0.0.1'"),
        (("10.0.0.1:1234", 2, 2), "process: expected 0 to 1, one of 2, got 2"),
    ],
)
def test_addresses_and_numbers_of_processes_are_checked(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        processes.connect(*arguments)


def test_two_processes_give_the_losses_of_one_and_the_first_one_writes(folder, one_device):
    both = start_two(folder / "two", Settings(epochs=2), Settings("stream", epochs=5))
    (folder / "two").mkdir()
    for process in both:
        assert process.communicate(timeout=200)[1] == ""
        assert process.returncode == 0
    first, second = (json.loads((folder / "two" / f"{index}.json").read_text()) for index in range(2))
    assert first == second
    assert [len(summary["rows"]) for summary in first] == [2, 5]  # the second goes on where the first ended
    for summary in first:
        assert_same(summary, one_device[0])
    assert Checkpoints(folder / "two" / "0").epochs() == [3, 4, 5]
    assert not (folder / "two" / "1").exists()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_is_named_by_the_other_and_the_run_resumes(tmp_path, one_device, victim):
    both = start_two(tmp_path, Settings(epochs=100, pause=0.5))
    checkpoints = Checkpoints(tmp_path / "0")
    deadline = time.monotonic() + 120
    while not checkpoints.epochs():
        assert all(process.poll() is None for process in both), "one ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    both[victim].send_signal(signal.SIGKILL)
    survivor = both[1 - victim]
    assert survivor.communicate(timeout=60)[1] == LOST + "\n"
    assert survivor.returncode != 0
    both[victim].communicate()
    saved = checkpoints.epochs()[-1]
    assert saved < 5
    resumed = train_classifier.train(Settings(epochs=5, checkpoints=str(checkpoints.folder)))
    assert_same(train_classifier.summary(resumed), one_device[0])


PROGRAM = """
import os, sys
from jaxlstm import processes
processes._filter_native_output()
sys.stderr.write("error: ")
os.write(2, b"E1126 17:55:42.084514    6009 coordination_service_agent.cc:289] Polled an error\\n")
sys.stderr.write("ours\\n")
"""


def test_a_native_line_does_not_come_amid_one_of_ours():
    assert python("-c", PROGRAM, PYTHONUNBUFFERED="1").communicate(timeout=60)[1] == "error: ours\n"


def test_what_only_some_errors_say_is_a_lost_process(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(processes.LostProcessError, match=processes.LOST), processes.lost_processes_named():
        raise ValueError("UNKNOWN: Gloo all-reduce failed: Connection reset by peer")
    with pytest.raises(ValueError, match="anything else"), processes.lost_processes_named():
        raise ValueError("anything else")


def test_derivatives_through_the_split_recurrence_are_those_without():
    params = init_lstm(jax.random.key(0), 3, 4)
    xs = jax.random.normal(jax.random.key(1), (2, 5, 3))

    def value(params, scale):
        return jnp.sum(lstm(params, scale * xs)[1] ** 2)

    def derivatives():
        gradient = jax.grad(value)(params, 1.0)
        return gradient, jax.jvp(lambda scale: jax.grad(value)(params, scale), (1.0,), (1.0,))

    expected = derivatives()
    with jax.set_mesh(parallel.make_mesh(1)):
        assert jax.sharding.get_abstract_mesh().shape == {"batch": 1}
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), derivatives(), expected)


def experiment(tmp_path, name, *arguments):
    """`python -m experiments` with runs in a folder of that name."""
    return python("-m", "experiments", *arguments, "--runs", str(tmp_path / name))


def rows_in(folder):
    """The metrics of the only run in a folder."""
    (metrics,) = folder.glob("echo/*/metrics.jsonl")
    return [json.loads(line) for line in metrics.read_text().splitlines()]


@pytest.fixture(scope="module")
def echo_rows(folder):
    assert main([*ECHO, *SHORT, "--runs", str(folder / "echo")]) == 0
    return rows_in(folder / "echo")


def test_an_experiment_on_two_devices(tmp_path, echo_rows):
    process = experiment(tmp_path, "runs", *ECHO, *SHORT, "--devices", "2")
    assert process.communicate(timeout=120)[1] == ""
    for ours, theirs in zip(rows_in(tmp_path / "runs"), echo_rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6)


def test_an_experiment_in_two_processes_leaves_one_folder_and_resumes(tmp_path, echo_rows):
    def run_both(*arguments):
        common = [*arguments, "--coordinator", free_address(), "--processes", "2", "--process"]
        both = [experiment(tmp_path, str(index), *common, str(index)) for index in range(2)]
        outputs = [process.communicate(timeout=120) for process in both]
        assert [process.returncode for process in both] == [0, 0]
        assert [errors for _, errors in outputs] == ["", ""]
        assert "original" in outputs[0][0]
        assert "echo" not in outputs[1][0]
        assert not (tmp_path / "1").exists()
        for ours, theirs in zip(rows_in(tmp_path / "0"), echo_rows, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6)

    run_both(*ECHO, *SHORT)
    (folder,) = (tmp_path / "0" / "echo").iterdir()
    (folder / "checkpoints" / "2.safetensors").unlink()
    (folder / "metrics.jsonl").unlink()
    run_both("echo", "--resume", str(folder))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices", "3"], "--devices: expected at most 1, what JAX has started with, got 3"),
        (["--processes", "2"], "--coordinator and --processes: expected both, "),
        (["--coordinator", "here", "--processes", "2"], "--coordinator: expected HOST:PORT, got 'here'"),
    ],
)
def test_bad_options_of_an_experiment_are_named(tmp_path, capsys, arguments, message):
    assert main([*ECHO, *arguments, "--runs", str(tmp_path / "runs")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {message}")
    assert not (tmp_path / "runs").exists()


def test_a_batch_size_that_the_devices_do_not_divide_leaves_no_run(tmp_path):
    process = experiment(tmp_path, "runs", *ECHO, "--devices", "3")
    line = "error: --batch-size: expected a multiple of 3, the number of devices, got 64\n"
    assert process.communicate(timeout=120)[1] == line
    assert process.returncode == 2
    assert not (tmp_path / "runs").exists()
