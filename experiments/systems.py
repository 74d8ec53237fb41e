"""The five by name, and a finished run of any of them."""

from pathlib import Path
from types import ModuleType

from experiments import autoencoder, cumsum, echo, langid, sentiment
from jaxlstm.errors import CheckpointError
from jaxlstm.runs import Run, system_of

SYSTEMS = {"echo": echo, "cumsum": cumsum, "autoencoder": autoencoder, "langid": langid, "sentiment": sentiment}


def open_finished(folder: Path) -> tuple[ModuleType, Run]:
    """The system and the run in `folder`.

    Raises:
      CheckpointError: it is not a run of one of the five.
    """
    name = system_of(folder)
    if name not in SYSTEMS:
        raise CheckpointError(f"{folder}: expected a run of one of {', '.join(SYSTEMS)}, this is one of {name}")
    return SYSTEMS[name], Run.open(folder, name, SYSTEMS[name].Config)
