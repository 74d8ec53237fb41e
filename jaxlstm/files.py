"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """The name of another file, to be written within; it takes the place of `path` at the end, or goes after an error.

    The name is this process's own, so that several may write the same file.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write(path: str | Path, content: str | bytes) -> None:
    """Writes all of a file's content."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON, in lines that a reader can follow."""
    write(path, json.dumps(value, indent=2) + "\n")
