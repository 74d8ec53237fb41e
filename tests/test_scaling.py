"""The scaling benchmark's rows, and the formulas of what is exchanged against a ring walked step by step."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import communication, scaling
from benchmarks.shapes import SHAPES
from jaxlstm import models
from jaxlstm.errors import UserError


def test_a_step_on_one_device_is_measured_and_kept(tmp_path, capsys):
    out = tmp_path / "scaling.json"
    scaling.run(scaling.Options(("cumsum",), (1,), rounds=5, seconds=0.0, out=out))
    (row,) = json.loads(out.read_text())["rows"]
    assert row.items() >= {"shape": "cumsum", "devices": 1, "speedup": 1.0, **SHAPES["cumsum"]._asdict()}.items()
    assert row["sequences_per_second"] == pytest.approx(1e3 * row["batch"] / row["milliseconds"], rel=1e-3)
    assert "cumsum" in capsys.readouterr().out


def test_devices_that_do_not_divide_the_batch_are_named(tmp_path):
    with pytest.raises(UserError, match=r"^--devices: expected divisors of 32, the batch of cumsum, got 3$"):
        scaling.measure({"rows": []}, "cumsum", SHAPES["cumsum"], scaling.Options(devices=(1, 3)))


def test_the_committed_rows_are_those_of_the_table():
    root = Path(__file__).parent.parent
    rows = json.loads((root / "benchmarks" / "results" / "cpu_scaling.json").read_text())["rows"]
    table = (root / "docs" / "many_devices.md").read_text()
    assert [row["devices"] for row in rows] == [1, 2, 1, 2, 1, 2]
    for row in rows[1::2]:
        assert f"{row['speedup']:.2f} | {row['speedup_low']:.2f} to {row['speedup_high']:.2f} |" in table


@pytest.mark.parametrize("devices", [2, 8])
def test_what_a_ring_sends(devices):
    """Every device passes on one part of n at a time, until each has every part's sum."""
    model = communication.MODELS[0]
    held = np.arange(devices * devices).reshape(devices, devices)  # [device, part]
    total, messages, parts_sent = held.sum(axis=0), 0, 0
    for step in range(2 * (devices - 1)):
        sending = [(device, (device - step) % devices) for device in range(devices)]
        values = [held[place] for place in sending]
        for (device, part), value in zip(sending, values, strict=True):
            neighbour = (device + 1) % devices
            held[neighbour, part] = value + (held[neighbour, part] if step < devices - 1 else 0)
        messages, parts_sent = messages + 1, parts_sent + 1
    np.testing.assert_array_equal(held, np.tile(total, (devices, 1)))
    size = communication.BYTES * communication.parameters(model)
    assert communication.sent(model, devices) == pytest.approx(parts_sent * size / devices)
    seconds = parts_sent * size / devices / 1e9 + messages * communication.LATENCY
    assert communication.seconds(model, devices, 1e9) == pytest.approx(seconds)


def test_parameters_are_those_of_the_model():
    model = communication.MODELS[0]
    params = jax.eval_shape(
        lambda key: models.init_classifier(
            key, model.inputs, model.hidden, model.labels, vocabulary_size=model.vocabulary
        ),
        jax.random.key(0),
    )
    assert communication.parameters(model) == sum(leaf.size for leaf in jax.tree.leaves(params))
