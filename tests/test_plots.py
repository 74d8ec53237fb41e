"""Plots: they show the numbers they were given, and writing one leaves a PNG or nothing."""

import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from jaxlstm import LSTMState, plots
from jaxlstm.cells import GRUState, SLSTMState
from jaxlstm.plots.figures import BLUE, ORANGE


def panels(figure):
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def points(line):
    return line.get_xdata(), line.get_ydata()


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def random(*shape):
    return np.random.default_rng(sum(shape)).uniform(0.05, 0.95, shape)


def steps(length=6, units=4):
    """A trace: f[t, unit] falls with the number of the unit, every cell state is 0.5."""
    trace = {name: random(length, units) for name in "ifgoch"}
    trace["f"] = np.tile(1 - 0.1 * np.arange(units), (length, 1))
    trace["c"] = np.full((length, units), 0.5)
    return SimpleNamespace(**trace)


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


class TestLearningCurves:
    rows = (
        {"epoch": 1, "loss": 0.7, "accuracy": 0.5, "validation_loss": 0.6, "validation_accuracy": 0.6},
        {"epoch": 2, "loss": 0.4, "accuracy": 0.7, "validation_accuracy": 0.8},
        {"epoch": 3, "loss": 0.2, "accuracy": 0.9, "validation_loss": 0.5, "validation_accuracy": 0.7},
    )

    def test_a_panel_for_the_loss_and_one_for_each_metric(self):
        loss, accuracy = panels(plots.learning_curves(self.rows, ["accuracy"]))
        assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
        assert loss.get_xlabel() == "epoch"
        np.testing.assert_array_equal(points(lines(loss)["training"]), [[1, 2, 3], [0.7, 0.4, 0.2]])
        np.testing.assert_array_equal(points(lines(accuracy)["training"]), [[1, 2, 3], [0.5, 0.7, 0.9]])

    def test_validation_is_dashed_and_may_skip_epochs(self):
        loss, _ = panels(plots.learning_curves(self.rows, ["accuracy"]))
        np.testing.assert_array_equal(points(lines(loss)["validation"]), [[1, 3], [0.6, 0.5]])
        assert lines(loss)["validation"].get_linestyle() == "--"
        assert lines(loss)["training"].get_linestyle() == "-"

    def test_marks_the_lowest_loss_and_the_highest_metric(self):
        loss, accuracy = panels(plots.learning_curves(self.rows, ["accuracy"]))
        assert points(lines(loss)["best validation, 0.5 at epoch 3"]) == ([3], [0.5])
        assert points(lines(accuracy)["best validation, 0.8 at epoch 2"]) == ([2], [0.8])

    def test_without_validation_nothing_is_marked(self):
        (loss,) = panels(plots.learning_curves([{"epoch": 1, "loss": 2.0}]))
        assert list(lines(loss)) == ["training"]

    @pytest.mark.parametrize(("last", "scale"), [(0.0099, "log"), (0.0101, "linear"), (0.0, "linear")])
    def test_log_scale_beyond_two_decades(self, last, scale):
        (loss,) = panels(plots.learning_curves([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": last}]))
        assert loss.get_yscale() == scale

    def test_a_metric_stays_linear(self):
        rows = [{"epoch": 1, "loss": 1.0, "accuracy": 0.001}, {"epoch": 2, "loss": 0.5, "accuracy": 1.0}]
        assert panels(plots.learning_curves(rows, ["accuracy"]))[1].get_yscale() == "linear"

    def test_errors(self):
        with pytest.raises(ValueError, match="rows: expected at least one epoch, got none"):
            plots.learning_curves([])
        with pytest.raises(ValueError, match="metrics: expected names that are in the rows, got 'precision'"):
            plots.learning_curves(self.rows, ["precision"])


class TestAgainstBaselines:
    rows = ({"epoch": 1, "bits": 3.0, "validation_bits": 2.5}, {"epoch": 2, "bits": 2.0, "validation_bits": 2.7})

    def test_curves_and_a_line_for_each_baseline(self):
        (axes,) = panels(plots.against_baselines(self.rows, "bits", {"6-gram": 2.1, "xz": 2.25}))
        np.testing.assert_array_equal(points(lines(axes)["training"]), [[1, 2], [3.0, 2.0]])
        assert list(lines(axes)["6-gram, 2.1"].get_ydata()) == [2.1, 2.1]
        assert lines(axes)["6-gram, 2.1"].get_color() != lines(axes)["xz, 2.25"].get_color()
        assert "best validation, 2.5 at epoch 1" in legend(axes)
        assert "xz, 2.25" in legend(axes)

    def test_refuses_what_it_cannot_draw(self):
        with pytest.raises(ValueError, match="rows: expected at least one epoch, got none"):
            plots.against_baselines([], "bits", {})
        with pytest.raises(ValueError, match="got 'nats'"):
            plots.against_baselines(self.rows, "nats", {})


class TestGates:
    def test_a_heat_map_for_each_gate_and_state(self):
        trace = steps()
        shown = panels(plots.gates(trace))
        assert [axes.get_title("left")[:-1].split(":")[0][-1] for axes in shown] == list("ifgoch")
        for axes, name in zip(shown, "ifgoch", strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), getattr(trace, name).T)

    def test_units_that_hold_longest_are_on_top(self):
        trace = steps()
        trace.f = trace.f[:, ::-1]  # now the last unit forgets the least
        np.testing.assert_array_equal(panels(plots.gates(trace))[3].images[0].get_array(), trace.o.T[::-1])

    def test_only_what_happens_after_the_mark_counts(self):
        trace = steps()
        trace.f[:3] = trace.f[:3, ::-1]  # the units that keep everything later forget before
        np.testing.assert_array_equal(panels(plots.gates(trace, mark=2))[3].images[0].get_array(), trace.o.T)

    def test_a_unit_with_nothing_to_hold_is_below(self):
        trace = steps()
        trace.c[2, 0] = 0
        order = [1, 2, 3, 0]
        np.testing.assert_array_equal(panels(plots.gates(trace, mark=2))[3].images[0].get_array(), trace.o.T[order])

    def test_colours(self):
        trace = steps()
        trace.c[0, 1] = -0.9
        shown = dict(zip("ifgoch", (axes.images[0] for axes in panels(plots.gates(trace))), strict=True))
        for name in "ifo":
            assert shown[name].get_clim() == (0, 1)
        for name in "gch":
            low, high = shown[name].get_clim()
            assert low == -high
        assert shown["c"].get_clim() == (-0.9, 0.9)
        assert {image.get_cmap().name for image in shown.values()} == {"Greens", "RdBu_r"}

    def test_a_unit_that_counts_does_not_fade_the_others(self):
        trace = steps()
        trace.c[:, 3] = [5, 6, 7, 8, 9, 10]
        figure = plots.gates(trace)
        image = panels(figure)[4].images[0]
        assert image.get_clim() == (-1.5, 1.5)
        assert image.colorbar.extend == "both"
        assert panels(figure)[0].images[0].colorbar.extend == "neither"

    def test_states_of_zero_are_drawn(self):
        trace = steps()
        trace.c[:] = 0
        assert panels(plots.gates(trace))[4].images[0].get_clim() == (-1, 1)

    def test_the_title_counts_the_units_that_hold(self):
        title = plots.gates(steps(), [5, 6, 63, 8, 9, 10], mark=2).get_suptitle()  # f^3: 1, 0.73, 0.51, 0.34
        assert title == "From step 2 (63) to the last, 3 of 4 units keep more than half of their cell state"

    def test_the_mark_frames_its_step_in_every_panel(self):
        for axes in panels(plots.gates(steps(), mark=2)):
            assert [line.get_xdata()[0] for line in axes.lines] == [1.5, 2.5]
        assert not any(axes.lines for axes in panels(plots.gates(steps())))

    def test_symbols_along_the_top(self):
        (top,) = panels(plots.gates(steps(), "a $$b\n", mark=4))[0].child_axes
        assert list(top.get_xticks()) == [0, 1, 2, 3, 4, 5]
        assert labels(top.get_xticklabels()) == ["a", "\N{OPEN BOX}", "$", "$", "b", "\u21b5"]
        assert [label.get_color() == ORANGE for label in top.get_xticklabels()] == [*[False] * 4, True, False]

    def test_many_symbols_are_thinned_and_the_marked_one_stays(self):
        (top,) = panels(plots.gates(steps(length=150), range(150), mark=100))[0].child_axes
        assert list(top.get_xticks()) == list(range(1, 150, 3))
        assert labels(top.get_xticklabels())[33] == "100"

    def test_errors(self):
        trace = steps()
        with pytest.raises(ValueError, match="symbols: expected one for each of 6 steps, got 2"):
            plots.gates(trace, "ab")
        with pytest.raises(ValueError, match="mark: expected a step, 0 to 5, got 6"):
            plots.gates(trace, mark=6)
        trace.o = trace.o[:3]
        with pytest.raises(ValueError, match=r"trace\.o: expected shape \[6, 4\], got \[3, 4\]"):
            plots.gates(trace)
        trace.c = trace.c[None]
        with pytest.raises(ValueError, match=r"trace\.c: expected shape \[T, H\], got \[1, 6, 4\]"):
            plots.gates(trace)


class TestStates:
    def test_a_panel_for_each_part_of_the_state(self):
        state = SLSTMState(*np.random.default_rng(0).standard_normal((4, 6, 3)))
        shown = panels(plots.states(state, "langid", mark=2))
        assert [axes.get_title(loc="left") for axes in shown] == ["State h", "State c", "State n", "State m"]
        for axes, array in zip(shown, state, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), array.T)
            assert [line.get_xdata()[0] for line in axes.lines] == [1.5, 2.5]
        assert labels(shown[0].child_axes[0].get_xticklabels()) == list("langid")

    def test_one_panel_is_enough(self):
        (axes,) = panels(plots.states(GRUState(np.ones((6, 3)))))
        assert axes.get_xlabel() == "step"

    def test_errors(self):
        with pytest.raises(ValueError, match=r"states\.c: expected shape \[6, N\], got \[5, 3\]"):
            plots.states(LSTMState(np.ones((6, 3)), np.ones((5, 3))))
        with pytest.raises(ValueError, match="symbols: expected one for each of 6 steps, got 2"):
            plots.states(GRUState(np.ones((6, 3))), "ab")


class TestCrossing:
    inputs = np.array([[0.5, 0.6, 0.1, 0.9], [0.1, 0.1, 0.1, 0.1]])
    labels = np.array([[0, 1, 1, 1], [0, 0, 0, 0]])
    probabilities = np.array([[0.1, 0.4, 0.7, 0.9], [0.2, 0.1, 0.8, 0.3]])

    def test_the_sum_above_and_the_probability_below(self):
        shown = panels(plots.crossing(self.inputs, self.probabilities, self.labels))
        assert len(shown) == 4
        for column in range(2):
            above, below = lines(shown[column]), lines(shown[2 + column])
            np.testing.assert_array_equal(above["running sum"].get_ydata(), np.cumsum(self.inputs[column]))
            assert list(above["threshold 1"].get_ydata()) == [1, 1]  # a quarter of 4 steps
            np.testing.assert_array_equal(below["predicted probability"].get_ydata(), self.probabilities[column])

    def test_wrong_steps_are_crossed_out(self):
        first, second, *below = panels(plots.crossing(self.inputs, self.probabilities, self.labels))
        assert first.get_title("left") == "3 of 4 steps right"
        assert second.get_title("left") == "3 of 4 steps right"
        assert [list(lines(axes)["wrong step"].get_xdata()) for axes in below] == [[1], [2]]

    def test_the_true_crossing_is_shaded(self):
        first, second, *_ = panels(plots.crossing(self.inputs, self.probabilities, self.labels))
        (path,) = first.collections[0].get_paths()
        assert (path.vertices[:, 0].min(), path.vertices[:, 0].max()) == (0.5, 3.5)
        assert second.collections[0].get_paths() == []

    def test_errors(self):
        with pytest.raises(ValueError, match=r"probabilities: expected shape \[2, 4\], got \[1, 4\]"):
            plots.crossing(self.inputs, self.probabilities[:1], self.labels)
        with pytest.raises(ValueError, match=r"inputs: expected shape \[N, T\].*got \[4\]"):
            plots.crossing(self.inputs[0], self.probabilities[0], self.labels[0])


class TestReconstruction:
    target = np.array([0.1, 0.2, 0.3])
    output = np.array([0.1, 0.24, 0.29])

    def test_one_column(self):
        above, below = panels(plots.reconstruction(self.target, self.output))
        np.testing.assert_array_equal(lines(above)["target"].get_ydata(), self.target)
        np.testing.assert_array_equal(lines(above)["output"].get_ydata(), self.output)
        np.testing.assert_array_equal(below.lines[0].get_ydata(), self.output - self.target)
        assert below.get_title("left") == "Largest error 0.04, at step 1"

    def test_the_prediction_stands_at_the_last_steps(self):
        above, prediction, _, error = panels(
            plots.reconstruction(self.target, self.output, self.target[1:], self.output[1:] - 0.1)
        )
        assert (above.get_title("left"), prediction.get_title("left")) == ("Reconstruction", "Prediction of the next")
        np.testing.assert_array_equal(points(lines(prediction)["target"]), [[1, 2], [0.2, 0.3]])
        np.testing.assert_array_equal(points(lines(prediction)["output"]), [[1, 2], self.output[1:] - 0.1])
        assert error.get_title("left") == "Largest error 0.11, at step 2"

    def test_errors(self):
        with pytest.raises(ValueError, match="expected both of them or neither, got one"):
            plots.reconstruction(self.target, self.output, self.target)
        with pytest.raises(ValueError, match=r"reconstruction: expected shape \[3\], got \[2\]"):
            plots.reconstruction(self.target, self.output[:2])
        with pytest.raises(ValueError, match=r"target: expected shape \[T\], got \[3, 1\]"):
            plots.reconstruction(self.target[:, None], self.output[:, None])
        with pytest.raises(ValueError, match=r"prediction_target: expected shape \[P\], P <= 3, got \[4\]"):
            plots.reconstruction(self.target, self.output, np.zeros(4), np.zeros(4))


class TestDecisions:
    def test_roc(self):
        curves = {"5 epochs": ([0, 0.5, 1], [0, 0.6, 1], 0.55), "20 epochs": ([0, 0.1, 1], [0, 0.9, 1], 0.9)}
        (axes,) = panels(plots.roc(curves))
        for line, (x, y, _) in zip(axes.lines, curves.values(), strict=False):
            np.testing.assert_array_equal(points(line), [x, y])
        np.testing.assert_array_equal(points(axes.lines[2]), [[0, 1], [0, 1]])
        assert legend(axes) == ["5 epochs: area 0.550", "20 epochs: area 0.900", "a guess: area 0.500"]
        assert axes.get_title("left") == "Best area under the curve: 0.900"
        with pytest.raises(ValueError, match="curves: expected at least one, got none"):
            plots.roc({})

    def test_score_histogram_counts_every_score_on_its_side(self):
        scores = {"English": np.array([0.5, 1.0, 2.5, -0.001]), "French": np.linspace(-9, 0.9, 1000)}
        (axes,) = panels(plots.score_histogram(scores, threshold=0.25))
        assert legend(axes)[0] == "English: 75.0% above 0.25 (4 scores)"
        for stairs, values in zip(axes.patches[1::2], scores.values(), strict=True):
            heights, edges, _ = stairs.get_data()
            np.testing.assert_allclose(heights.sum(), 100, rtol=1e-12)
            above = heights[edges[:-1] >= 0.25].sum()
            np.testing.assert_allclose(above, 100 * np.mean(values > 0.25), rtol=1e-12)
        assert list(axes.lines[0].get_xdata()) == [0.25, 0.25]

    def test_score_histogram_of_equal_scores(self):
        (axes,) = panels(plots.score_histogram({"a": [0.0, 0.0]}))
        assert axes.patches[1].get_data().values.max() == 100

    def test_score_histogram_errors(self):
        with pytest.raises(ValueError, match="expected scores for every class, got none for 'b'"):
            plots.score_histogram({"a": [1.0], "b": []})
        with pytest.raises(ValueError, match="expected at least one class, got none"):
            plots.score_histogram({})

    def test_confusion(self):
        (axes,) = panels(plots.confusion([[3, 1], [1000, 3000]], ["negative", "positive"]))
        assert labels(axes.texts) == ["3\n75.0%", "1\n25.0%", "1,000\n25.0%", "3,000\n75.0%"]
        assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (0, 1), (1, 1)]
        assert labels(axes.get_xticklabels()) == labels(axes.get_yticklabels()) == ["negative", "positive"]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
        assert axes.get_title("left") == "3,003 of 4,004 right (75.0%)"
        np.testing.assert_array_equal(axes.images[0].get_array(), [[0.75, 0.25], [0.25, 0.75]])

    def test_confusion_without_an_example_of_a_class(self):
        (axes,) = panels(plots.confusion([[0, 0], [1, 3]], ["a", "b"]))
        assert labels(axes.texts)[:2] == ["0\n0.0%", "0\n0.0%"]

    def test_confusion_errors(self):
        with pytest.raises(ValueError, match=r"matrix: expected shape \[2, 2\], got \[2, 3\]"):
            plots.confusion(np.zeros((2, 3)), ["a", "b"])


