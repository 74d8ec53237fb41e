"""Training states on disk, as `jaxlstm.weights` writes parameters: a safetensors file each, the record in its header.

A file takes its name when it is complete, and tells by its digest whether it has been damaged since. Nothing is ever
unpickled. Arrays go through NumPy, so that a file knows nothing of the devices they were on; random keys are stored as
the numbers that they are made of.
"""

import re
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxlstm import processes, weights
from jaxlstm.checks import check_at_least, is_key
from jaxlstm.errors import CheckpointError, DamagedError


def save(path: str | Path, arrays: Any, record: dict[str, Any] | None = None) -> None:
    """Writes a pytree of arrays and a JSON record to a safetensors file, all or nothing; an older one is replaced.

    Of several processes the first one writes; in the others nothing happens.

    Raises:
      TypeError: a record that JSON cannot hold.
      ValueError: no arrays, one of a dtype that `jaxlstm.weights` does not know, or two of one name.
    """
    if not jax.tree.leaves(arrays):
        raise ValueError(f"arrays: expected at least one, got {arrays}")
    if processes.is_first():
        weights.save(path, jax.tree.map(_without_key, arrays), record)


def load(path: str | Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Reads what `save` wrote: a pytree in the form of `like` (arrays, or shapes but of random keys) and the record.

    Raises:
      CheckpointError: the file is missing, damaged, or holds other arrays than `like`.
    """
    return _in_form(path, *weights.read(path), like)


class Checkpoints:
    """The last few checkpoints of a run, a file for each, named by its epoch.

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
        names = (re.fullmatch(r"([0-9]+)\.safetensors", path.name) for path in self.folder.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def path(self, epoch: int) -> Path:
        """The file of one checkpoint."""
        return self.folder / f"{epoch}.safetensors"

    def save(self, epoch: int, arrays: Any, record: dict[str, Any]) -> None:
        """Adds a checkpoint, then removes what is beyond `keep`: first those of later epochs, then the oldest."""
        if not processes.is_first():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob("*.partial"):  # by a process that was killed
            left.unlink()
        save(self.path(epoch), arrays, record)
        # One of a later epoch was damaged when this training began, or it would have gone on from there.
        for old in sorted(self.epochs(), key=lambda other: (other <= epoch, other))[: -self.keep]:
            self.path(old).unlink()

    def load_latest(self, like: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """The newest checkpoint that is not damaged; each damaged one is named in a warning. None if none is left.

        Raises:
          CheckpointError: it holds other arrays than `like`, cannot be read, or is of a newer format.
        """
        for epoch in reversed(self.epochs()):
            path = self.path(epoch)
            try:
                arrays, record = weights.read(path)
            except DamagedError as error:
                warnings.warn(f"{error}; trying the checkpoint before it", stacklevel=2)
                continue
            try:
                return epoch, *_in_form(path, arrays, record, like)
            except CheckpointError as error:
                # Not passed over: training would start anew, in the place of what is here.
                raise CheckpointError(
                    f"{error}; this checkpoint is of another training: use another folder, or the same model and "
                    "optimiser"
                ) from None
        return None


def _in_form(path: str | Path, arrays: Any, record: dict[str, Any], like: Any) -> tuple[Any, dict[str, Any]]:
    plain = weights.in_form(path, arrays, jax.tree.map(_without_key, like))
    return jax.tree.map(_with_key, plain, like), record


def _without_key(leaf: Any) -> Any:
    """The numbers of a random key, or the array that a number is; arrays and shapes as they are."""
    if is_key(leaf):
        return jax.random.key_data(leaf) if isinstance(leaf, jax.Array) else jax.eval_shape(jax.random.key_data, leaf)
    return leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)


def _with_key(array: jax.Array, like: Any) -> jax.Array:
    if not is_key(like):
        return array
    return jax.random.wrap_key_data(array, impl=jax.random.key_impl(like) if isinstance(like, jax.Array) else None)
