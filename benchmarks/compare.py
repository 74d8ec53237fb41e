"""What got slower since an older run.

Both runs timed jaxlstm beside the same rivals, so their ratios can be compared even where the whole
machine was faster on one of the days. A row got slower if its ratio fell by more than its own
spread: the upper quartile of the new one lies below the lower quartile of the old one.
"""

from typing import Any, NamedTuple

from benchmarks.machine import IDENTITY
from benchmarks.results import Results

Row = dict[str, Any]


class Change(NamedTuple):
    """One row of both runs."""

    old: Row
    new: Row

    @property
    def slower(self) -> bool:
        """By more than the spread."""
        return self.new["ratio_high"] < self.old["ratio_low"]

    @property
    def faster(self) -> bool:
        """By more than the spread."""
        return self.new["ratio_low"] > self.old["ratio_high"]

    def __str__(self) -> str:
        old, new = self.old, self.new
        return (
            f"{new['shape']}, {new['pass']}, against {new['rival']}: ratio "
            f"{new['ratio']:.3g} ({new['ratio_low']:.3g} to {new['ratio_high']:.3g}), "
            f"was {old['ratio']:.3g} ({old['ratio_low']:.3g} to {old['ratio_high']:.3g}); "
            f"{new['milliseconds']:.4g} ms, was {old['milliseconds']:.4g}"
        )


def changes(old: Results, new: Results) -> list[Change]:
    """The rows that both have: same shape, rival, pass and dtype."""
    before = {key(row): row for row in old["rows"]}
    return [Change(before[key(row)], row) for row in new["rows"] if key(row) in before]


def key(row: Row) -> tuple[str, str, str, str]:
    """What makes two rows the same measurement."""
    return row["shape"], row["rival"], row["pass"], row["dtype"]


def other_machine(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """One line if the two machines are not the same, None if they are."""
    different = [name for name in IDENTITY if old.get(name) != new.get(name)]
    if not different:
        return None
    return "; ".join(f"{name} {old.get(name)} there, {new.get(name)} here" for name in different)