class TestTexts:
    log_p_a, log_p_b = np.array([-1.0, -2.0, -3.0]), np.array([-1.5, -1.0, -0.5])

    def test_character_scores(self):
        above, below = panels(plots.character_scores("a é", self.log_p_a, self.log_p_b, ("English", "French")))
        np.testing.assert_array_equal(lines(above)["English"].get_ydata(), self.log_p_a)
        np.testing.assert_array_equal(lines(above)["French"].get_ydata(), self.log_p_b)
        np.testing.assert_array_equal(lines(below)["score so far"].get_ydata(), [0.5, -0.5, -3.0])
        assert [bar.get_height() for bar in below.patches] == [0.5, -1.0, -2.5]
        colours = [to_rgba(colour, 0.45) for colour in (BLUE, ORANGE, ORANGE)]
        assert [bar.get_facecolor() for bar in below.patches] == colours
        assert labels(below.get_xticklabels()) == ["a", "\N{OPEN BOX}", "é"]
        assert below.get_title("left") == "Score -3.0: French"

    def test_the_other_language_may_win(self):
        _, below = panels(plots.character_scores("abc", self.log_p_b, self.log_p_a, ("English", "French")))
        assert below.get_title("left") == "Score +3.0: English"

    def test_character_scores_errors(self):
        with pytest.raises(ValueError, match="text: expected at least one character, got none"):
            plots.character_scores("", [], [], ("a", "b"))
        with pytest.raises(ValueError, match=r"log_p_b: expected shape \[3\], got \[2\]"):
            plots.character_scores("abc", self.log_p_a, self.log_p_b[:2], ("a", "b"))

    def test_examples(self):
        rows = [
            {"text": "dull $5 and $6", "probability": 0.9, "label": 0},
            {"text": "fine", "probability": 0.8, "label": 1},
        ]
        (axes,) = panels(plots.examples(rows))
        assert labels(axes.texts) == [
            *("truth", "probability of positive", "text"),
            *("Judged right", "positive", "0.800", "fine"),
            *("Judged wrong", "negative", "0.900", "dull $5 and $6"),
        ]
        assert [bar.get_width() for bar in axes.patches] == [10, 8, 10, 9]

    def test_examples_all_right(self):
        (axes,) = panels(plots.examples([{"text": "fine", "probability": 0.8, "label": 1}]))
        assert "Judged wrong" not in labels(axes.texts)

    def test_long_texts_are_cut_and_stay_within_the_figure(self):
        text = "a remarkably wooden $20 melodrama " * 40
        figure = plots.examples([{"text": text, "probability": 0.1, "label": 0}] * 3)
        FigureCanvasAgg(figure).draw()
        (axes,) = panels(figure)
        snippets = [shown for shown in axes.texts if "wooden" in shown.get_text()]
        assert len(snippets) == 9
        assert snippets[2].get_text().endswith(" ...")
        for shown in axes.texts:
            box = shown.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1
            assert box.y0 >= 0
            assert box.y1 <= figure.bbox.y1
        boxes = [shown.get_window_extent() for shown in snippets]
        assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))

    def test_examples_errors(self):
        with pytest.raises(ValueError, match="rows: expected at least one example, got none"):
            plots.examples([])


