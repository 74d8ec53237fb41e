"""Scores, their thresholds and their mistakes are counted as they were given."""

import numpy as np
import pytest
from figures import labels, legend, panels, points
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from jaxlstm import plots


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
        (axes,) = panels(plots.score_histogram({"a": [0.0, 0.0]}, formula="log P(a) - log P(b)"))
        assert axes.get_xlabel() == "log P(a) - log P(b)"
        assert axes.patches[1].get_data().values.max() == 100

    def test_score_histogram_errors(self):
        with pytest.raises(ValueError, match="expected scores for every class, got none for 'b'"):
            plots.score_histogram({"a": [1.0], "b": []})
        with pytest.raises(ValueError, match="expected finite scores, got nan for 'a'"):
            plots.score_histogram({"a": [0.5, np.nan]})
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

    def test_confusion_below_a_heading(self):
        figure = plots.confusion(np.eye(2), ["a", "b"], heading="LSTMs\n2 of $5$ classes")
        FigureCanvasAgg(figure).draw()
        assert figure.get_suptitle() == "LSTMs\n2 of $5$ classes"
        (axes,) = panels(figure)
        assert axes.get_title("left") == "2 of 2 right (100.0%)"
        (title,) = axes.findobj(lambda artist: isinstance(artist, Text) and artist.get_text().endswith("(100.0%)"))
        assert figure.texts[0].get_window_extent().y0 > title.get_window_extent().y1
        assert plots.confusion(np.eye(2), ["a", "b"]).get_suptitle() == ""

    def test_confusion_without_an_example_of_a_class(self):
        (axes,) = panels(plots.confusion([[0, 0], [1, 3]], ["a", "b"]))
        assert labels(axes.texts)[:2] == ["0\n0.0%", "0\n0.0%"]

    def test_confusion_errors(self):
        with pytest.raises(ValueError, match=r"matrix: expected shape \[2, 2\], got \[2, 3\]"):
            plots.confusion(np.zeros((2, 3)), ["a", "b"])
