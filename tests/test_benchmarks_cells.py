"""The benchmarks of cells: the same cells in Flax agree, and the commands leave what they say."""

import json

import pytest

pytest.importorskip("flax")

from benchmarks import cells, checkpointing
from benchmarks.flax_cells import CELLS
from benchmarks.programs import PASSES
from benchmarks.shapes import SHAPES, Shape
from jaxlstm.errors import UserError

SMALL = Shape(2, 3, 4, 6)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(SHAPES, "small", SMALL)


def test_every_cell_is_the_one_in_flax(tmp_path):
    options = cells.Options(shapes=("small",), regularised=(), rounds=1, seconds=0, out=tmp_path / "cells.json")
    cells.run(options)  # which raises where they do not agree
    rows = json.loads(options.out.read_text())["rows"]
    assert [(row["cell"], row["pass"]) for row in rows] == [(name, which) for name in CELLS for which in PASSES]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["rival_milliseconds"] / row["milliseconds"], rel=1e-3)
        assert row["ratio_low"] == row["ratio"] == row["ratio_high"]  # of one round


def test_cells_that_differ_are_not_timed(monkeypatch):
    monkeypatch.setitem(CELLS, "coupled", CELLS["no-forget-gate"]._replace(cell=CELLS["coupled"].cell))
    with pytest.raises(UserError, match=r"^coupled: jaxlstm and Flax differ by [01]\.?\d*$"):
        cells.against_flax("coupled", SMALL, cells.Options())


def test_regularisation_is_timed_against_none():
    rows = cells.regularised("gru", SMALL, cells.Options(rounds=1, seconds=0))
    assert [row["with"] for row in rows] == list(cells.REGULARISATIONS)
    for row in rows:
        assert row["ratio"] == pytest.approx(row["milliseconds"] / row["milliseconds_without"], rel=1e-3)


def test_checkpointing_saves_memory(tmp_path):
    path = tmp_path / "checkpointing.json"
    checkpointing.run(checkpointing.Options(batch=4, steps=256, size=16, every=(16,), rounds=1, seconds=0, out=path))
    whole, segments = json.loads(path.read_text())["rows"]
    assert (whole["checkpoint_every"], segments["checkpoint_every"]) == (None, 16)
    assert segments["temporary_bytes"] < 0.5 * whole["temporary_bytes"]
