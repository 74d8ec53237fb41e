"""`python -m experiments`: the four quick systems; with a name, that one; `all`, the original five."""

import io
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import tyro

from experiments import export, presets, session
from experiments.session import Options
from experiments.systems import EXPERIMENTS, QUICK, SYSTEMS
from jaxlstm import processes
from jaxlstm.errors import UserError, line_of

INTERRUPTED = 130  # the exit code after Ctrl-C, by convention


def quick(runs: Path = Path("runs"), data_dir: Path | None = None, seed: int = 0) -> None:
    """The four systems that take one to three minutes in all: echo, cumsum, autoencoder, langid.

    Args:
        runs: Folder in which each run gets a folder of its own, NAME/TIMESTAMP.
        data_dir: File or folder with the data sets; by default JAXLSTM_DATA, else they are downloaded.
        seed: Source of all randomness.
    """
    _run(QUICK, runs, data_dir, seed)


def all_five(runs: Path = Path("runs"), data_dir: Path | None = None, seed: int = 0) -> None:
    """The four quick systems, then sentiment, which takes minutes.

    Args:
        runs: Folder in which each run gets a folder of its own, NAME/TIMESTAMP.
        data_dir: File or folder with the data sets; by default JAXLSTM_DATA, else they are downloaded.
        seed: Source of all randomness.
    """
    _run(SYSTEMS, runs, data_dir, seed)


def _run(systems: Mapping[str, ModuleType], runs: Path, data_dir: Path | None, seed: int) -> None:
    for system in systems.values():
        system.main(replace(system.Config(), seed=seed), Options(runs=runs, data_dir=data_dir))


def main(arguments: list[str]) -> int:
    """Runs the command line; the exit code is 2 for whatever the user can put right, 130 after an interrupt."""
    session.begun.clear()
    commands: dict[str, Callable[..., None]] = {
        "quick": quick,
        "all": all_five,
        **{name: experiment.main for name, experiment in EXPERIMENTS.items()},
        "export": export.main,
    }
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["quick", *arguments]
    if isinstance(sys.stdout, io.TextIOWrapper):  # a text may have characters that a file or terminal cannot take
        sys.stdout.reconfigure(errors="replace")
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        if (name := arguments[0]) in EXPERIMENTS:
            commands[name] = presets.main_of(EXPERIMENTS[name], arguments[1:])
        if name in commands:  # by itself, so that what is said of a misspelt option is of its options alone
            prog = f"python -m experiments {name}"
            tyro.cli(commands[name], prog=prog, args=arguments[1:], config=(tyro.conf.OmitArgPrefixes,))
        else:
            tyro.extras.subcommand_cli_from_dict(
                commands,
                prog="python -m experiments",
                description="LSTMs written by hand in JAX, and what they learn. Without a name: quick.",
                args=arguments,
            )
        processes.finish()
    except (UserError, OSError) as error:
        print(line_of(error), file=sys.stderr)
        return processes.leave(2)
    except KeyboardInterrupt:
        command = session.command_to_resume()
        print(f"interrupted: {command} continues it" if command else "interrupted", file=sys.stderr)
        return processes.leave(INTERRUPTED)
    return 0