def test_every_figure_can_be_drawn(tmp_path):
    """Warnings are errors here: a missing glyph or a layout that collapses fails."""
    figures = [
        plots.learning_curves(TestLearningCurves.rows, ["accuracy"]),
        plots.against_baselines(TestAgainstBaselines.rows, "bits", {"6-gram": 2.1, "xz": 2.2}),
        plots.gates(steps(), ["a", " ", "é", "$", "$\\frac$", "\n"], mark=4),  # what would be mathematics is text
        plots.states(GRUState(np.eye(6)), "a $$b\n", mark=4),
        plots.examples([{"text": "$\\frac$ of the \n reviews", "probability": 0.5, "label": 1}]),
        plots.crossing(TestCrossing.inputs, TestCrossing.probabilities, TestCrossing.labels),
        plots.reconstruction(*[TestReconstruction.target] * 4),
        plots.roc({"a": ([0, 1], [0, 1], 0.5)}),
        plots.score_histogram({"a": [1.0, 2.0], "b": [-1.0]}),
        plots.character_scores("$ $ \N{REPLACEMENT CHARACTER}", np.zeros(5), np.ones(5), ("English", "French")),
        plots.confusion(np.eye(2, dtype=int), ["a", "b"]),
        plots.accuracy_by_length({name: {5: 0.5, 10: 0.75} for name in ("an_lstm", "b", "c", "d", "e")}),
    ]
    for index, figure in enumerate(figures):
        plots.save(figure, tmp_path / f"{index}.png")
        assert matplotlib.image.imread(tmp_path / f"{index}.png").std() > 0.01


