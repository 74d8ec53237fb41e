"""Sequences are drawn against what a model made of them, with its errors."""

import numpy as np
import pytest
from figures import lines, panels, points

from jaxlstm import plots


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

    def test_whole_numbers_do_not_wrap(self):
        _, below = panels(plots.reconstruction(np.array([2, 1, 3], np.uint8), np.array([1, 2, 3], np.uint8)))
        assert below.get_title("left") == "Largest error 1, at step 0"

    def test_the_heading_stands_above(self):
        figure = plots.reconstruction(self.target, self.output, heading="composite\ncoefficient 1")
        assert figure.get_suptitle() == "composite\ncoefficient 1"
        assert plots.reconstruction(self.target, self.output).get_suptitle() == ""

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
