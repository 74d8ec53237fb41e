"""Learning curves show the rows of a run, and what is best in them."""

import numpy as np
import pytest
from figures import legend, lines, panels, points

from jaxlstm import plots


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

    def test_a_value_that_is_no_number_is_not_the_best(self):
        rows = [{"epoch": 1, "loss": 1.0, "validation_loss": np.nan}, {"epoch": 2, "loss": 0.5, "validation_loss": 0.7}]
        (loss,) = panels(plots.learning_curves(rows))
        assert points(lines(loss)["best validation, 0.7 at epoch 2"]) == ([2], [0.7])
        (loss,) = panels(plots.learning_curves(rows[:1]))
        assert list(lines(loss)) == ["training", "validation"]

    def test_without_validation_nothing_is_marked(self):
        (loss,) = panels(plots.learning_curves([{"epoch": 1, "loss": 2.0}]))
        assert list(lines(loss)) == ["training"]

    @pytest.mark.parametrize(("last", "scale"), [(0.0099, "log"), (0.0101, "linear"), (0.0, "linear")])
    def test_log_scale_beyond_two_decades(self, last, scale):
        (loss,) = panels(plots.learning_curves([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": last}]))
        assert loss.get_yscale() == scale

    def test_the_model_stands_above_the_panels(self):
        figure = plots.learning_curves(self.rows, ["accuracy"], model="classifier")
        assert figure.get_suptitle() == "classifier"
        assert plots.learning_curves(self.rows).get_suptitle() == ""

    def test_a_metric_stays_linear(self):
        rows = [{"epoch": 1, "loss": 1.0, "accuracy": 0.001}, {"epoch": 2, "loss": 0.5, "accuracy": 1.0}]
        assert panels(plots.learning_curves(rows, ["accuracy"]))[1].get_yscale() == "linear"

    def test_one_epoch_makes_no_curve(self):
        assert [plots.has_curve(self.rows[:count]) for count in range(4)] == [False, False, True, True]

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
