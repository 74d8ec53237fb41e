"""The folder that a run leaves: what was asked for, what happened, what came out.

runs/NAME/TIMESTAMP/
    config.json              the settings, and the command
    metrics.jsonl            one line for each epoch
    checkpoints/             the last few training states
    parameters.safetensors   what was learnt
    *.png                    plots
    result.json              the figures, written last
"""

import dataclasses
import json
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import jax

import jaxlstm
from jaxlstm import files, weights
from jaxlstm.checkpoint import Checkpoints
from jaxlstm.errors import CheckpointError

Config = TypeVar("Config")


class Run:
    """One run of one system."""

    def __init__(self, folder: Path, system: str, config: Any, command: str):
        self.folder = folder
        self.system = system
        self.config = config
        self.command = command  # that began it
        self._rows: dict[str, list[dict[str, Any]]] = {}  # by model, in the order of training

    @classmethod
    def create(cls, root: Path, system: str, config: Any) -> "Run":
        """A new folder `root/system/TIMESTAMP` that holds the config, a dataclass."""
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S")
        for attempt in range(1000):
            folder = root / system / (stamp if not attempt else f"{stamp}-{attempt}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            run = cls(folder, system, config, command_line())
            files.write_json(folder / "config.json", run._settings() | {"command": run.command})
            return run
        raise FileExistsError(folder)

    @classmethod
    def open(cls, folder: Path, system: str, config_type: Callable[..., Any]) -> "Run":
        """The run in `folder`, to be resumed or used.

        Raises:
          CheckpointError: it is not a run, or one of another system, or of other settings than this version knows.
        """
        path = folder / "config.json"
        settings = _read_settings(folder)
        found, command = settings.pop("system", None), settings.pop("command", "")
        if found != system:
            raise CheckpointError(f"{folder}: expected a run of {system}, this is one of {found}")
        try:
            config = config_type(**settings)
        except TypeError as error:
            raise CheckpointError(f"{path}: expected the settings of {system}: {error}") from None
        return cls(folder, system, config, command)

    def _settings(self) -> dict[str, Any]:
        return {"system": self.system, **dataclasses.asdict(self.config)}

    def checkpoints(self, stage: str = "") -> Checkpoints:
        """Where training states go; a run that trains several models names a stage for each."""
        return Checkpoints(self.folder / "checkpoints" / stage)

    def write_rows(self, rows: Sequence[Mapping[str, Any]], model: str = "") -> None:
        """metrics.jsonl, whole: after a resumption the lines beyond the checkpoint must go.

        A run that trains several models names the one that the rows are of; each line then says it.
        """
        self._rows[model] = [{"model": model, **row} if model else dict(row) for row in rows]
        lines = [json.dumps(row) + "\n" for of_model in self._rows.values() for row in of_model]
        files.write(self.folder / "metrics.jsonl", "".join(lines))

    def read_json(self, name: str) -> Any:
        """A JSON file of the run.

        Raises:
          CheckpointError: it is missing or unreadable.
        """
        return _read_json(self.folder, name)

    def save_parameters(self, params: Any, name: str = "parameters") -> Path:
        """Saves a pytree of arrays as NAME.safetensors in the folder, the settings in its header."""
        path = self.folder / f"{name}.safetensors"
        weights.save(path, params, self._settings())
        return path

    def load_parameters(self, like: Any, name: str = "parameters") -> Any:
        """Reads them back, in the form of `like`.

        Raises:
          CheckpointError: they are missing, damaged, or of other shapes.
        """
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            raise CheckpointError(
                f"{self.folder}: expected a finished run, it has no {path.name}; --resume continues it"
            )
        return weights.load(path, like)[0]

    def finish(
        self, metrics: dict[str, float], original: dict[str, float], params: Any, seconds: float, **facts: str
    ) -> dict[str, Any]:
        """Writes result.json, the last file of a run, and returns what is in it; `facts` are more of it."""
        result = {
            "system": self.system,
            "metrics": metrics,
            "original": original,
            "config": dataclasses.asdict(self.config),
            "parameters": count_parameters(params),
            "seconds": round(seconds, 3),
            "peak_memory": peak_memory(),
            "command": self.command,
            "device": jax.devices()[0].device_kind,
            "versions": versions(),
            **facts,
        }
        files.write_json(self.folder / "result.json", result)
        return result


def system_of(folder: Path) -> str:
    """The system that a run is of.

    Raises:
      CheckpointError: it is not a run.
    """
    return str(_read_settings(folder).get("system"))


def count_parameters(params: Any) -> int:
    """The number of entries of all arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def peak_memory() -> int | None:
    """The most bytes that were in use at a time so far: on the device, or by this process where it is the CPU.

    None where the system does not tell.
    """
    if stats := jax.local_devices()[0].memory_stats():
        return stats["peak_bytes_in_use"]
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def command_line() -> str:
    """The command that started this program, the interpreter without its folder."""
    interpreter, *arguments = sys.orig_argv
    return shlex.join([Path(interpreter).name, *arguments])


def versions() -> dict[str, str]:
    """What the result was computed with."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    ours = {"python": platform.python_version(), "jaxlstm": jaxlstm.__version__}
    return ours | {name: metadata.version(name) for name in packages}


def _read_settings(folder: Path) -> dict[str, Any]:
    settings = _read_json(folder, "config.json")
    if not isinstance(settings, dict):
        raise CheckpointError(f"{folder / 'config.json'}: expected settings by name, got {type(settings).__name__}")
    return settings


def _read_json(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text())
    except (OSError, ValueError):
        raise CheckpointError(f"{folder}: expected the folder of a run, it has no readable {name}") from None
