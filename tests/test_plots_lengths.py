"""Curves over lengths: every length, every model, and what was not learnt."""

import pytest
from figures import labels, lines, panels, points
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jaxlstm import plots


class TestLengths:
    def test_accuracy_is_drawn_in_percent_at_each_length(self):
        (axes,) = panels(plots.accuracy_by_length({"a": {20: 0.5, 10: 1.0}}, trained_at=10))
        xs, ys = points(lines(axes)["a"])
        assert (list(xs), list(ys)) == ([10, 20], [100, 50])
        assert "50.00%" in axes.get_title(loc="left")
        assert "training length 10" in lines(axes)

    def test_curves_look_different(self):
        (axes,) = panels(plots.accuracy_by_length({name: {10: 0.5} for name in ("an_lstm", "b", "c", "d", "e")}))
        assert len({line.get_color() for line in axes.lines}) == len({line.get_marker() for line in axes.lines}) == 5
        assert axes.get_title(loc="left") == "Right answers by length"
        assert "an lstm" in lines(axes)
        (axes,) = panels(plots.accuracy_by_length({str(number): {10: 0.5} for number in range(21)}))
        assert len({line.get_color() for line in axes.lines[:7]}) == 7
        assert len({line.get_marker() for line in axes.lines[:7]}) == 7
        assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 21
        assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 21

    def test_the_axis_says_what_the_lengths_count(self):
        curves = {"a": {10: 0.5}}
        assert panels(plots.accuracy_by_length(curves))[0].get_xlabel() == "length, steps"
        assert panels(plots.accuracy_by_length(curves, unit="characters"))[0].get_xlabel() == "length, characters"

    def test_the_legend_stands_beside_the_curves(self):
        figure = plots.accuracy_by_length({"one": {10: 0.5, 20: 0.1}, "another": {10: 0.5}}, trained_at=10)
        FigureCanvasAgg(figure).draw()
        (shown,), (axes,) = figure.legends, figure.axes
        assert labels(shown.get_texts()) == ["one", "another", "training length 10"]
        assert shown.get_window_extent().x0 >= axes.bbox.x1

    def test_what_was_not_learnt_stands_open_at_the_limit(self):
        (axes,) = panels(plots.steps_to_learn({"a": {10: 100.0, 20: None}, "b": {10: 50.0}}, limit=2000))
        xs, ys = points(lines(axes)["a"])
        assert (list(xs), list(ys)) == ([10], [100])
        assert [list(points(line)[1]) for line in axes.lines if line.get_fillstyle() == "none"] == [[2000], []]

    def test_what_was_not_learnt_by_many_stands_close_to_its_length(self):
        (axes,) = panels(plots.steps_to_learn({str(n): {10: None} for n in range(21)}, limit=2000))
        xs = [points(line)[0][0] for line in axes.lines if line.get_fillstyle() == "none"]
        assert xs[10] == pytest.approx(10)
        assert 9 < min(xs) < 10 < max(xs) < 11
        (axes,) = panels(plots.steps_to_learn({"alone": {10: None}}, limit=2000))
        assert [points(line)[0][0] for line in axes.lines if line.get_fillstyle() == "none"] == [10]

    def test_no_curve(self):
        for curves in ({}, {"a": {}}):
            with pytest.raises(ValueError, match=r"^curves: expected at least one, each"):
                plots.accuracy_by_length(curves)
            with pytest.raises(ValueError, match=r"^curves: expected at least one, each"):
                plots.steps_to_learn(curves, 10)