class TestLengths:
    def test_accuracy_is_drawn_in_percent_at_each_length(self):
        (axes,) = panels(plots.accuracy_by_length({"a": {20: 0.5, 10: 1.0}}, trained_at=10))
        xs, ys = points(lines(axes)["a"])
        assert (list(xs), list(ys)) == ([10, 20], [100, 50])
        assert "50.00%" in axes.get_title(loc="left")
        assert "training length 10" in lines(axes)

    def test_five_curves_look_different(self):
        (axes,) = panels(plots.accuracy_by_length({name: {10: 0.5} for name in ("an_lstm", "b", "c", "d", "e")}))
        assert len({line.get_color() for line in axes.lines}) == len({line.get_marker() for line in axes.lines}) == 5
        assert axes.get_title(loc="left") == "Right answers by length"
        assert "an lstm" in lines(axes)

    def test_what_was_not_learnt_stands_open_at_the_limit(self):
        (axes,) = panels(plots.steps_to_learn({"a": {10: 100.0, 20: None}, "b": {10: 50.0}}, limit=2000))
        xs, ys = points(lines(axes)["a"])
        assert (list(xs), list(ys)) == ([10], [100])
        assert [list(points(line)[1]) for line in axes.lines if line.get_fillstyle() == "none"] == [[2000], []]

    def test_no_curve(self):
        for curves in ({}, {"a": {}}):
            with pytest.raises(ValueError, match=r"^curves: expected at least one, each"):
                plots.accuracy_by_length(curves)
            with pytest.raises(ValueError, match=r"^curves: expected at least one, each"):
                plots.steps_to_learn(curves, 10)


