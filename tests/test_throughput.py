"""The picture of sequences per second on CPU and GPU, from a file such as `gpu_check --cpu-vs-gpu` leaves."""

import json

import pytest

from benchmarks.command import exit_code
from benchmarks.throughput import Options, run, speed_by_batch, throughput, wins_from

ROWS = [
    {
        "kind": "throughput",
        "pass": which,
        "device": device,
        "batch": batch,
        "hidden": hidden,
        "steps": 64,
        "sequences_per_second": batch * speed if device == "gpu" else 100.0,
    }
    for which, speed in (("forward", 30.0), ("train", 10.0))
    for device in ("cpu", "gpu")
    for batch in (8, 1, 2)
    for hidden in (32, 128)
]
MACHINE = {"device": "a card", "cores": 4, "date": "2026-01-01T00:00:00"}


def file_of(folder, rows):
    path = folder / "gpu_check.json"
    path.write_text(json.dumps({"machine": MACHINE, "versions": {"jax": "0.10"}, "results": rows}))
    return path


def test_the_batch_from_which_on_the_gpu_is_faster():
    cpu = {1: 10.0, 2: 10.0, 4: 10.0, 8: 10.0}
    assert wins_from(cpu, {1: 1.0, 2: 11.0, 4: 12.0, 8: 13.0}) == 2
    assert wins_from(cpu, {1: 11.0, 2: 10.0, 4: 12.0, 8: 13.0}) == 4
    assert wins_from(cpu, {1: 11.0, 2: 11.0, 4: 12.0, 8: 9.0}) is None
    assert speed_by_batch(ROWS, "train", "gpu", 128) == {1: 10.0, 2: 20.0, 8: 80.0}


def test_the_picture_has_a_line_for_each_device_and_size_and_circles_where_the_gpu_wins(tmp_path):
    forward, train = throughput(file_of(tmp_path, ROWS)).axes
    labels = ["H = 32, CPU", "H = 32, GPU", "H = 128, CPU", "H = 128, GPU"]
    assert [line.get_label() for line in forward.lines] == labels
    assert list(forward.lines[1].get_ydata()) == [30.0, 60.0, 240.0]
    circles = [tuple(spot.get_offsets()[0]) for spot in forward.collections]
    assert circles == [(8, 240.0), (8, 240.0)]
    assert not train.collections


def test_the_command_writes_the_picture_beside_the_file(tmp_path):
    path = file_of(tmp_path, ROWS)
    run(Options(path))
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("rows", [[row for row in ROWS if row["device"] == "cpu"], [{}], None])
def test_a_file_without_both_devices_is_one_line(tmp_path, capsys, rows):
    path = file_of(tmp_path, rows)
    assert exit_code(run, Options(path)) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {path}: expected")
    assert printed.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["gpu_check.json"]
