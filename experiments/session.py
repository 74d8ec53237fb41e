"""What the five systems share around a run: its options, how it begins, how its settings are checked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxlstm.errors import UserError
from jaxlstm.reporting import console, progress_bar
from jaxlstm.runs import Run
from jaxlstm.training import Row


@dataclass(frozen=True)
class Options:
    """Where a run goes and where it comes from; nothing here changes what is learnt."""

    runs: Path = Path("runs")
    """Folder in which the run gets a folder of its own, NAME/TIMESTAMP."""
    resume: Path | None = None
    """Folder of a run that was stopped: go on from its last checkpoint, with its own settings."""
    data_dir: Path | None = None
    """File or folder with the data set; by default JAXLSTM_DATA, else it is downloaded."""


def begin(system: str, config: Any, options: Options) -> Run:
    """A new run, or the one to resume; a resumed run keeps the settings it was started with."""
    if options.resume is None:
        run = Run.create(options.runs, system, config)
        console.print(f"[bold]{system}[/bold]  run folder: {run.folder}")
        return run
    run = Run.open(options.resume, system, type(config))
    if config not in (type(config)(), run.config):
        raise UserError(f"--resume: {options.resume} keeps the settings it was started with; give no other settings")
    console.print(f"[bold]{system}[/bold]  resuming {run.folder}")
    return run


@contextmanager
def follow(run: Run, epochs: int, model: str = "") -> Iterator[Callable[[list[Row]], None]]:
    """Shows a progress bar and keeps metrics.jsonl up to date; what it hands out is `fit`'s `on_epochs`.

    A run that trains several models names the one that is being trained.
    """
    with progress_bar(model or run.system, epochs) as show:

        def on_epochs(rows: list[Row]) -> None:
            run.write_rows(rows, model)
            show(rows)

        yield on_epochs


def require_at_least(config: Any, minimum: float, *names: str) -> None:
    """Raises a UserError for the first named setting that is below `minimum`."""
    for name in names:
        value = getattr(config, name)
        if not value >= minimum:
            raise UserError(f"--{name.replace('_', '-')}: expected at least {minimum}, got {value}")


def run_to_use(system: str, config_type: type, predict: str | None, folder: Path | None) -> Run:
    """The finished run that --predict takes its parameters from."""
    if predict is None or folder is None:
        raise UserError("--predict and --from: expected both, a text and the folder of a finished run")
    return Run.open(folder, system, config_type)


def require_texts(texts: Any) -> None:
    """Raises a UserError for one text where a list of them is wanted, and for a text without a word or character."""
    if isinstance(texts, str):
        raise UserError("texts: expected a list of them, got one text")
    for number, text in enumerate(texts):
        if isinstance(text, str) and not text.strip():
            raise UserError(f"texts[{number}]: expected at least one word, got none")
