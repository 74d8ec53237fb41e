"""Options that cannot be used end every command of the benchmarks with one line and exit code 2."""

import sys

import pytest
from benchmark_cases import ROOT

from benchmarks import command
from benchmarks.shapes import SHAPES
from jaxlstm.errors import UserError

SHAPE_NAMES = ", ".join(SHAPES)
CELLS = "lstm, peephole, coupled, no-forget-gate, layer-norm, projected, gru, slstm"
RIVALS = "flax-linen, flax-nnx, haiku, equinox, keras, torch, floor"
NO_RESULTS = "expected a result file of these benchmarks"
NO_FOLDER = "--out: expected a folder that can be written, got pyproject.toml: File exists"
ERRORS = [
    ("__main__", "--shapes huge", f"--shapes: expected some of {SHAPE_NAMES}, got huge"),
    ("__main__", "--rivals mxnet", f"--rivals: expected some of {RIVALS}, got mxnet"),
    ("__main__", "--rounds 0", "--rounds: expected at least 1, got 0"),
    ("__main__", "--devices 0", "--devices: expected at least 1, got 0"),
    ("__main__", "--device gpu", "--device gpu: JAX finds no GPU, its device is cpu"),
    ("__main__", "--compare absent.json", f"absent.json: {NO_RESULTS}: No such file or directory"),
    ("__main__", "--compare pyproject.toml", f"pyproject.toml: {NO_RESULTS}, it is not JSON"),
    ("__main__", "--out pyproject.toml", NO_FOLDER),
    ("cells", "--out tests", "--out: expected a file, got the folder tests"),
    ("cells", "--cells rnn", f"--cells: expected some of {CELLS}, got rnn"),
    ("cells", "--regularised rnn", f"--regularised: expected some of {CELLS}, got rnn"),
    ("cells", "--rounds 0", "--rounds: expected at least 1, got 0"),
    ("checkpointing", "--out pyproject.toml/checkpointing.json", NO_FOLDER),
    ("checkpointing", "--cell rnn", f"--cell: expected one of {CELLS}, got rnn"),
    ("checkpointing", "--steps 0", "--steps: expected at least 1, got 0"),
    ("checkpointing", "--every 4 0", "--every: expected at least 1, got 0"),
    ("dropin", "--out pyproject.toml/dropin.json", NO_FOLDER),
    ("dropin", "--shapes huge", f"--shapes: expected some of {SHAPE_NAMES}, got huge"),
    ("dropin", "--libraries haiku", "--libraries: expected some of flax-linen, flax-nnx, got haiku"),
    ("end_to_end", "--tasks echo", "--tasks: expected some of sentiment, cumsum, got echo"),
    ("end_to_end", "--updates 0", "--updates: expected at least 1, got 0"),
    ("gpu_compile", "--shapes huge", f"--shapes: expected some of {SHAPE_NAMES}, got huge"),
    ("int8", "--langid a --sentiment b --out pyproject.toml", NO_FOLDER),
    ("int8", "--langid a --sentiment b --parts size", "--parts: expected some of speed, accuracy, got size"),
    ("latency", "--libraries flax-linen --out pyproject.toml/latency.json", NO_FOLDER),
    ("latency", "--libraries haiku", "--libraries: expected some of flax-linen, keras, torch, got haiku"),
    ("latency", "--sizes 0", "--sizes: expected at least 1, got 0"),
    ("scaling", "--devices 1 --out pyproject.toml/scaling.json", NO_FOLDER),
    ("scaling", "--shapes huge", f"--shapes: expected some of {SHAPE_NAMES}, got huge"),
    ("scaling", "--devices", "--devices: expected one number at least"),
    ("scaling", "--devices 99", "--devices: expected at most 1, what JAX has started with, got 99"),
    ("to_target", "--out pyproject.toml/to_target.json", NO_FOLDER),
    ("to_target", "--systems rnn", "--systems: expected some of echo, cumsum, autoencoder, langid, sentiment, got rnn"),
]


@pytest.mark.parametrize(("name", "arguments", "line"), ERRORS)
def test_an_error_is_one_line(name, arguments, line, monkeypatch, capsys):
    module = pytest.importorskip(f"benchmarks.{name}")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments.split()])
    assert command.call(module.run, module.Options, "benchmarks") == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"error: {line}\n")


def test_exit_codes(tmp_path, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    def unwritable(options):
        (tmp_path / "absent" / "file").touch()

    assert command.exit_code(unwritable, ()) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/absent/file: No such file or directory\n"
    assert command.exit_code(lambda options: None, ()) == 0
    assert command.exit_code(lambda options: 1, ()) == 1
    assert command.exit_code(interrupted, ()) == 130
    assert capsys.readouterr().err == "interrupted: the results written so far are kept\n"


def test_an_implementation_that_cannot_run_is_an_error():
    from benchmarks import ours, programs, shapes

    with pytest.raises(UserError, match=r"^--implementation: 'pallas' needs an NVIDIA GPU, the platform is cpu$"):
        ours.Setting("pallas").prepare(programs.draw_problem(shapes.TINY), "forward")
