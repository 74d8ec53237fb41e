"""Training states on disk, written through orbax.

A sealed folder holds the arrays, a JSON record and the SHA-256 of each of its files. It is written
under another name and renamed at the end, so that a folder of the final name is always complete; the
digests tell whether it has been damaged since. Nothing is ever unpickled.

Arrays go through NumPy, so that a folder knows nothing of the devices they were on.
"""

import hashlib
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxlstm import processes
from jaxlstm.checks import check_at_least
from jaxlstm.errors import CheckpointError
from jaxlstm.weights import check_form, describe

_ARRAYS, _RECORD, _DIGESTS = "arrays", "record.json", "digests.json"


def save(folder: str | Path, arrays: Any, record: dict[str, Any] | None = None) -> None:
    """Writes a pytree of arrays and a JSON record to `folder`, all or nothing; an older one is replaced.

    Of several processes the first one writes; in the others nothing happens.

    Raises:
      TypeError: a record that JSON cannot hold.
      ValueError: no arrays, or a record with the key "arrays", under which their shapes are kept.
    """
    if not jax.tree.leaves(arrays):
        raise ValueError(f"arrays: expected at least one, got {arrays}")
    if record and "arrays" in record:
        raise ValueError(f"record: expected no key 'arrays', which is for the arrays' shapes, got {list(record)}")
    if not processes.is_first():
        return
    folder = Path(folder).absolute()
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    partial.mkdir(parents=True)
    try:
        with _checkpointer() as checkpointer:
            checkpointer.save(partial / _ARRAYS, args=ocp.args.StandardSave(jax.tree.map(_as_stored, arrays)))
        (partial / _RECORD).write_text(json.dumps({"arrays": describe(arrays), **(record or {})}))
        (partial / _DIGESTS).write_text(json.dumps(_digests(partial)))
        replaced = _replaced(folder)
        if folder.is_dir():  # set aside, not removed: at any moment one of the two is there
            shutil.rmtree(replaced, ignore_errors=True)
            folder.rename(replaced)
        partial.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load(folder: str | Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Reads what `save` wrote: a pytree in the form of `like` (arrays or shapes) and the record.

    Raises:
      CheckpointError: the folder is missing, damaged, or holds arrays of other shapes.
    """
    folder = Path(folder).absolute()
    _check_undamaged(folder)
    return _read(folder, like)


class Checkpoints:
    """The last few checkpoints of a run, a sealed folder for each, named by its epoch.

    Raises:
      ValueError: `keep` is below 1.
    """

    def __init__(self, folder: str | Path, keep: int = 3):
        check_at_least("keep", keep, 1)
        self.folder = Path(folder)
        self.keep = keep

    def epochs(self) -> list[int]:
        """The epochs at which there is a checkpoint, in order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())

    def path(self, epoch: int) -> Path:
        """The folder of one checkpoint."""
        return self.folder / str(epoch)

    def save(self, epoch: int, arrays: Any, record: dict[str, Any]) -> None:
        """Adds a checkpoint, then removes what is beyond `keep`: first those of later epochs, then the oldest."""
        save(self.path(epoch), arrays, record)
        # One of a later epoch was damaged when this training began, or it would have gone on from there.
        for old in sorted(self.epochs(), key=lambda other: (other <= epoch, other))[: -self.keep]:
            shutil.rmtree(self.path(old))

    def load_latest(self, like: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """The newest checkpoint that is not damaged; each damaged one is named in a warning. None if none is left.

        Raises:
          CheckpointError: it holds other arrays than `like`.
        """
        for epoch in reversed(self.epochs()):
            folder = self.path(epoch).absolute()
            try:
                _check_undamaged(folder)
            except CheckpointError as error:
                warnings.warn(f"{error}; trying the checkpoint before it", stacklevel=2)
                continue
            try:
                return epoch, *_read(folder, like)
            except CheckpointError as error:
                # Not passed over: training would start anew, in the place of what is here.
                raise CheckpointError(
                    f"{error}; this checkpoint is of another training: use another folder, or the same model and "
                    "optimiser"
                ) from None
        return None


def _read(folder: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """What an undamaged folder holds; a CheckpointError if its arrays are not in the form of `like`."""
    record = json.loads((folder / _RECORD).read_text())
    check_form(folder, record.pop("arrays"), describe(like))
    target = jax.tree.map(lambda leaf: _as_stored(np.zeros(leaf.shape, leaf.dtype)), like)
    with _checkpointer() as checkpointer:
        arrays = checkpointer.restore(folder / _ARRAYS, args=ocp.args.StandardRestore(target))
    return jax.tree.map(_as_saved, arrays, like), record


def _as_stored(leaf: Any) -> np.ndarray:
    """What orbax is given: in the place of an array without entries, which it refuses, a single zero."""
    array = np.asarray(leaf)
    return array if array.size else np.zeros(1, array.dtype)


def _as_saved(stored: Any, like: Any) -> jax.Array:
    return jnp.asarray(stored) if like.size else jnp.zeros(like.shape, like.dtype)


def _checkpointer() -> ocp.Checkpointer:
    """Reads and writes for this process alone; left to itself, orbax waits for all processes."""
    own = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process {own}"
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _replaced(folder: Path) -> Path:
    """Where the older one is while another takes its place."""
    return folder.with_name(folder.name + ".replaced")


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _DIGESTS)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _check_undamaged(folder: Path) -> None:
    if not folder.is_dir():
        older = f"; the one before it is {_replaced(folder)}" if _replaced(folder).is_dir() else ""
        raise CheckpointError(f"{folder}: expected a folder of saved arrays, there is none{older}")
    try:
        expected = json.loads((folder / _DIGESTS).read_text())
    except (OSError, ValueError):
        expected = None
    if not isinstance(expected, dict):
        raise CheckpointError(f"{folder}: {_DIGESTS} is missing or unreadable")
    found = _digests(folder)
    for name in expected | found:
        if expected.get(name) != found.get(name):
            state = "missing" if name not in found else "not part of it" if name not in expected else "damaged"
            raise CheckpointError(f"{folder}: {name} is {state}")
