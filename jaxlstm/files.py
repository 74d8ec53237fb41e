"""Files that are there whole or not at all."""

from pathlib import Path


def write(path: Path, content: str | bytes) -> None:
    """Writes under another name and renames at the end; a file of the final name is always complete."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
