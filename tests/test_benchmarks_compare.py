"""Two result files, compared row by row, and drawn."""

import pytest
from benchmark_cases import made_up_results, made_up_row

from benchmarks import __main__ as command
from benchmarks import compare, plots, report, rivals
from benchmarks.shapes import SHAPES, sweep_shapes


@pytest.mark.parametrize(
    ("low", "ratio", "high", "slower", "faster"),
    [
        (1.2, 1.3, 1.39, True, False),
        (1.2, 1.3, 1.41, False, False),  # within the spread
        (1.61, 1.7, 1.8, False, True),
        (1.59, 1.7, 1.8, False, False),
    ],
)
def test_slower_means_by_more_than_the_spread(low, ratio, high, slower, faster):
    old = made_up_results([made_up_row()])
    new = made_up_results([made_up_row(ratio=ratio, ratio_low=low, ratio_high=high)])
    (change,) = compare.changes(old, new)
    assert (change.slower, change.faster) == (slower, faster)


def test_only_the_same_measurements_are_compared(capsys):
    old = made_up_results([made_up_row(), made_up_row(rival="keras"), made_up_row(shape="medium", ratio_low=9)])
    news = [made_up_row(**{"pass": "forward"}), made_up_row(shape="medium"), made_up_row(shape="large")]
    changes = compare.changes(old, made_up_results(news))
    assert [change.new["shape"] for change in changes] == ["medium"]
    command.show_changes(changes)
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "slower: medium, train, against torch: ratio 1.5 (1.4 to 1.6), was 1.5 (9 to 1.6); 2 ms, was 2",
        "1 rows compared: 1 slower and 0 faster by more than their spread",
    ]


def test_another_machine_is_seen():
    here = made_up_results()["machine"]
    assert compare.other_machine({**here, "date": "2020-01-01"}, here) is None
    assert compare.other_machine({**here, "cores": 64}, here) == "cores 64 there, 2 here"


def test_the_best_peer_is_another_one_at_each_shape():
    rows = [
        made_up_row(shape="echo", rival="keras", ratio=1.2),
        made_up_row(shape="echo", rival="haiku", ratio=1.4),
        made_up_row(shape="medium", rival="keras", ratio=1.5),
        made_up_row(shape="medium", rival="haiku", ratio=1.1),
        made_up_row(shape="medium", rival="torch", ratio=0.5),
    ]
    found = report.least_ratios(made_up_results(rows), rivals.JAX_PEERS, "train", ("echo", "medium"))
    assert found == {"echo": 1.2, "medium": 1.1}


def test_pictures_use_the_sweeps_alone(tmp_path):
    def entry(name, shape, library, milliseconds):
        times = {"milliseconds": milliseconds, "milliseconds_low": milliseconds, "milliseconds_high": milliseconds}
        rest = {"pass": "train", "first_call_milliseconds": 1.0, "temporary_bytes": None}
        return {"shape": name, **shape._asdict(), "library": library, **times, **rest}

    shapes = sweep_shapes({"T": (16, 64, 256), "B": (4,), "H": (32,)})
    entries = [
        entry(name, shape, library, factor * shape.steps)
        for library, factor in (("jaxlstm", 1.0), ("torch", 2.0), ("floor", 0.5))
        for name, shape in {**shapes, "sentiment": SHAPES["sentiment"]}.items()
    ]
    rows = [made_up_row(), made_up_row(rival="floor"), made_up_row(**{"pass": "forward"})]
    found = made_up_results(rows, entries)
    times = plots.points(found, "T", "torch")
    assert {size: point["milliseconds"] for size, point in times.items()} == {16: 32, 64: 128, 256: 512}
    assert list(plots.points(found, "H", "jaxlstm")) == [32, 128]
    drawn = plots.draw(found, tmp_path)
    assert [file.name for file in drawn] == ["ratio.png", "time.png", "compile.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in drawn)
    figure = plots.times(found, {name: plots.style(name, n) for n, name in enumerate(("jaxlstm", "torch", "floor"))})
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].get_lines()}
    assert lines == {"jaxlstm": [16, 64, 256], "torch": [32, 128, 512], "floor": [8, 32, 128]}
    assert plots.draw(made_up_results(), tmp_path) == []
