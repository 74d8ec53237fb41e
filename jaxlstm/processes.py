"""Training in several processes, on one machine or many: joining them, what one tells all, and a lost one.

Every process runs the same program on the same data and trains on its part of each batch
(`jaxlstm.parallel`). The first one writes: checkpoints, the run folder, the console. If one dies, the
others cannot go on; each ends with one line that says so, and the run resumes from its last checkpoint.

There are two ways to notice. A connection that breaks ends the next exchange of gradients with an
error, which becomes a `LostProcessError`. Where the first process is gone, or a whole machine is silent,
JAX itself notices, and aborts this process from native code with a page of output, which no Python code
can prevent; `filter_output`, in a small process that outlives it, puts the same one line in its place.
"""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxlstm.errors import LostProcessError

LOST = "another process of this run is gone or never came; start all of them again, and resume from the last checkpoint"
HEARTBEAT_SECONDS = 30  # without a sign of life after which a process counts as gone
CONNECT_SECONDS = 120  # for which the processes wait for each other at the start

# How the libraries that exchange gradients (Gloo on CPUs, NCCL on GPUs) and JAX's own service report it.
_CONNECTION = re.compile(r"gloo|nccl|connection (reset|closed|refused)|socket closed|coordination service", re.I)


def connect(coordinator: str, processes: int, process: int) -> None:
    """Joins the processes of a run, before JAX is first used; `finish` ends it.

    Args:
      coordinator: HOST:PORT, an address of the first process that all can reach.
      processes: how many there are.
      process: which this is, counted from 0.

    Raises:
      ValueError: an address without a port, or a process outside 0 to processes - 1.
      LostProcessError: the others did not come within two minutes.
    """
    if not re.fullmatch(r".+:\d+", coordinator):
        raise ValueError(f"coordinator: expected HOST:PORT, got {coordinator!r}")
    if not 0 <= process < processes:
        raise ValueError(f"process: expected 0 to {processes - 1}, one of {processes}, got {process}")
    _filter_native_output()
    sys.excepthook = _end_at_once
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            initialization_timeout=CONNECT_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise LostProcessError(f"{coordinator}: expected {processes} processes to meet there: {reason}") from None


def is_first() -> bool:
    """Whether this process is the one that writes; in a program of one process it is."""
    return jax.process_index() == 0


@contextmanager
def lost_processes_named() -> Iterator[None]:
    """Turns what a broken connection raises into a `LostProcessError`; also a decorator."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # jaxlib raises either
        if jax.process_count() > 1 and _CONNECTION.search(str(error)):
            raise LostProcessError(LOST) from None
        raise


def own_rows(batch_size: int) -> slice:
    """The rows of a batch that this process feeds.

    Raises:
      ValueError: the processes do not divide the batch size.
    """
    count = jax.process_count()
    if batch_size % count:
        raise ValueError(f"batch size: expected a multiple of {count}, the number of processes, got {batch_size}")
    rows = batch_size // count
    return slice(jax.process_index() * rows, (jax.process_index() + 1) * rows)


@lost_processes_named()
def from_first(value: Any) -> Any:
    """What the first process gives, anything that JSON can hold, in every process."""
    if jax.process_count() == 1:
        return value
    text = np.frombuffer(json.dumps(value if is_first() else None).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(text.size)))
    padded = text if is_first() else np.zeros(size, np.uint8)
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8).tobytes())


@lost_processes_named()
def arrays_from_first(arrays: Any) -> Any:
    """The first process's values of a pytree of arrays that has the same shapes in every process."""
    if jax.process_count() == 1:
        return arrays
    return jax.tree.map(jax.numpy.asarray, multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, arrays)))


@lost_processes_named()
def finish() -> None:
    """Waits until every process has come here; a first process that left earlier would end the others."""
    if jax.distributed.is_initialized():
        multihost_utils.sync_global_devices("finish")


def leave(code: int) -> int:
    """The exit code, for `sys.exit`; of several processes one that has failed ends here and now.

    An orderly exit waits for the other processes, and they wait for this one.
    """
    if code and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _end_at_once(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What `sys.excepthook` does in one of several processes: an orderly exit would wait for the others."""
    if isinstance(error, LostProcessError):
        print(f"error: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
    leave(1)


def _filter_native_output() -> None:
    sys.stderr.flush()
    if isinstance(sys.stderr, io.TextIOWrapper):  # under PYTHONUNBUFFERED, a native line would come amid one of ours
        sys.stderr.reconfigure(line_buffering=True, write_through=False)
    # By its path, and -P: importing it from the package would import the package.
    command = [sys.executable, "-P", str(Path(__file__).with_name("filter_output.py")), LOST]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    os.dup2(process.stdin.fileno(), 2)
    process.stdin.close()
