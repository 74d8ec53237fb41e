"""The script for a short visit to a GPU, run here at a tiny size on the CPU: every part of it but the GPU's own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_agreement, gpu_check, gpu_times

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--out", str(out), "--device", "cpu", "--tiny"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    return json.loads((out / "gpu_check.json").read_text())


def test_it_says_where_it_ran(report):
    assert report["machine"]["platform"] == "cpu"
    assert {"jax", "jaxlib", "numpy"} <= report["versions"].keys()


def test_the_scan_agrees_with_float64(report):
    scan = [result for result in report["results"] if result["name"].startswith("correct scan")]
    assert len(scan) == 6
    assert all(result["close"] and 0 < result["values"] < result["tolerance"] for result in scan)


def test_what_needs_a_gpu_is_recorded_as_an_error_and_ends_nothing(report):
    kernels = [result for result in report["results"] if result.get("implementation") in ("pallas", "cudnn")]
    ours = [result for result in kernels if result.get("library") != "torch"]
    assert ours
    assert all("needs an NVIDIA GPU, the platform is cpu" in result["error"] for result in ours)


def test_every_case_is_there_once_and_the_scan_is_timed_in_all_its_ways(report):
    times = [result for result in report["results"] if result["kind"] == "time"]
    names = [result["name"] for result in times]
    expected = [f"time {case.name}" for case in gpu_times.cases(tiny=True) if case.implementation != "pallas"]
    assert names == expected
    assert len(set(names)) == len(names)
    assert all(result["milliseconds"] > 0 for result in times if result["implementation"] == "scan")


def test_no_time_no_work(tmp_path, capsys):
    assert (
        gpu_check.main(["--out", str(tmp_path), "--device", "cpu", "--tiny", "--minutes", "0", "--only", "scan"]) == 0
    )
    assert "the time is up before: correct scan" in capsys.readouterr().out
    assert json.loads((tmp_path / "gpu_check.json").read_text())["results"] == []


def test_a_wrong_result_is_the_exit_code(tmp_path, monkeypatch):
    monkeypatch.setitem(gpu_agreement.TOLERANCES, "float32", 1e-12)
    options = ["--out", str(tmp_path), "--device", "cpu", "--tiny", "--only", "correct scan float32 H=8 none"]
    assert gpu_check.main(options) == 1


def test_throughput_on_both(tmp_path):
    assert gpu_check.main(["--out", str(tmp_path), "--device", "cpu", "--tiny", "--cpu-vs-gpu"]) == 0
    epoch, *results = json.loads((tmp_path / "gpu_check.json").read_text())["results"]
    assert epoch["name"] == "epoch sentiment cpu"
    assert epoch["seconds"] > 0
    assert epoch["reviews"] == 40
    assert [(result["pass"], result["batch"]) for result in results] == [
        ("forward", 2),
        ("forward", 3),
        ("train", 2),
        ("train", 3),
    ]
    assert all(result["sequences_per_second"] > 0 for result in results)


def test_without_a_gpu_it_says_so(tmp_path, capsys):
    assert gpu_check.main(["--out", str(tmp_path)]) == 2
    assert "JAX finds no GPU" in capsys.readouterr().err
