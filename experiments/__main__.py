"""`python -m experiments`: the four quick systems; with a name, that one; `all`, the five that bring their data."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import tyro

from experiments import (
    anomalies,
    autoencoder,
    charlm,
    cumsum,
    echo,
    echo_lengths,
    export,
    langid,
    manylang,
    presets,
    prices,
    sentiment,
    vowels,
)
from experiments.session import Options
from jaxlstm import processes
from jaxlstm.errors import UserError

QUICK = (echo, cumsum, autoencoder, langid)
EXPERIMENTS = {
    "echo": echo,
    "cumsum": cumsum,
    "autoencoder": autoencoder,
    "langid": langid,
    "sentiment": sentiment,
    "manylang": manylang,
    "charlm": charlm,
    "echo_lengths": echo_lengths,
    "vowels": vowels,
    "anomalies": anomalies,
    "prices": prices,
}


def quick(runs: Path = Path("runs"), data_dir: Path | None = None, seed: int = 0) -> None:
    """The four systems that take seconds each: echo, cumsum, autoencoder, langid.

    Args:
        runs: Folder in which each run gets a folder of its own, NAME/TIMESTAMP.
        data_dir: File or folder with the data sets; by default JAXLSTM_DATA, else they are downloaded.
        seed: Source of all randomness.
    """
    for system in QUICK:
        system.main(replace(system.Config(), seed=seed), Options(runs=runs, data_dir=data_dir))


def all_five(runs: Path = Path("runs"), data_dir: Path | None = None, seed: int = 0) -> None:
    """The four quick systems, then sentiment, which takes minutes.

    Args:
        runs: Folder in which each run gets a folder of its own, NAME/TIMESTAMP.
        data_dir: File or folder with the data sets; by default JAXLSTM_DATA, else they are downloaded.
        seed: Source of all randomness.
    """
    quick(runs, data_dir, seed)
    sentiment.main(replace(sentiment.Config(), seed=seed), Options(runs=runs, data_dir=data_dir))


def main(arguments: list[str]) -> int:
    """Runs the command line; the exit code is 2 for whatever the user can put right."""
    commands: dict[str, Callable[..., None]] = {
        "quick": quick,
        "all": all_five,
        **{name: experiment.main for name, experiment in EXPERIMENTS.items()},
        "export": export.main,
    }
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["quick", *arguments]
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        if (name := arguments[0]) in EXPERIMENTS:
            commands[name] = presets.main_of(EXPERIMENTS[name], arguments[1:])
        tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="python -m experiments",
            description="LSTMs written by hand in JAX, and what they learn. Without a name: quick.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes,),
        )
        processes.finish()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return processes.leave(2)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
