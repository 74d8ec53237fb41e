"""Training: optax on Flax's TrainState, whole epochs compiled into one call.

    for each epoch:   draw an order, then for each batch one step of the optimiser
    after an epoch:   validate, write its metrics, save a checkpoint, perhaps stop

With `Batches` the loop over the steps is a `jax.lax.scan` inside `jit`, and Python is not entered
before the epoch is over. Everything random comes from the run's key, the epoch's number and the
step's, so that a run taken up from a checkpoint goes on bit for bit as if it had not been stopped.

On a mesh of devices (`jaxlstm.parallel`) the loop is the same: the state lies whole on each of them,
each batch is split. With several processes, all of them run the loop, and the first one writes.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training import train_state
from jax import Array
from jax.sharding import Mesh

from jaxlstm import parallel, processes
from jaxlstm.batches import Batches, Stream
from jaxlstm.cell import cell_dtype
from jaxlstm.checkpoint import Checkpoints
from jaxlstm.checks import check_at_least, check_key
from jaxlstm.errors import DivergedError

# (params, batch, key) -> (loss, metrics), or with a carry (params, carry, batch, key) -> (loss, (carry, metrics))
Loss = Callable[..., tuple[Array, Any]]
Row = dict[str, float]  # the metrics of one epoch, as in metrics.jsonl


class TrainState(train_state.TrainState):
    """Flax's, and what a step hands to the next beside it."""

    carry: Any = None  # None without one


class EarlyStopping(NamedTuple):
    """Keep the parameters of the best epoch; stop when `patience` epochs have brought nothing better."""

    metric: str  # a name from the rows, "validation_loss" say
    patience: int
    maximise: bool = False
    target: float | None = None  # stop as soon as the metric is there

    def best(self, rows: list[Row]) -> int:
        """The index of the best row, the first of equals. A NaN is never best; where all are NaN it is the first.

        Raises:
          ValueError: the rows have no such metric.
        """
        for row in rows:
            if self.metric not in row:
                raise ValueError(f"stopping.metric: expected one of {', '.join(row)}, got {self.metric!r}")
        values = {index: row[self.metric] for index, row in enumerate(rows) if not math.isnan(row[self.metric])}
        return (max if self.maximise else min)(values, key=values.__getitem__, default=0)

    def reached(self, rows: list[Row]) -> bool:
        """Whether the best row is at the target."""
        if self.target is None:
            return False
        best = rows[self.best(rows)][self.metric]
        return best >= self.target if self.maximise else best <= self.target


class Fitted(NamedTuple):
    """What training leaves."""

    params: Any  # of the last epoch, or of the best one with early stopping
    rows: list[Row]  # the metrics of each epoch
    best_epoch: int  # the epoch that `params` come from, counted from 1
    seconds: float  # spent training, before a resumption too


