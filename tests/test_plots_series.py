"""Series of values are drawn with their scores and their bands."""

import numpy as np
import pytest
from figures import legend, lines, points, random
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from jaxlstm import plots


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

    def test_steps_without_a_score_are_not_the_highest(self):
        scores = np.array([np.nan, np.nan, 0.5, 2.0, 1.0])
        _, below = plots.anomalies(random(5), scores, np.zeros(5)).axes
        assert below.get_title(loc="left") == "Score: the highest at step 3"
        assert plots.anomalies(random(5), np.full(5, np.nan), np.zeros(5)).axes[1].get_title(loc="left") == "Score"

    def test_refuses_other_shapes(self):
        with pytest.raises(ValueError, match=r"scores: expected shape \[5\], got \[4\]"):
            plots.anomalies(random(5), random(4), np.zeros(5))


class TestForecast:
    def test_counts_the_steps_inside_the_band(self):
        values, mean, deviation = np.array([0.0, 1.0, 5.0, -2.0]), np.zeros(4), np.ones(4)
        above, below = plots.forecast(values, mean, deviation, 2 * deviation).axes
        assert above.get_title(loc="left") == "75.0% of the steps are inside the band (95.4% expected)"
        np.testing.assert_array_equal(points(lines(below)["deviation expected"])[1], deviation)
        np.testing.assert_array_equal(points(lines(below)["deviation it was made with"])[1], 2 * deviation)

    def test_counts_no_step_without_a_value(self):
        values = np.array([0.0, 1.0, 5.0, np.nan, np.nan])
        assert plots.forecast(values, np.zeros(5), np.ones(5)).axes[0].get_title(loc="left").startswith("66.7% of the")

    def test_says_what_the_values_are(self):
        assert plots.forecast(*random(3, 4)).axes[0].get_ylabel() == "value"
        assert plots.forecast(*random(3, 4), quantity="return").axes[0].get_ylabel() == "return"

    def test_the_legend_hides_nothing(self):
        figure = plots.forecast(*random(4, 40))
        FigureCanvasAgg(figure).draw()
        above, below = figure.axes
        assert legend(above) == ["expected, two deviations to each side", "what came"]
        assert legend(below) == ["deviation expected", "deviation it was made with"]
        for axes in (above, below):
            assert all(text.get_window_extent().y0 >= axes.bbox.y1 for text in axes.get_legend().get_texts())
        (title,) = above.findobj(lambda artist: isinstance(artist, Text) and artist.get_text().endswith(" expected)"))
        assert title.get_window_extent().x1 < above.get_legend().get_window_extent().x0

    def test_refuses_other_shapes(self):
        with pytest.raises(ValueError, match=r"deviation: expected shape \[4\], got \[3\]"):
            plots.forecast(random(4), random(4), random(3))
