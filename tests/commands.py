"""Runs a command of the experiments as a user would, and looks at what it leaves and says."""

import json

from experiments.command import main

ECHO = ["echo", "--length", "8", "--num-symbols", "6", "--hidden-size", "5", "--test-size", "30"]  # a small run


def run(tmp_path, *arguments):
    """Runs a command and returns the folder it leaves, with its result.json."""
    assert main([*arguments, "--runs", str(tmp_path / "runs")]) == 0
    (folder,) = (tmp_path / "runs" / arguments[0]).iterdir()
    return folder, json.loads((folder / "result.json").read_text())


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def check_result(folder, result, system, metrics, plots, facts=()):
    assert result.keys() == {
        "system", "metrics", "original", "config", "parameters", "seconds", "peak_memory", "command", "device",
        "versions", *facts,
    }  # fmt: skip
    assert result["system"] == system
    assert metrics <= result["metrics"].keys()
    settings = {"system": system, **result["config"], "command": result["command"]}
    assert json.loads((folder / "config.json").read_text()) == settings
    assert 2**26 < result["peak_memory"] < 2**38  # jax alone takes more, and no machine of ours has as much
    for name in plots:
        assert (folder / name).read_bytes().startswith(b"\x89PNG"), name
    assert not list(folder.rglob("*.partial"))


def error_of(capsys, *arguments):
    """The one line that a command prints before it exits with code 2."""
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line
