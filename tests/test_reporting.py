"""What a run shows while it trains."""

import io

from rich.console import Console

from jaxlstm import reporting

ROW = {"epoch": 2, "loss": 0.33041, "accuracy": 0.85, "validation_loss": 0.25223, "validation_auc": 0.9}


def test_validation_stands_in_brackets():
    assert reporting.metrics_line(ROW) == "loss 0.3304 (0.2522)  accuracy 0.85  auc (0.9)  (validation)"
    assert reporting.metrics_line({"epoch": 1, "loss": 2.0}) == "loss 2"


def test_the_result_stands_beside_the_original(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(reporting, "console", Console(file=file, width=80))
    metrics = {"auc": 0.9, "kmeansad_auc": 0.8}
    reporting.show_result({"system": "anomalies", "seconds": 1.0, "metrics": metrics, "original": {"auc": 0.7}})
    rows = [line.split() for line in file.getvalue().replace("│", " ").replace("┃", " ").splitlines()]
    assert ["figure", "measured", "original"] in rows
    assert ["auc", "0.9", "0.7"] in rows
    assert ["kmeansad_auc", "0.8", "not", "reported"] in rows


def test_a_line_holds_time_and_metrics(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")  # a dumb terminal has no bar
    file = io.StringIO()
    monkeypatch.setattr(reporting, "console", Console(file=file, width=80, force_terminal=True, color_system=None))
    with reporting.progress("forget bias 0, length 12", 2) as show:
        show([])
        show([ROW | {"epoch": 1}])
        show([ROW | {"epoch": 1}, ROW])
    last = file.getvalue().replace("\r", "\n").split("2/2")
    assert last[0].splitlines()[-1].endswith("forget bias 0, length 12 ━━━━━━━━━━━━ ")
    assert "loss 0.3304 (0.2522)" in last[1]
    assert " left " in last[0]
    assert " left " not in last[1].splitlines()[0]
