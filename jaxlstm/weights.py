"""Arrays in one file that any program can read: safetensors, with the configuration in the header.

The header keeps, beside names, dtypes and shapes,

    format           "jaxlstm"
    format_version   of what this page describes; a newer one is refused
    config           JSON, whatever the caller wants to come back with the arrays
    sha256           of the whole file, with zeros in the place of these 64 digits

so that a file that was cut short or altered is refused. Nothing is ever unpickled. A pytree is stored
flat; the name of an array is its path, such as "lstm.w_x".
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jax import Array

from jaxlstm import files
from jaxlstm.checks import dtype_of
from jaxlstm.errors import CheckpointError, DamagedError

FORMAT, FORMAT_VERSION = "jaxlstm", 1
_NO_DIGEST = "0" * 64
_DTYPES: dict[str, Any] = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": jnp.bfloat16, "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip
_KNOWN = [np.dtype(dtype) for dtype in _DTYPES.values()]


def save(path: str | Path, params: Any, config: Mapping[str, Any] | None = None) -> None:
    """Writes a pytree of arrays to a safetensors file, all or nothing; an older file is replaced.

    Args:
      path: of the file.
      params: any pytree of arrays.
      config: anything that JSON can hold, to come back from `load`.

    Raises:
      TypeError: a `config` that JSON cannot hold.
      ValueError: an array of a dtype that `read` does not know, or two of one name, or one named "__metadata__".
    """
    leaves = named(params)
    if "__metadata__" in leaves:
        raise ValueError("__metadata__: expected another name for an array, it is that of the file's own header")
    for name, leaf in leaves.items():
        if leaf.dtype not in _KNOWN:
            raise ValueError(f"{name}: expected one of {', '.join(map(str, _KNOWN))}, got {leaf.dtype}")
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(dict(config or {})),
        "sha256": _NO_DIGEST,
    }
    arrays = {name: np.ascontiguousarray(leaf).reshape(leaf.shape) for name, leaf in leaves.items()}
    content = _in_order(safetensors.numpy.save(arrays, header))
    files.write(path, _with_digest(content, _NO_DIGEST, _digest(content)))


def load(path: str | Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Reads what `save` wrote: a pytree in the form of `like` (arrays or shapes) and the config.

    Raises:
      CheckpointError: as `read` says, or the file holds other arrays than `like`, or some of 64 bits while
        jax_enable_x64 is off.
    """
    arrays, config = read(path)
    return in_form(path, arrays, like), config


def in_form(path: str | Path, arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    """Arrays by name, read from `path`, as a pytree in the form of `like` (arrays or shapes).

    Raises:
      CheckpointError: other arrays than `like`, or some of 64 bits while jax_enable_x64 is off.
    """
    check_form(path, describe(arrays), describe(like))
    for name, array in arrays.items():
        if dtype_of(array) != array.dtype:
            raise CheckpointError(f"{path}: {name} is {array.dtype}, which JAX holds with jax_enable_x64 alone")
    leaves = [jnp.asarray(arrays[name]) for name in named(like)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays by name and the config.

    Raises:
      CheckpointError: the file is missing, cut short, altered, of a newer format version, or not one of jaxlstm.
    """
    try:
        content = Path(path).read_bytes()
    except OSError:
        raise CheckpointError(f"{path}: expected a safetensors file, there is none that can be read") from None
    try:
        header = json.loads(_header(content))["__metadata__"]
        form, version, digest = header["format"], int(header["format_version"]), header["sha256"]
    except (ValueError, KeyError, TypeError):
        raise DamagedError(f"{path}: damaged, or no safetensors file that jaxlstm wrote") from None
    if form != FORMAT:
        raise CheckpointError(f"{path}: expected a file that jaxlstm wrote, its format is {form!r}")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: its format version is {version}, this jaxlstm reads up to {FORMAT_VERSION}; a newer one reads it"
        )
    if _digest(_with_digest(content, digest, _NO_DIGEST)) != digest:
        raise DamagedError(f"{path}: damaged, its content is not what was written")
    arrays = {
        name: np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
        for name, tensor in safetensors.deserialize(content)
    }
    return arrays, json.loads(header["config"])


def named(arrays: Any) -> dict[str, Array]:
    """The leaves of a pytree by their paths, such as "lstm.w_x".

    Raises:
      ValueError: two leaves of one name, as {"a.b": 1} and {"a": {"b": 2}} give them.
    """
    by_name: dict[str, Array] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in by_name:
            raise ValueError(f"{name}: expected one array of this name, got two; rename a key that has a dot in it")
        by_name[name] = leaf
    return by_name


def describe(arrays: Any) -> dict[str, str]:
    """The dtype and shape of each leaf, by its path."""
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in named(arrays).items()}


def check_form(path: str | Path, stored: dict[str, str], expected: dict[str, str]) -> None:
    """Raises a CheckpointError that names the first array in which two descriptions differ."""
    for name in stored | expected:
        if stored.get(name) != expected.get(name):
            raise CheckpointError(
                f"{path}: expected {name} to be {expected.get(name, 'absent')}, it is {stored.get(name, 'absent')}"
            )


def _header(content: bytes) -> bytes:
    """The JSON in front: its length comes first, in eight bytes."""
    return content[8 : 8 + int.from_bytes(content[:8], "little")]


def _in_order(content: bytes) -> bytes:
    """The file with its own part of the header in one order: safetensors writes it in another each time."""
    header = json.loads(_header(content))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # what follows is aligned to 8 bytes
    return len(text).to_bytes(8, "little") + text + content[8 + len(_header(content)) :]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _with_digest(content: bytes, old: str, new: str) -> bytes:
    """The file with another digest in its header."""
    header = _header(content)
    return content[:8] + header.replace(f'"{old}"'.encode(), f'"{new}"'.encode()) + content[8 + len(header) :]
