"""What the tests of data sets share: local copies, errors of one line, damage."""

import os
from pathlib import Path

import pytest

from jaxlstm.data.fetch import Source

LOCAL_DATA = os.environ.get("JAXLSTM_DATA")


def needs_local(source: Source):
    present = LOCAL_DATA is not None and any((Path(LOCAL_DATA) / name).exists() for name in source.names)
    return pytest.mark.skipif(not present, reason=f"JAXLSTM_DATA names no folder that holds {source.name}")


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]
