"""Where the batches of an epoch come from.

`Batches` describes an epoch to a compiled loop: nothing in it touches Python while the epoch runs.
Data that fits lives on the device (`batches_of`), data that can be drawn at random is made there
(`generated`). `Stream` hands out one batch after the other, for data that does not fit and for batches of
different widths (`batches_by_length`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxlstm import parallel, processes
from jaxlstm.checks import check_at_least

# Arrays up to this size are kept on the device whole.
DEVICE_BYTES = 2**30


class Batches(NamedTuple):
    """One epoch after the other, on the device."""

    steps: int  # batches in an epoch
    data: Any  # arrays that `plan` and `take` read, handed to them by the compiled epoch
    plan: Callable[[Any, Array], Any]  # (data, key) -> plan; once an epoch
    take: Callable[[Any, Any, Array], Any]  # (data, plan, step) -> batch


class Stream(NamedTuple):
    """One epoch after the other, from the host."""

    steps: int  # batches in an epoch
    # key -> the batches of one epoch, as NumPy arrays, which may be the same ones filled again; with several processes,
    # this one's rows of each
    epoch: Callable[[Array], Iterator[Any]]


def generated(draw: Callable[[Array], Any], steps: int) -> Batches:
    """Fresh data all the time: `draw(key) -> batch`, a pure JAX function."""
    return Batches(
        steps=steps,
        data=(),
        plan=lambda _, key: key,
        take=lambda _, key, step: draw(jax.random.fold_in(key, step)),
    )


def in_order(arrays: Any) -> Batches:
    """Batches that follow each other, the same in every epoch: step s takes arrays[s] of a pytree [S, ...].

    Raises:
      ValueError: no arrays, or leading axes that differ.
    """
    return Batches(
        steps=_size_of(arrays),
        data=jax.tree.map(jnp.asarray, arrays),
        plan=lambda data, key: (),
        take=lambda data, _, step: jax.tree.map(lambda leaf: leaf[step], data),
    )


def batches_of(arrays: Any, batch_size: int, *, device_bytes: int = DEVICE_BYTES) -> Batches | Stream:
    """Shuffled batches of a pytree of arrays with one leading axis [N, ...].

    Each epoch draws a new order and leaves out the last N mod batch_size examples of it. Kept on the
    device when the arrays take at most `device_bytes`, streamed otherwise, in the same order. With
    several processes, each of them has the arrays, and streams its own rows of each batch.

    Raises:
      ValueError: no arrays, leading axes that differ, or a batch size outside 1 to N.
    """
    size = _size_of(arrays)
    if not 1 <= batch_size <= size:
        raise ValueError(f"batch_size: expected 1 to {size}, the number of examples, got {batch_size}")
    steps = size // batch_size

    def order(key: Array) -> Array:
        return jax.random.permutation(key, size)[: steps * batch_size].reshape(steps, batch_size)

    if sum(leaf.nbytes for leaf in jax.tree.leaves(arrays)) > device_bytes:

        def epoch(key: Array) -> Iterator[Any]:
            own = processes.own_rows(batch_size)
            for rows in np.asarray(order(key))[:, own]:
                yield jax.tree.map(lambda leaf, rows=rows: leaf[rows], arrays)

        return Stream(steps, epoch)
    return Batches(
        steps=steps,
        data=jax.tree.map(jnp.asarray, arrays),
        plan=lambda _, key: order(key),
        take=lambda data, plan, step: jax.tree.map(lambda leaf: leaf[plan[step]], data),
    )


def batches_by_length(
    arrays: Any,
    lengths: np.ndarray,
    batch_size: int,
    widths: Sequence[int],
    cut: Callable[[Any, int], Any],
    *,
    pool: int = 50,
) -> Stream:
    """Shuffled batches of sequences of similar lengths, each cut to a width that holds its longest one.

    Each epoch draws a new order, sorts every `pool` batches of it by length, and hands out the batches in
    another random order. What is left of the last batch is left out, as in `batches_of`.

    Args:
      arrays: a pytree of NumPy arrays [N, ...].
      lengths: integers [N].
      batch_size: sequences in a batch.
      widths: the numbers of steps that a batch may have, in ascending order. Each compiles a program of its own.
      cut: (batch, width) -> the batch with `width` steps.
      pool: batches that are sorted together; more of them waste less padding and are less random.

    Raises:
      ValueError: leading axes that differ, a batch size outside 1 to N, widths that do not ascend, or a length above
        the last one.
    """
    size = _size_of((arrays, lengths))
    if not 1 <= batch_size <= size:
        raise ValueError(f"batch_size: expected 1 to {size}, the number of examples, got {batch_size}")
    if not len(widths) or list(widths) != sorted(set(widths)) or widths[-1] < lengths.max():
        raise ValueError(f"widths: expected ascending numbers up to {lengths.max()} or more, got {list(widths)}")
    steps = size // batch_size

    def epoch(key: Array) -> Iterator[Any]:
        key_order, key_batches = jax.random.split(key)
        order = np.asarray(jax.random.permutation(key_order, size))[: steps * batch_size]
        pools = np.split(order, range(pool * batch_size, len(order), pool * batch_size))
        rows = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in pools])
        own = processes.own_rows(batch_size)
        for batch in rows.reshape(steps, batch_size)[np.asarray(jax.random.permutation(key_batches, steps))]:
            width = widths[np.searchsorted(widths, lengths[batch].max())]
            yield cut(jax.tree.map(lambda leaf, rows=batch[own]: leaf[rows], arrays), width)

    return Stream(steps, epoch)


def map_batches(
    function: Callable[..., Any], params: Any, arrays: Any, batch_size: int, mesh: Mesh | None = None
) -> Any:
    """`function(params, batch)` over consecutive batches of arrays [N, ...], its outputs [N, ...] joined on the host.

    The last batch is filled up with copies of the first row, so that `function` compiles once; the same
    function in a later call, with other parameters, does not compile again. With a mesh each batch, made
    larger where its devices do not divide it, is split over them; every process gives the same arrays
    and gets all outputs. Of no rows, N = 0, come outputs [0, ...].

    Raises:
      ValueError: a batch size below 1, no arrays, or leading axes that differ.
    """
    check_at_least("batch_size", batch_size, 1)
    size = _size_of(arrays)
    if not size:  # a row of zeros to fill the batch with: the function says what its outputs look like
        arrays = jax.tree.map(lambda leaf: np.zeros((1, *leaf.shape[1:]), leaf.dtype), arrays)
    mesh = parallel.automatic(mesh)
    batch_size += -batch_size % (1 if mesh is None else mesh.size)
    compiled = parallel.compiled(function, mesh)
    params = parallel.replicate(params, mesh)
    outputs = []
    for start in range(0, max(size, 1), batch_size):
        rows = np.arange(start, start + batch_size)
        rows[rows >= size] = 0
        own = rows if mesh is None else rows[processes.own_rows(batch_size)]
        batch = jax.tree.map(lambda leaf, rows=own: leaf[rows], arrays)
        outputs.append(jax.tree.map(np.asarray, compiled(params, parallel.feed(batch, mesh))))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:size], *outputs)


def _size_of(arrays: Any) -> int:
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(arrays)}
    if len(sizes) != 1:
        raise ValueError(f"arrays: expected one length for every leading axis, got {sorted(sizes)}")
    return sizes.pop()
