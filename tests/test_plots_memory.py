"""Heat maps show a trace's gates and states, ordered by what the cell holds."""

import numpy as np
import pytest
from figures import labels, panels, steps

from jaxlstm import LSTMState, plots
from jaxlstm.cells import GRUState, SLSTMState
from jaxlstm.plots.figures import ORANGE


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
