"""Timing in turns.

In every round each program has one turn, in an order drawn anew, so that what the machine does
meanwhile falls on all of them. A turn first runs its program without counting: a library that has
been idle must wake its threads, and those of the one before may still spin, which on two cores
makes a first call several times slower than the next. Only then it counts.
"""

import math
import time
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import numpy as np

TURN_SECONDS = 0.01  # a turn warms up for this long and then counts for this long, in whole calls
NO_WARM_UP_SECONDS = 0.05  # a call longer than this is its own warm-up
LEAST_ROUNDS = 5

Name = TypeVar("Name", bound=Hashable)


class Spread(NamedTuple):
    """Quartiles over the rounds."""

    median: float
    low: float  # the lower quartile
    high: float  # the upper quartile


def spread(values: np.ndarray) -> Spread:
    """The quartiles of `values` [rounds]."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(float(median), float(low), float(high))


def rounded(value: float) -> float:
    """Five digits, more than any timing holds."""
    return float(f"{value:.5g}")


def quartiles(name: str, values: np.ndarray) -> dict[str, float]:
    """For a row of results: the median of `values` [rounds] under `name`, and its quartiles beside it."""
    middle = spread(values)
    return {name: rounded(middle.median), f"{name}_low": rounded(middle.low), f"{name}_high": rounded(middle.high)}


def in_turns(
    programs: dict[Name, Callable[[], Any]], rounds: int, most_seconds: float = math.inf
) -> dict[Name, np.ndarray]:
    """Seconds of one call of each program, [rounds] in the order of the rounds.

    Args:
      programs: by name; each returns when its result is there, and has been called before.
      rounds: how many.
      most_seconds: ends earlier, after a whole round and at least LEAST_ROUNDS of them.
    """
    rng = np.random.default_rng(0)
    names = list(programs)
    calls = {}
    for name, run in programs.items():
        run()
        once = seconds_of(run, 1)
        calls[name] = math.ceil(TURN_SECONDS / once), once < NO_WARM_UP_SECONDS
    seconds: dict[Name, list[float]] = {name: [] for name in names}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() - start > most_seconds:
            break
        for index in rng.permutation(len(names)):
            name = names[index]
            count, warm_up = calls[name]
            if warm_up:
                seconds_of(programs[name], count)
            seconds[name].append(seconds_of(programs[name], count) / count)
    return {name: np.array(values) for name, values in seconds.items()}


def seconds_of(run: Callable[[], Any], count: int) -> float:
    """Seconds that `count` calls take."""
    start = time.perf_counter()
    for _ in range(count):
        run()
    return time.perf_counter() - start