@processes.lost_processes_named()
def fit(
    loss: Loss,
    params: Any,
    optimiser: optax.GradientTransformation,
    batches: Batches | Stream,
    *,
    epochs: int,
    key: Array,
    validate: Callable[[Any], dict[str, float]] | None = None,
    stopping: EarlyStopping | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: int = 1,
    epochs_per_call: int = 1,
    on_epochs: Callable[[list[Row]], None] = lambda rows: None,
    carry: Any = None,
    mesh: Mesh | None = None,
) -> Fitted:
    """Trains `params` to minimise `loss`.

    Args:
      loss: (params, batch, key) -> (loss, metrics), both means over the batch; the key is for dropout.
      params: a pytree of arrays, JAX's or NumPy's, not a bare array (TrainState looks into it).
      optimiser: an optax transformation.
      batches: from `jaxlstm.batches`.
      epochs: how many epochs in all.
      key: the source of all randomness.
      validate: params -> metrics, called after each call of compiled epochs; its metrics appear in
        the rows with the prefix "validation_".
      stopping: needs `validate` or a metric of training.
      checkpoints: where to save, and what to resume from if it holds a checkpoint already.
      checkpoint_every: epochs between checkpoints; the last epoch is always saved.
      epochs_per_call: epochs compiled into one call; for epochs that take less time than the call.
      on_epochs: told all rows so far after each call, and once at the start.
      carry: a pytree of arrays that each step hands to the next, an LSTM's state that goes on from one
        window of a text to the next (truncated back-propagation through time). The loss is then
        (params, carry, batch, key) -> (loss, (carry, metrics)). No gradient flows through it from step to
        step, and it is not reset at an epoch's start: the loss does that where the batch says so.
      mesh: the devices to train on, from `jaxlstm.parallel.make_mesh`; the default device without one.
        Losses and parameters do not depend on it, but for the order in which gradients are summed.
        `validate` and what is returned are on one device. With several processes all arguments must
        be the same in each; the first one reads and writes the checkpoints.

    Raises:
      CheckpointError: the checkpoint to resume from holds other arrays than this training, those of another
        model or optimiser.
      DivergedError: the parameters hold a NaN or an infinity at the start or after an epoch, or a
        loss turned into one; names the epoch, the step and the last good checkpoint.
      LostProcessError: another of several processes is gone.
      ValueError: no random key, a loss that returns something else, a number of epochs or steps out of range, early
        stopping without patience, with more than one epoch in a call, on a metric that there is not, or other than
        that of the training to resume; a batch size that the devices do not divide, or no mesh with several
        processes; a stream of more or fewer batches than it says.
    """
    if not isinstance(batches, Batches | Stream):
        raise ValueError(f"batches: expected Batches or a Stream, got {type(batches).__name__}")
    if not isinstance(checkpoints, Checkpoints | None):
        raise ValueError(f"checkpoints: expected Checkpoints, got {type(checkpoints).__name__}")
    mesh = parallel.automatic(mesh)
    if mesh is None and jax.process_count() > 1:
        raise ValueError(f"mesh: expected one over the {jax.process_count()} processes, got None")
    check_key(key)
    check_at_least("batches.steps", batches.steps, 1)
    check_at_least("epochs", epochs, 0)
    check_at_least("epochs_per_call", epochs_per_call, 1)
    check_at_least("checkpoint_every", checkpoint_every, 1)
    if stopping is not None:
        check_at_least("stopping.patience", stopping.patience, 1)
        if epochs_per_call != 1:
            raise ValueError(f"epochs_per_call: expected 1 with early stopping, got {epochs_per_call}")
    # As JAX's arrays from the start: as numbers, or NumPy's in float64, they would not be what a checkpoint holds.
    params, carry = jax.tree.map(jnp.asarray, (params, carry))
    _check_finite(params, "initial parameters")
    state = TrainState.create(apply_fn=loss, params=params, tx=optimiser, carry=carry)
    state = state.replace(step=jnp.zeros((), jnp.int32))  # Flax starts from a Python int, which is no array to save
    best, rows, seconds = params, [], 0.0
    if checkpoints is not None:
        (state, best), record = _resume(checkpoints, (state, best))
        rows, seconds = record.get("rows", []), record.get("seconds", 0.0)
        if stopping is None:
            best = state.params
        elif rows and record.get("best_epoch") not in (None, _best_epoch(rows, stopping)):
            raise ValueError(
                f"stopping: expected that of the training to resume, whose best epoch is {record['best_epoch']}, "
                f"got one whose best is {_best_epoch(rows, stopping)}"
            )
    on_epochs(rows)

    run_epochs = _compile_epochs(batches, mesh)
    state, key = parallel.replicate((state, key), mesh)
    start = time.perf_counter() - seconds
    while len(rows) < epochs and not _is_over(rows, stopping):
        first = len(rows)
        calls = min(epochs_per_call, epochs - first)
        state, losses, metrics = jax.block_until_ready(run_epochs(state, key, np.arange(first, first + calls)))
        _check_losses(np.asarray(losses), first, checkpoints)
        params = parallel.local(state.params, mesh)
        _check_finite(params, f"parameters after epoch {first + calls}")

        rows = [*rows, *_rows(first, losses, metrics)]
        if validate is not None:
            rows[-1] |= {f"validation_{name}": float(value) for name, value in validate(params).items()}
            rows = processes.from_first(rows)  # so that all of them stop at the same epoch
        if stopping is None or stopping.best(rows) >= first:
            best = params
        over = len(rows) == epochs or _is_over(rows, stopping)
        if checkpoints is not None and (over or len(rows) // checkpoint_every > first // checkpoint_every):
            taken = time.perf_counter() - start
            record = {"rows": rows, "best_epoch": _best_epoch(rows, stopping), "seconds": taken}
            checkpoints.save(len(rows), (parallel.local(state, mesh), best), record)
        on_epochs(rows)
    return Fitted(best, rows, _best_epoch(rows, stopping), time.perf_counter() - start)


def _resume(checkpoints: Checkpoints, start: Any) -> tuple[Any, dict[str, Any]]:
    """The arrays and the record of the newest checkpoint; of the start and empty without one."""
    saved = checkpoints.load_latest(start) if processes.is_first() else None
    record = processes.from_first(saved[2] if saved else {})
    return processes.arrays_from_first(saved[1] if saved else start) if record else start, record


def _step(
    state: TrainState, batch: Any, key_steps: Array, index: Array
) -> tuple[TrainState, tuple[Array, dict[str, Array]]]:
    def checked(*arguments: Any) -> tuple[Array, Any]:
        returned = state.apply_fn(*arguments)
        _check_returned(returned, state.carry is not None)
        return returned

    gradient = jax.value_and_grad(checked, has_aux=True)
    key = jax.random.fold_in(key_steps, index)
    if state.carry is None:
        (loss, metrics), grads = gradient(state.params, batch, key)
        return state.apply_gradients(grads=grads), (loss, metrics)
    (loss, (carry, metrics)), grads = gradient(state.params, state.carry, batch, key)
    return state.apply_gradients(grads=grads, carry=carry), (loss, metrics)


def _check_returned(returned: Any, carried: bool) -> None:
    """Raises ValueError unless a loss has returned (loss, metrics), or (loss, (carry, metrics)): numbers."""
    nothing: Any = (None, None)
    loss, metrics = returned if _is_pair(returned) else nothing
    if carried:
        _, metrics = metrics if _is_pair(metrics) else nothing
    numbers = [loss, *metrics.values()] if isinstance(metrics, dict) else [None]
    if any(jax.tree.map(jnp.shape, number) != () for number in numbers):
        expected = "(loss, (carry, metrics))" if carried else "(loss, metrics)"
        got = jax.tree.map(jnp.shape, returned)
        raise ValueError(
            f"loss: expected it to return {expected}, a number and a dict of numbers, got the shapes {got}"
        )
    if taken := {"epoch", "loss"} & metrics.keys():
        raise ValueError(f"loss: expected metrics of other names than epoch and loss, got {', '.join(sorted(taken))}")


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def _compile_epochs(
    batches: Batches | Stream, mesh: Mesh | None
) -> Callable[[TrainState, Array, np.ndarray], tuple[TrainState, Array, Any]]:
    """(state, key, epochs [E]) -> state, loss of each step [E, S], mean metrics of each epoch [E]."""
    if isinstance(batches, Stream):

        def step(*arguments: Any) -> Any:
            # A function of this training: of an earlier one with the same loss JAX would take the program, although
            # the loss may have read other values then.
            return _step(*arguments)

        return partial(_stream_epochs, batches, mesh, parallel.compiled(step, mesh))

    # The state is not donated: the best parameters may be the same buffers.
    def run(state: TrainState, key: Array, epochs: Array, data: Any):
        def epoch(state: TrainState, number: Array):
            key_order, key_steps = _epoch_keys(key, number)
            plan = batches.plan(data, key_order)

            def step(state: TrainState, index: Array):
                batch = parallel.split(batches.take(data, plan, index), mesh)
                return _step(state, batch, key_steps, index)

            state, (losses, metrics) = jax.lax.scan(step, state, jnp.arange(batches.steps))
            return state, (losses, jax.tree.map(_mean, metrics))

        state, (losses, metrics) = jax.lax.scan(epoch, state, epochs)
        return state, losses, metrics

    run_compiled, data = parallel.compiled(run, mesh), parallel.replicate(batches.data, mesh)
    return lambda state, key, epochs: run_compiled(state, key, epochs, data)


def _epoch_keys(key: Array, number: Array) -> Array:
    """A key for the order of the examples, a key for the steps."""
    return jax.random.split(jax.random.fold_in(key, number))


def _stream_epochs(
    batches: Stream, mesh: Mesh | None, step: Any, state: TrainState, key: Array, epochs: np.ndarray
) -> tuple[TrainState, Array, Any]:
    results = []
    for number in epochs:
        key_order, key_steps = _epoch_keys(parallel.local(key, mesh), number)
        key_steps = parallel.replicate(key_steps, mesh)
        trail = []
        # The call returns before the step is done, so the next batch is read while the device works.
        for index, batch in enumerate(batches.epoch(key_order)):
            if index == batches.steps:
                raise ValueError(f"batches.epoch: expected {batches.steps} batches, got more")
            state, result = step(state, parallel.feed(_copied(batch), mesh), key_steps, np.int32(index))
            trail.append(parallel.local(result, mesh))
        if len(trail) != batches.steps:
            raise ValueError(f"batches.epoch: expected {batches.steps} batches, got {len(trail)}")
        losses, metrics = jax.tree.map(lambda *steps: jnp.stack(steps), *trail)
        results.append((losses, jax.tree.map(_mean, metrics)))
    losses, metrics = jax.tree.map(lambda *epochs: jnp.stack(epochs), *results)
    return state, losses, metrics


def _copied(batch: Any) -> Any:
    """On a CPU a step reads NumPy's arrays where they are; a loader may fill the same ones again before it has."""
    return jax.tree.map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, batch)


