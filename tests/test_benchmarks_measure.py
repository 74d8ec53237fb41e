"""Rows say what was measured; what differs, or does not fit, is left out with a line."""

import numpy as np
import pytest
from benchmark_cases import SMALL, made_up_results, made_up_row, stand_in

from benchmarks import measure, memory, programs, results
from benchmarks.ours import Setting
from benchmarks.shapes import SHAPES, Shape
from jaxlstm.errors import UserError


def measured(rival, which, lines):
    found = made_up_results()
    job = measure.Job("small", SMALL, (which,), ("stand-in",), rounds=3, most_seconds=60)
    unequal = measure.measure(found, job, which, {"stand-in": rival}, Setting(), lines.append)
    return found, unequal


def test_rows_have_the_form_of_the_results(monkeypatch):
    turns = {"jaxlstm": np.array([1.0, 2.0, 4.0]), "stand-in": np.array([3.0, 4.0, 4.0])}
    monkeypatch.setattr(measure, "in_turns", lambda runs, rounds, most_seconds: turns)
    lines = []
    found, unequal = measured(stand_in(), "train", lines)
    assert (unequal, lines) == ([], [])
    (row,) = found["rows"]
    assert tuple(row) == results.ROW
    assert row["temporary_bytes"] > 0
    expected = {
        "shape": "small",
        "rival": "stand-in",
        "pass": "train",
        "implementation": "default",
        "dtype": "float32",
        "milliseconds": 2000.0,
        "rival_milliseconds": 4000.0,
        "ratio": 2.0,  # of 3, 2 and 1, the ratios of the rounds
        "ratio_low": 1.5,
        "ratio_high": 2.5,
        "temporary_bytes": row["temporary_bytes"],
    }
    assert row == expected
    assert [entry["library"] for entry in found["programs"]] == ["jaxlstm", "stand-in"]
    assert all(entry["first_call_milliseconds"] > 0 for entry in found["programs"])
    assert found["programs"][0]["temporary_bytes"] == row["temporary_bytes"]
    assert [found["programs"][0][field] for field in Shape._fields] == list(SMALL)


@pytest.mark.parametrize(("rival", "which"), [(stand_in(1.0001), "forward"), (stand_in(1, 1.0001), "train")])
def test_a_rival_that_computes_something_else_is_not_timed(rival, which):
    lines = []
    found, unequal = measured(rival, which, lines)
    assert unequal == ["stand-in"]
    assert found["rows"] == []
    assert [entry["library"] for entry in found["programs"]] == ["jaxlstm"]
    assert len(lines) == 1
    assert f"small, {which}: stand-in left out, its outputs differ from those of jaxlstm by 0.0001" in lines[0]


def test_a_failed_allocation_is_named():
    def prepare(problem, which):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    lines = []
    found, unequal = measured(prepare, "forward", lines)
    assert (found["rows"], unequal) == ([], [])
    assert lines == ["small, forward: stand-in left out, an allocation failed"]


def test_another_error_of_a_rival_is_not_hidden():
    def prepare(problem, which):
        raise RuntimeError("a fault of its own")

    with pytest.raises(RuntimeError, match="a fault of its own"):
        measured(prepare, "forward", [])


def test_a_program_too_large_for_the_memory_does_not_run(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 100)
    with pytest.raises(memory.DoesNotFitError, match=r"it needs about .* GiB, 9\.31e-08 GiB are free"):
        Setting().prepare(programs.draw_problem(SMALL), "train")


def test_what_training_holds_is_at_least_what_jaxlstm_needs():
    program = Setting().prepare(programs.draw_problem(SHAPES["echo"]), "train")
    assert program.temporary_bytes < memory.training_bytes(SHAPES["echo"])


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "results.json"
    results.save(made_up_results([made_up_row()]), path)
    assert results.load(path)["rows"] == [made_up_row()]
    with pytest.raises(TypeError):
        results.save({"rows": [object()]}, path)
    assert results.load(path)["rows"] == [made_up_row()]
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize("text", ["[]", '{"machine": {}}', '{"machine": {}, "rows": [{"ratio": 1}]}'])
def test_a_file_that_holds_no_results_is_named(text, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"old\.json: expected a result file of these benchmarks"):
        results.load(path)
