"""Files that are written whole or not at all."""

import subprocess
import sys

from jaxlstm import files


def test_a_write_is_whole_or_not_at_all(tmp_path):
    # Killed in the middle of writing, a process leaves the older file as it was.
    files.write(tmp_path / "a", "old")
    code = f"""
import os, pathlib
from jaxlstm import files
pathlib.Path.replace = lambda *_: os._exit(9)
files.write(pathlib.Path({str(tmp_path / "a")!r}), "new")
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert (tmp_path / "a").read_text() == "old"
