"""What the systems share around a run: its options, how it begins or is found again, how it is followed."""

import atexit
import hashlib
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from rich.markup import escape

from jaxlstm import parallel, processes
from jaxlstm.errors import UserError
from jaxlstm.files import write_json
from jaxlstm.reporting import console, progress
from jaxlstm.runs import Run
from jaxlstm.training import Row


@dataclass(frozen=True)
class Options:
    """Where a run goes, where it comes from and what it runs on; nothing here changes what is learnt."""

    runs: Path = Path("runs")
    """Folder in which the run gets a folder of its own, NAME/TIMESTAMP."""
    resume: Path | None = None
    """Folder of a run that was stopped: go on from its last checkpoint, with its own settings."""
    data_dir: Path | None = None
    """File or folder with the data set; by default JAXLSTM_DATA, else it is downloaded."""
    devices: int | None = None
    """Devices to split each batch over, in each process; CPU devices are made, and share the cores."""
    coordinator: str | None = None
    """HOST:PORT on the first of several processes, all started with the same command but for --process."""
    processes: int = 1
    """How many processes there are."""
    process: int = 0
    """Which one this is, counted from 0; the first one writes."""

    def __post_init__(self) -> None:
        if self.data_dir is not None and not self.data_dir.expanduser().exists():
            raise UserError(f"--data-dir: expected a file or folder with the data set, {self.data_dir} does not exist")

    @cached_property
    def mesh(self) -> Mesh | None:
        """What to train on; asked for before JAX is first used, it makes CPU devices and joins the processes."""
        if (self.coordinator is None) != (self.processes == 1):
            raise UserError(
                "--coordinator and --processes: expected both, an address of the first process and how many there are"
            )
        if self.coordinator is None and self.process:
            raise UserError(f"--process: expected --coordinator and --processes beside it, got {self.process} alone")
        try:
            if self.coordinator is not None:
                processes.connect(self.coordinator, self.processes, self.process)
            elif self.devices is None:
                return None
            return parallel.make_mesh(self.devices)
        except ValueError as error:
            raise UserError(f"--{error}") from None


begun: list[tuple[Run, Options]] = []  # by this command, the last one last


def begin(system: str, config: Any, options: Options) -> Run:
    """A new run, or the one to resume; a resumed run keeps the settings it was started with.

    Of several processes, all but the first are silent and have a folder that is removed at their end.
    """
    mesh = options.mesh
    console.quiet = not processes.is_first()
    if options.resume is None:
        _check_batch_size(config, mesh)
        run = Run.create(_own_folder(options.runs), system, config)
        begun.append((run, options))
        console.print(f"[bold]{system}[/bold]  run folder: {escape(str(run.folder))}", soft_wrap=True)
        return run
    if processes.is_first():
        run = Run.open(options.resume, system, type(config))
        check_settings("--resume", config, run)
    settings = processes.from_first(asdict(run.config) if processes.is_first() else None)
    if not processes.is_first():
        run = Run.create(_own_folder(options.runs), system, type(config)(**settings))
    _check_batch_size(run.config, mesh)
    begun.append((run, options))
    console.print(f"[bold]{system}[/bold]  resuming {escape(str(run.folder))}", soft_wrap=True)
    return run


def command_to_resume() -> str | None:
    """What continues the run that was begun last; None where there is none, or it is finished."""
    if not begun or not processes.is_first():
        return None
    run, options = begun[-1]
    if (run.folder / "result.json").exists():
        return None
    data = [] if options.data_dir is None else ["--data-dir", str(options.data_dir)]
    return shlex.join(["python", "-m", "experiments", run.system, "--resume", str(run.folder), *data])


def hold_to(run: Run, what: str, data: Iterable[str | np.ndarray]) -> None:
    """Keeps a digest of what a run learns from: one that is resumed goes on with the same, or not at all."""
    digest = hashlib.sha256()
    for part in data:
        digest.update(part.encode() if isinstance(part, str) else part.tobytes())
    found = {"data": what, "sha256": digest.hexdigest()}
    if (run.folder / "data.json").exists() and run.read_json("data.json")["sha256"] != found["sha256"]:
        raise UserError(f"--resume: {what}: not what {run.folder} has learnt from, or changed since")
    write_json(run.folder / "data.json", found)


def check_settings(option: str, given: Any, run: Run) -> None:
    """Raises a UserError for settings beside a run that has its own, unless they are the defaults."""
    if given not in (type(given)(), run.config):
        raise UserError(f"{option}: {run.folder} keeps the settings it was started with; give no other settings")


def check_not_resumed(options: Options) -> None:
    """Raises a UserError for --resume beside --from: nothing is trained."""
    if options.resume is not None:
        raise UserError("--resume and --from: expected one of them, a run to go on with or a finished one to ask")


def _own_folder(runs: Path) -> Path:
    if processes.is_first():
        return runs
    folder = tempfile.mkdtemp(prefix="jaxlstm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _check_batch_size(config: Any, mesh: Mesh | None) -> None:
    if mesh is None or mesh.size == 1:
        return
    if not hasattr(config, "batch_size"):  # the autoencoder
        raise UserError(f"--devices: expected one device, this system learns from one sequence, got {mesh.size}")
    if config.batch_size % mesh.size:
        raise UserError(
            f"--batch-size: expected a multiple of {mesh.size}, the number of devices, got {config.batch_size}"
        )


def batch_size_for(examples: int, config: Any, options: Options) -> int:
    """The batch size of the settings, or less where there are fewer examples; a multiple of the devices."""
    devices = 1 if options.mesh is None else options.mesh.size
    if examples < devices:
        raise UserError(f"--devices: expected at most {examples}, the number of examples, got {devices}")
    size = min(config.batch_size, examples)
    return size - size % devices


@contextmanager
def follow(run: Run, epochs: int, model: str = "") -> Iterator[Callable[[list[Row]], None]]:
    """Shows a progress bar and keeps metrics.jsonl up to date; what it hands out is `fit`'s `on_epochs`.

    A run that trains several models names the one that is being trained.
    """
    with progress(model or run.system, epochs) as show:

        def on_epochs(rows: list[Row]) -> None:
            run.write_rows(rows, model)
            show(rows)

        yield on_epochs


def run_to_ask(
    system: str, config: Any, options: Options, predict: str | None, folder: Path | None
) -> tuple[Run, str] | None:
    """The finished run of --from, and the text of --predict to ask it about; None without both, to train instead.

    The run keeps its own settings, so that others must not be given.
    """
    if predict is None and folder is None:
        return None
    if predict is None or folder is None:
        raise UserError("--predict and --from: expected both, a text and the folder of a finished run")
    check_not_resumed(options)
    if not predict.strip():
        raise UserError("--predict: expected a text with at least one word, got none")
    run = Run.open(folder, system, type(config))
    check_settings("--from", config, run)
    return run, predict
