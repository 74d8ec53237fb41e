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


def test_a_log_has_a_line_now_and_then_and_one_at_the_end(monkeypatch):
    now, file = [0.0], io.StringIO()
    monkeypatch.setattr(reporting.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(reporting, "console", Console(file=file, width=40))
    rows = [{"epoch": epoch, "loss": 1 / epoch} for epoch in range(1, 6)]
    with reporting.progress("echo [x]", 9) as show:
        show([])
        for count in range(1, 6):
            now[0] = 20.0 * count
            show(rows[:count])
    # At 20 s it is too early; after the line at 40 s so is it at 60 s.
    assert file.getvalue().splitlines() == [
        "echo [x]  2/9  40 s  loss 0.5",
        "echo [x]  4/9  80 s  loss 0.25",
        "echo [x]  5/9  100 s  loss 0.2",
    ]


def test_no_metric_is_cut_where_a_terminal_is_narrow(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    monkeypatch.setattr(reporting, "console", Console(file=file, width=60, force_terminal=True, color_system=None))
    with reporting.progress("self_training_1_model_2", 1) as show:
        show([ROW])
    last = "".join(file.getvalue().split("1/1")[-1].split())
    for part in ("loss0.3304(0.2522)", "accuracy0.85", "auc(0.9)", "(validation)"):
        assert part in last
