"""Turns are taken by all in every round, and their medians are shown with their spread."""

import numpy as np

from benchmarks import timing


def test_turns_are_taken_by_all_in_every_round(monkeypatch):
    clock = 0.0
    called = []

    def program(name, seconds):
        def run():
            nonlocal clock
            called.append(name)
            clock += seconds[0] if len(called) % 2 else seconds[-1]

        return run

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    seconds = timing.in_turns({"a": program("a", [0.25]), "b": program("b", [0.5])}, rounds=4)
    assert seconds["a"].tolist() == [0.25] * 4
    assert seconds["b"].tolist() == [0.5] * 4
    turns = called[4:]  # after two calls of each to see how long they take
    assert all(sorted(turns[2 * n : 2 * n + 2]) == ["a", "b"] for n in range(4))


def test_a_short_program_warms_up_and_its_calls_are_averaged(monkeypatch):
    clock, calls = 0.0, 0

    def run():
        nonlocal clock, calls
        calls += 1
        clock += 0.004  # three of them fill TURN_SECONDS

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    seconds = timing.in_turns({"a": run}, rounds=2)
    assert calls == 2 + 2 * (3 + 3)
    np.testing.assert_allclose(seconds["a"], 0.004, rtol=1e-12)


def test_most_seconds_ends_after_a_whole_round(monkeypatch):
    clock = 0.0

    def run():
        nonlocal clock
        clock += 1.0

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    assert len(timing.in_turns({"a": run}, rounds=100, most_seconds=7.5)["a"]) == 8
    assert len(timing.in_turns({"a": run}, rounds=100, most_seconds=0)["a"]) == timing.LEAST_ROUNDS


def test_spread_is_the_quartiles():
    assert timing.spread(np.array([5.0, 1.0, 2.0, 4.0, 3.0])) == timing.Spread(3.0, 2.0, 4.0)
