"""The command of the benchmarks: what it measures, leaves out and writes."""

import json

import jax
import pytest
from benchmark_cases import call, made_up_results, made_up_row, prepare_of, stand_in

from benchmarks import __main__ as command
from benchmarks import measure, memory, results, rivals
from jaxlstm.errors import UserError


@pytest.fixture(autouse=True)
def _compilation_cache():
    before = jax.config.jax_enable_compilation_cache
    yield
    jax.config.update("jax_enable_compilation_cache", before)


def options(tmp_path, *shapes, **changes):
    defaults = {"shapes": shapes or ("cumsum",), "rivals": ("flax-linen",), "rounds": 2, "out": tmp_path}
    return command.Options(**(defaults | changes))


def rows_of(tmp_path):
    return [(row["shape"], row["pass"]) for row in results.load(tmp_path / "results.json")["rows"]]


def test_a_peer_that_is_not_installed_is_named_and_left_out(tmp_path, monkeypatch, capsys):
    prepare_of("flax-linen")
    monkeypatch.setattr(rivals, "installed", lambda package: package != "dm-haiku")
    assert command.run(options(tmp_path, rivals=("haiku", "flax-linen"))) == 0
    assert "haiku: left out, the package dm-haiku is not installed" in capsys.readouterr().out.splitlines()
    assert {row["rival"] for row in results.load(tmp_path / "results.json")["rows"]} == {"flax-linen"}


def test_a_shape_that_does_not_fit_is_skipped_with_a_line(tmp_path, monkeypatch, capsys):
    prepare_of("flax-linen")
    monkeypatch.setattr(memory, "free_bytes", lambda: 2**24)
    assert command.run(options(tmp_path, "large", "cumsum")) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    assert lines == ["large, forward: skipped, it needs about 0.438 GiB, 0.0156 GiB are free"]
    assert rows_of(tmp_path) == [("cumsum", "forward"), ("cumsum", "train")]


def test_an_interrupted_run_keeps_its_rows(tmp_path, monkeypatch, capsys):
    prepare_of("flax-linen")

    def interrupted_in_training(found, job, which, *arguments):
        if which == "train":
            raise KeyboardInterrupt
        return measure.measure(found, job, which, *arguments)

    monkeypatch.setattr(command, "measure", interrupted_in_training)
    assert command.run(options(tmp_path)) == 130
    assert "interrupted: the 1 rows measured so far are kept" in capsys.readouterr().out
    assert rows_of(tmp_path) == [("cumsum", "forward")]


def test_rivals_that_differ_end_in_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "load", lambda names: ({"flax-linen": stand_in(2.0)}, []))
    assert command.run(options(tmp_path)) == 1


def test_results_of_another_machine_are_refused(tmp_path, capsys):
    prepare_of("flax-linen")
    old = tmp_path / "old.json"
    results.save(made_up_results([made_up_row()]), old)
    with pytest.raises(UserError, match=r"--compare: .*old.json is from another machine: processor A there"):
        command.run(options(tmp_path, compare=old))
    assert not (tmp_path / "results.json").exists()
    assert command.run(options(tmp_path, compare=old, force=True)) == 0
    shown = capsys.readouterr().out
    assert f"warning: {old} is from another machine" in shown
    assert "0 rows compared" in shown


def test_the_quick_command(tmp_path):
    prepare_of("flax-linen")
    arguments = ("--shapes", "cumsum", "--rivals", "flax-linen", "--rounds", 1, "--out", tmp_path / "out")
    code, shown, errors = call(*arguments)
    assert code == 0, errors
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {"processor", "cores", "device", "threads", "date"} <= set(found["machine"])
    assert {"python", "jax", "jaxlib", "jaxlstm", "flax"} <= set(found["versions"])
    assert [(row["shape"], row["rival"], row["pass"]) for row in found["rows"]] == [
        ("cumsum", "flax-linen", "forward"),
        ("cumsum", "flax-linen", "train"),
    ]
    for row in found["rows"]:
        assert set(row) == set(results.ROW)
        assert row["ratio"] == pytest.approx(row["rival_milliseconds"] / row["milliseconds"], rel=1e-3)
        assert row["ratio_low"] == row["ratio"] == row["ratio_high"]  # of one round
        assert row["temporary_bytes"] > 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"results.json", "ratio.png"}
    assert "cumsum: batch 32, steps 10, inputs 1, hidden 20" in shown
    assert "…" not in shown  # nothing is cut at 80 columns

    again = (*arguments[:-1], tmp_path / "again", "--compare", tmp_path / "out" / "results.json")
    code, shown, errors = call(*again)
    assert code == 0, errors
    assert "2 rows compared" in shown
