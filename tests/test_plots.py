"""Plots: every one can be drawn, and writing one leaves a PNG or nothing."""

import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from figures import random, steps

from jaxlstm import plots
from jaxlstm.cells import GRUState


class TestSave:
    def test_writes_a_png_and_nothing_else(self, tmp_path):
        figure = plots.learning_curves([{"epoch": 1, "loss": 1.0}])
        plots.save(figure, tmp_path / "a.png")
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
        height, width, _ = matplotlib.image.imread(tmp_path / "a.png").shape
        assert (width, height) == (750, 570)

    def test_replaces_an_older_one(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"old")
        plots.save(plots.learning_curves([{"epoch": 1, "loss": 1.0}]), tmp_path / "a.png")
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

    def test_leaves_the_older_one_and_nothing_else_when_writing_fails(self, tmp_path, monkeypatch):
        figure = plots.learning_curves([{"epoch": 1, "loss": 1.0}])

        def write_half(path, **_):
            path.write_bytes(b"half")
            raise OSError("no space left")

        monkeypatch.setattr(figure, "savefig", write_half)
        (tmp_path / "a.png").write_bytes(b"old")
        with pytest.raises(OSError, match="no space left"):
            plots.save(figure, tmp_path / "a.png")
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
        assert (tmp_path / "a.png").read_bytes() == b"old"

    def test_refuses_another_format(self, tmp_path):
        with pytest.raises(ValueError, match=r"path: expected a name that ends in \.png, got a\.pdf"):
            plots.save(plots.learning_curves([{"epoch": 1, "loss": 1.0}]), tmp_path / "a.pdf")

    def test_works_without_pyplot(self, tmp_path):
        program = (
            "import sys, pathlib; from jaxlstm import plots;"
            "plots.save(plots.confusion([[1, 0], [0, 1]], ['a', 'b']), pathlib.Path(sys.argv[1]));"
            "sys.exit('matplotlib.pyplot' in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", program, tmp_path / "a.png"], check=True)
        assert (tmp_path / "a.png").is_file()


def test_every_figure_can_be_drawn(tmp_path):
    """Warnings are errors here: a missing glyph or a layout that collapses fails."""
    rows = [
        {"epoch": 1, "loss": 0.7, "accuracy": 0.5, "validation_loss": 0.6},
        {"epoch": 2, "loss": 0.4, "accuracy": 0.7},
    ]
    figures = [
        plots.learning_curves(rows, ["accuracy"]),
        plots.against_baselines(rows, "loss", {"6-gram": 2.1, "xz": 2.2}),
        plots.gates(steps(), ["a", " ", "é", "$", "$\\frac$", "\n"], mark=4),  # what would be mathematics is text
        plots.states(GRUState(np.eye(6)), "a $$b\n", mark=4),
        plots.examples([{"text": "$\\frac$ of the \n reviews", "probability": 0.5, "label": 1}]),
        plots.crossing(random(2, 4), random(2, 4), np.array([[0, 1, 1, 1], [0, 0, 0, 0]])),
        plots.reconstruction(*[random(3)] * 4),
        plots.roc({"a": ([0, 1], [0, 1], 0.5)}),
        plots.score_histogram({"a": [1.0, 2.0], "b": [-1.0]}),
        plots.character_scores("$ $ \N{REPLACEMENT CHARACTER}", np.zeros(5), np.ones(5), ("English", "French")),
        plots.confusion(np.eye(2, dtype=int), ["a", "b"]),
        plots.accuracy_by_length({name: {5: 0.5, 10: 0.75} for name in ("an_lstm", "b", "c", "d", "e")}),
        plots.steps_to_learn({"chrono": {12: 450.0, 25: None}}, 2000),
        plots.anomalies(random(9), random(9), np.arange(9) == 4),
        plots.forecast(random(9), random(9), random(9), random(9), quantity="return"),
    ]
    assert len(figures) == len(set(plots.__all__) - {"save", "has_curve"})
    for index, figure in enumerate(figures):
        plots.save(figure, tmp_path / f"{index}.png")
        assert matplotlib.image.imread(tmp_path / f"{index}.png").std() > 0.01
