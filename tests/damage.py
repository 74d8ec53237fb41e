"""Files that are cut short."""

from pathlib import Path


def damage(path: Path) -> None:
    """Takes the last byte away."""
    path.write_bytes(path.read_bytes()[:-1])
