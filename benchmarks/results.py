"""What a run leaves: one JSON file, whole at every moment.

machine: what it ran on, its threads and the date.
versions: of every library.
rows: jaxlstm against one rival. `ratio` is the median over the rounds of the ratio in each, above 1
    where jaxlstm is faster, `ratio_low` and `ratio_high` are its quartiles; `temporary_bytes` is jaxlstm's.
programs: each library by itself, with sizes, quartiles, first call (compiling included) and memory.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, versions

ROW = (
    "shape",
    "rival",
    "pass",
    "implementation",
    "dtype",
    "milliseconds",
    "rival_milliseconds",
    "ratio",
    "ratio_low",
    "ratio_high",
    "temporary_bytes",
)

Results = dict[str, Any]


def new_results() -> Results:
    """The results of a run that has measured nothing yet."""
    return {"machine": describe(), "versions": versions(), "rows": [], "programs": []}


def save(results: Results, path: Path) -> None:
    """Writes the file, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(results, indent=2) + "\n")
    partial.replace(path)


class ResultsError(Exception):
    """A result file that cannot be used; its text is one line."""


def load(path: Path) -> Results:
    """Reads a result file.

    Raises:
      ResultsError: it is missing or not one.
    """
    try:
        results = json.loads(path.read_text())
    except OSError as error:
        raise ResultsError(f"{path}: expected a result file of these benchmarks: {error.strerror}") from None
    except ValueError:
        raise ResultsError(f"{path}: expected a result file of these benchmarks, it is not JSON") from None
    if not isinstance(results, dict) or not isinstance(results.get("machine"), dict):
        raise ResultsError(f"{path}: expected a result file of these benchmarks, it names no machine")
    rows = results.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(ROW) <= set(row) for row in rows):
        raise ResultsError(f"{path}: expected a result file of these benchmarks, with rows of {', '.join(ROW)}")
    return results
