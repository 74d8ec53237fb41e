"""The script for a short visit to a GPU, run here at a tiny size on the CPU: every part of it but the GPU's own."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import gpu_agreement, gpu_check, gpu_times
from benchmarks.command import exit_code
from benchmarks.shapes import TINY
from jaxlstm.errors import UserError
from jaxlstm.implementations import deciding_for

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


def called(tmp_path, *arguments):
    """The exit code, and the results in the file."""
    options = gpu_check.parse(["--out", str(tmp_path), "--device", "cpu", "--tiny", *arguments])
    return gpu_check.run(options), json.loads((tmp_path / "gpu_check.json").read_text())["results"]


def test_no_time_no_work(tmp_path, capsys):
    assert called(tmp_path, "--minutes", "0", "--only", "scan") == (0, [])
    assert "the time is up before: correct scan" in capsys.readouterr().out


def test_only_names_something(tmp_path):
    with pytest.raises(UserError, match=r"^--only: expected a part of the name of a result, got 'tiem'$"):
        called(tmp_path, "--only", "correct", "tiem")


def test_a_wrong_result_is_the_exit_code(tmp_path, monkeypatch):
    monkeypatch.setitem(gpu_agreement.TOLERANCES, "float32", 1e-12)
    code, results = called(tmp_path, "--only", "correct scan float32 B=3 H=8 none")
    assert code == 1
    assert [result["close"] for result in results] == [False]


def test_throughput_on_both(tmp_path):
    code, (epoch, *results) = called(tmp_path, "--cpu-vs-gpu")
    assert code == 0
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


def test_a_kernel_is_timed_where_it_was_right_at_the_next_larger_size_compared():
    def result(hidden, dtype="bfloat16", **found):
        return {"name": "correct pallas", "kind": "correct", "dtype": dtype, "shape": [1, 1, 1, hidden], **found}

    tried = [result(25, close=True), result(128, close=False), result(128, close=True), result(256, error="a fault")]
    tried.append({"name": "correct pallas", "kind": "correct", "error": "did not end"})
    tried.append(result(25, dtype="float32", close=True))

    def right(dtype):
        sizes = (20, 25, 128, 129, 256, 512)
        return [hidden for hidden in sizes if gpu_check.right_near({"hidden": hidden, "dtype": dtype}, tried)]

    assert right("bfloat16") == right("float16") == [20, 25, 128]
    assert right("float32") == [20, 25]
    timed = [item for item in gpu_check.selected(gpu_check.parse(["--out", "out"]), tried) if "pallas" in item.name]
    sizes = {(item.about["dtype"], item.about["hidden"]) for item in timed}
    half = {(dtype, hidden) for dtype in ("bfloat16", "float16") for hidden in (20, 25, 128)}
    assert sizes == half | {("float32", 20), ("float32", 25)}
    assert {item.about["kind"] for item in timed} == {"time"}


def test_each_kernel_has_a_process_of_its_own():
    names = [agreement.name for agreement in gpu_agreement.agreements(tiny=False)]
    of_kernels = [[name for name in names if name.startswith(kernel)] for kernel in gpu_check.KERNELS]
    assert sorted(itertools.chain(*of_kernels)) == sorted(name for name in names if "pallas" in name)
    assert all(of_kernels)
    assert len(set(names)) == len(names)


def test_what_an_earlier_call_left_is_not_taken_for_what_a_kernel_found(tmp_path, monkeypatch):
    (kernel, _), options = gpu_check.KERNELS, gpu_check.parse(["--out", str(tmp_path), "--device", "cpu", "--tiny"])
    earlier = tmp_path / kernel.replace(" ", "_") / "gpu_check.json"
    earlier.parent.mkdir()
    earlier.write_text('{"results": [{"name": "correct pallas", "close": true}]}')
    monkeypatch.setattr(gpu_check, "KERNEL_SECONDS", 0.01)
    (found,) = gpu_check.try_kernel(kernel, options)
    assert found == {"name": kernel, "kind": "correct", "error": "did not end within 0.01 seconds: "}


def test_one_wrong_sequence_among_many_is_seen():
    want = np.random.default_rng(0).standard_normal((400, 5, 8))
    got = want.copy()
    got[7] *= 1.01
    assert gpu_agreement.distance(got, want) < 1e-3
    assert gpu_agreement.distance_of_worst(got, want) == pytest.approx(0.01, rel=0.3)


def test_a_kernel_must_give_the_same_each_time(monkeypatch):
    monkeypatch.setattr(gpu_agreement, "KERNEL_RUNS", 2)
    agreement = gpu_agreement.Agreement("pallas", "bfloat16", TINY)
    with deciding_for("interpreter"):
        right = gpu_agreement.agree(agreement)
        same = gpu_agreement.same
        monkeypatch.setattr(gpu_agreement, "same", lambda a, b: same(a, jax.tree.map(lambda leaf: leaf + 1, b)))
        racing = gpu_agreement.agree(agreement)
    assert right["close"]
    assert right["steady"]
    assert racing == right | {"close": False, "steady": False}
    assert gpu_check.line_of({"name": "k", "kind": "correct"} | racing).endswith("WRONG, each time another result")


def test_it_runs_where_only_jax_and_numpy_are_installed(tmp_path):
    others = ("psutil", "tyro", "rich", "flax", "optax", "haiku", "equinox", "keras", "torch", "matplotlib", "sklearn")
    code = f"""
import sys
sys.modules.update(dict.fromkeys({others}))  # to import one is an ImportError
from benchmarks import gpu_check, machine
machine.installed = lambda package: package in ("jax", "jaxlib", "numpy")
options = gpu_check.parse(["--out", {str(tmp_path)!r}, "--device", "cpu", "--tiny", "--only", "scan float32"])
sys.exit(gpu_check.run(options))
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=300)
    results = json.loads((tmp_path / "gpu_check.json").read_text())["results"]
    assert {result["kind"] for result in results} == {"correct", "time"}
    assert not [result["error"] for result in results if "error" in result]


def test_without_a_gpu_it_says_so(tmp_path, capsys):
    assert exit_code(gpu_check.run, gpu_check.parse(["--out", str(tmp_path)])) == 2
    assert capsys.readouterr().err == "error: --device gpu: JAX finds no GPU, its device is cpu\n"
