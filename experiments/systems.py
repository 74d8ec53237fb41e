"""All experiments by name, and a finished run of one of the original five."""

from pathlib import Path
from types import ModuleType

from experiments import (
    anomalies,
    autoencoder,
    charlm,
    cumsum,
    echo,
    echo_lengths,
    langid,
    manylang,
    prices,
    sentiment,
    vowels,
)
from jaxlstm.errors import CheckpointError
from jaxlstm.runs import Run, system_of

QUICK = {"echo": echo, "cumsum": cumsum, "autoencoder": autoencoder, "langid": langid}
SYSTEMS = {**QUICK, "sentiment": sentiment}  # the original five; they alone can be exported and asked
EXPERIMENTS = {
    **SYSTEMS,
    "manylang": manylang,
    "charlm": charlm,
    "echo_lengths": echo_lengths,
    "vowels": vowels,
    "anomalies": anomalies,
    "prices": prices,
}


def open_finished(folder: Path) -> tuple[ModuleType, Run]:
    """The system and the run in `folder`.

    Raises:
      CheckpointError: it is not a run of one of the five.
    """
    name = system_of(folder)
    if name not in SYSTEMS:
        raise CheckpointError(f"{folder}: expected a run of one of {', '.join(SYSTEMS)}, this is one of {name}")
    return SYSTEMS[name], Run.open(folder, name, SYSTEMS[name].Config)