class TestAnomalies:
    def test_shows_the_series_the_scores_and_what_is_anomalous(self):
        values, scores, marks = random(30), random(30), np.zeros(30)
        marks[[4, 5, 6, 20]] = 1
        above, below = plots.anomalies(values, scores, marks).axes
        np.testing.assert_array_equal(points(above.lines[0])[1], values)
        np.testing.assert_array_equal(points(below.lines[0])[1], scores)
        for axes in (above, below):
            assert [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches] == [
                (3.5, 6.5),
                (19.5, 20.5),
            ]
        assert f"the highest at step {scores.argmax()}" in below.get_title(loc="left")

    def test_refuses_other_shapes(self):
        with pytest.raises(ValueError, match=r"scores: expected shape \[5\], got \[4\]"):
            plots.anomalies(random(5), random(4), np.zeros(5))


class TestForecast:
    def test_counts_the_steps_inside_the_band(self):
        values, mean, deviation = np.array([0.0, 1.0, 5.0, -2.0]), np.zeros(4), np.ones(4)
        above, below = plots.forecast(values, mean, deviation, 2 * deviation).axes
        assert above.get_title(loc="left").startswith("75.0% of the steps")
        np.testing.assert_array_equal(points(lines(below)["deviation expected"])[1], deviation)
        np.testing.assert_array_equal(points(lines(below)["deviation it was made with"])[1], 2 * deviation)

    def test_refuses_other_shapes(self):
        with pytest.raises(ValueError, match=r"deviation: expected shape \[4\], got \[3\]"):
            plots.forecast(random(4), random(4), random(3))
