"""Texts are drawn with what a model thinks of them, whatever characters they hold."""

from itertools import pairwise

import numpy as np
import pytest
from figures import labels, lines, panels
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from jaxlstm import plots
from jaxlstm.plots.figures import BLUE, ORANGE


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

    def test_examples_say_what_their_texts_are(self):
        row = {"text": "a ? film", "probability": 0.8, "label": 1}
        (axes,) = panels(plots.examples([row], column="text, ? for each unknown word"))
        assert labels(axes.texts)[:3] == ["truth", "probability of positive", "text, ? for each unknown word"]

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
