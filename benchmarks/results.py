"""What a run leaves: one JSON file, whole at every moment.

machine: what it ran on, its threads and the date.
versions: of every library.
rows: jaxlstm against one rival. `ratio` is the median over the rounds of the ratio in each, above 1
    where jaxlstm is faster, `ratio_low` and `ratio_high` are its quartiles; `temporary_bytes` is jaxlstm's.
programs: each library by itself, with sizes, quartiles, first call (compiling included) and memory.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, versions
from jaxlstm import files
from jaxlstm.errors import UserError

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


def place(path: Path) -> None:
    """Makes the folder of a result file, before anything is measured in vain.

    Raises:
      UserError: there cannot be such a file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"--out: expected a folder that can be written, got {path.parent}: {error.strerror}") from None
    if path.is_dir():
        raise UserError(f"--out: expected a file, got the folder {path}")


def new_results(path: Path, *more: str) -> Results:
    """The results of a run that has measured nothing yet: no rows, and no entries in `more` lists.

    Args:
      path: of the file that they will be saved in.
      more: names of lists beside the rows.

    Raises:
      UserError: there cannot be such a file.
    """
    place(path)
    return {"machine": describe(), "versions": versions(), "rows": [], **{name: [] for name in more}}


def save(results: Results, path: Path) -> None:
    """Writes the file, all or nothing."""
    files.write_json(path, results)


def load(path: Path) -> Results:
    """Reads a result file.

    Raises:
      UserError: it is missing or not one.
    """
    try:
        results = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: expected a result file of these benchmarks: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{path}: expected a result file of these benchmarks, it is not JSON") from None
    if not isinstance(results, dict) or not isinstance(results.get("machine"), dict):
        raise UserError(f"{path}: expected a result file of these benchmarks, it names no machine")
    rows = results.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(ROW) <= set(row) for row in rows):
        raise UserError(f"{path}: expected a result file of these benchmarks, with rows of {', '.join(ROW)}")
    return results
