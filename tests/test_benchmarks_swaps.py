"""The benchmarks of a model with its RNN replaced, and of one step for serving."""

import json

import jax
import numpy as np
import pytest

pytest.importorskip("psutil", reason="the benchmarks read the free memory with psutil, from the extra bench")
pytest.importorskip("flax", reason="Flax is not installed: there is nothing to replace")

from benchmarks import dropin, latency
from benchmarks.results import ROW
from jaxlstm.errors import UserError


def test_both_models_are_timed(tmp_path):
    dropin.run(dropin.Options(shapes=("cumsum",), rounds=1, seconds=0.01, out=tmp_path / "dropin.json"))
    rows = json.loads((tmp_path / "dropin.json").read_text())["rows"]
    assert [(row["rival"], row["pass"]) for row in rows] == [
        (library, which) for library in ("flax-linen", "flax-nnx") for which in ("forward", "train")
    ]
    for row in rows:
        assert set(ROW) <= set(row)
        assert row["ratio"] == pytest.approx(row["rival_milliseconds"] / row["milliseconds"], rel=1e-3)
        assert row["ratio_low"] == row["ratio"] == row["ratio_high"]  # of one round
        assert min(row["temporary_bytes"], row["rival_temporary_bytes"]) > 0


@pytest.mark.parametrize("which", ["forward", "train"])
def test_a_model_that_computes_something_else_is_not_timed(which, monkeypatch, tmp_path):
    class Slightly(dropin.nn.RNN):
        def __call__(self, *arguments, **options):
            (c, h), ys = super().__call__(*arguments, **options)
            return (c, 1.001 * h), ys

    monkeypatch.setitem(dropin.SWAPS, "flax-linen", dropin.SWAPS["flax-linen"]._replace(ours=Slightly))
    with pytest.raises(UserError, match=f"cumsum, {which}: the model differs from that of flax-linen by"):
        dropin.measure("cumsum", "flax-linen", which, dropin.Options(rounds=1))


def test_one_step_in_every_library(tmp_path):
    latency.run(latency.Options(sizes=(7,), rounds=1, out=tmp_path / "latency.json"))
    rows = json.loads((tmp_path / "latency.json").read_text())["rows"]
    assert {"jaxlstm", "flax-linen"} <= {row["library"] for row in rows}
    assert {(row["hidden"], row["calls"]) for row in rows} == {(7, latency.CALLS - latency.WARM_UP)}


def test_of_the_calls_of_all_rounds_the_row_has_the_median_and_the_99th_percentile(monkeypatch):
    turns = iter([1e-6 * np.arange(51), 1e-6 * np.arange(51, 101)])
    monkeypatch.setattr(latency, "turn", lambda serving, xs: next(turns))
    (row,) = latency.measure(7, (), 2)
    assert (row["microseconds"], row["microseconds_99th_percentile"]) == (50, 99)


def test_a_library_whose_states_differ_is_not_timed(monkeypatch):
    def slightly(params):
        return latency.flax_linen(jax.tree.map(lambda leaf: 1.001 * leaf, params))

    monkeypatch.setitem(latency.LIBRARIES, "flax-linen", (slightly, "flax"))
    with pytest.raises(UserError, match="flax-linen: its states differ from those of jaxlstm by"):
        latency.measure(7, ("flax-linen",), 1)