def _mean(values: Array) -> Array:
    """In at least float32: the mean of many in half precision."""
    return jnp.mean(values, dtype=cell_dtype(values.dtype))


def _rows(first: int, losses: Array, metrics: dict[str, Array]) -> Iterator[Row]:
    for index, epoch_losses in enumerate(np.asarray(losses)):
        row: Row = {"epoch": first + index + 1, "loss": float(epoch_losses.mean(dtype=np.float64))}
        yield row | {name: float(values[index]) for name, values in metrics.items()}


def _best_epoch(rows: list[Row], stopping: EarlyStopping | None) -> int:
    return stopping.best(rows) + 1 if stopping and rows else len(rows)


def _is_over(rows: list[Row], stopping: EarlyStopping | None) -> bool:
    if stopping is None or not rows:
        return False
    return stopping.reached(rows) or len(rows) - 1 - stopping.best(rows) >= stopping.patience


def _check_finite(params: Any, what: str) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not np.isfinite(leaf).all():  # in NumPy: jnp would compile once for each shape
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise DivergedError(f"{what}: expected finite numbers, {name} holds a NaN or an infinity")


def _check_losses(losses: np.ndarray, first: int, checkpoints: Checkpoints | None) -> None:
    bad = np.argwhere(~np.isfinite(losses))
    if len(bad):
        epoch, step = bad[0]
        # One of a later epoch is damaged: this training was not resumed from it.
        saved = [number for number in checkpoints.epochs() if number <= first] if checkpoints else []
        last_good = checkpoints.path(saved[-1]) if checkpoints and saved else "none"
        raise DivergedError(
            f"the loss is {losses[epoch, step]} at epoch {first + epoch + 1}, step {step + 1}; a lower learning rate "
            f"or gradient clipping may help; last good checkpoint: {last_good}"
        )
