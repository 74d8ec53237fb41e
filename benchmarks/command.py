"""The command line of a benchmark: options from a dataclass, one line for what the user can put right."""

import sys
from collections.abc import Callable, Collection
from typing import Any

from jaxlstm.errors import UserError, line_of


def call(run: Callable[[Any], int | None], options: type[Any], module: str) -> int:
    """Runs `python -m MODULE` with the options of the command line; returns its exit code."""
    import tyro  # here, because `gpu_check` runs where it is not installed

    given = tyro.cli(options, prog=f"python -m {module}", config=(tyro.conf.FlagCreatePairsOff,))
    return exit_code(run, given)


def exit_code(run: Callable[[Any], int | None], options: Any) -> int:
    """What `run(options)` returns, 0 for None; 2 after an error of the user's or a file's, 130 after an interrupt."""
    try:
        return run(options) or 0
    except (UserError, OSError) as error:
        print(line_of(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the results written so far are kept", file=sys.stderr)
        return 130


def check_names(options: Any, option: str, known: Collection[str]) -> None:
    """Raises UserError unless every name that was given for an option is known."""
    given = getattr(options, option)
    for name in (given,) if isinstance(given, str) else given:
        if name not in known:
            count = "one" if name is given else "some"
            raise UserError(f"--{option}: expected {count} of {', '.join(known)}, got {name}")


def check_positive(options: Any, *numbers: str) -> None:
    """Raises UserError unless every number that was given for these options is at least 1."""
    for option in numbers:
        given = getattr(options, option)
        for number in given if isinstance(given, tuple) else (given,):
            if number < 1:
                raise UserError(f"--{option}: expected at least 1, got {number}")
