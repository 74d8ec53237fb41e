"""`python -m benchmarks.echo_profile`: how much of the echo system's training runs inside compiled code.

The experiment runs as it is under cProfile. Python waits in `block_until_ready` while a compiled epoch
works; whatever else `fit` spends, checkpoints and metrics included, is time outside of compiled code.
Tracing and compiling the epoch come once and are left out.
"""

import cProfile
import pstats
import tempfile
from pathlib import Path

from experiments import echo
from experiments.session import Options


def main() -> None:
    """Prints the share."""
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        profile.runcall(echo.main, echo.Config(), Options(runs=Path(folder)))
    stats = pstats.Stats(profile)
    fit = _cumulative(stats, "training.py", "fit")
    # The call returns at once, but for the first one, which traces and compiles.
    calling = _cumulative(stats, "training.py", "<lambda>")
    inside = _cumulative(stats, "api.py", "block_until_ready")
    print(f"fit took {fit:.2f} s, of which tracing, compiling and dispatch {calling:.2f} s")
    print(f"of the rest, {inside / (fit - calling):.1%} inside compiled code")


def _cumulative(stats: pstats.Stats, file: str, name: str) -> float:
    rows = stats.stats.items()  # type: ignore[attr-defined]
    (seconds,) = [row[3] for (path, _, function), row in rows if path.endswith(file) and function == name]
    return seconds


if __name__ == "__main__":
    main()
