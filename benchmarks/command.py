"""The command line of a benchmark: options from a dataclass, one line for what the user can put right."""

import sys
from collections.abc import Callable
from typing import Any

import tyro

from jaxlstm.errors import UserError


def call(run: Callable[[Any], None], options: type[Any], module: str) -> int:
    """Runs `python -m MODULE` with the options of the command line; returns its exit code."""
    given = tyro.cli(options, prog=f"python -m {module}", config=(tyro.conf.FlagCreatePairsOff,))
    try:
        run(given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
