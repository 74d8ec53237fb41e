"""Asking a model, from a service: any number of sequences of any length, from several threads.

XLA compiles for one shape at a time. Sequences are therefore padded at the right, with zeros, to the
next length of a few, the buckets, and their number to the next power of two; each of these shapes is
compiled once, by whichever thread comes first.
"""

import threading
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxlstm.deploy.model import Model
from jaxlstm.streaming import power_of_two

LEAST_LENGTH = 8


class Predictor:
    """A model to be called with sequences.

    Args:
      model: its first input is [batch, time, ...]. If it has another, that is `lengths` [batch]; if it
        has none, it must know padding by its zeros, or not be given any.
      lengths: the buckets; by default 8, 16, 32 and so on.
      pads: False refuses sequences that are not as long as the longest of a call and as a bucket.

    Raises:
      ValueError: a model of other inputs, or no buckets.
    """

    def __init__(self, model: Model, lengths: Sequence[int] | None = None, *, pads: bool = True):
        shape, dtype = next(iter(model.inputs.values()), ((), None))
        if lengths is not None and len(lengths) == 0:
            raise ValueError("lengths: expected at least one bucket, got none")
        if shape[:2] != ("batch", "time") or list(model.inputs)[1:] not in ([], ["lengths"]):
            raise ValueError(f"model.inputs: expected [batch, time, ...] and perhaps lengths, got {dict(model.inputs)}")
        self._model = model
        self._features, self._dtype = tuple(int(size) for size in shape[2:]), np.dtype(dtype)
        self._takes_lengths = len(model.inputs) == 2
        self._buckets = None if lengths is None else sorted(lengths)
        self._pads = pads
        self._programs: dict[tuple[int, int], Any] = {}
        self._compiling = threading.Lock()

    def __call__(self, sequences: Sequence[ArrayLike] | np.ndarray) -> Any:
        """The model's outputs as NumPy arrays [N, ...], for N sequences [T, ...].

        An output at every step is as long as the bucket; beyond a sequence's own end it means nothing.

        Raises:
          ValueError: a sequence of another shape or dtype than the model's, or longer than every bucket; or, where
            none is padded, one of another length.
        """
        rows = [self._checked(number, sequence) for number, sequence in enumerate(sequences)]
        lengths = np.array([len(row) for row in rows], np.int32)
        steps = self._bucket(int(lengths.max(initial=0)))
        if not self._pads and any(lengths != steps):
            number = int(np.argmax(lengths != steps))
            raise ValueError(f"sequences[{number}]: expected {steps} steps, as it is not padded, got {lengths[number]}")
        shape = power_of_two(len(rows)), steps
        batch = np.zeros((*shape, *self._features), self._dtype)
        for number, row in enumerate(rows):
            batch[number, : len(row)] = row
        inputs = (batch, np.pad(lengths, (0, shape[0] - len(rows)))) if self._takes_lengths else (batch,)
        outputs = self._program(shape, inputs)(self._model.params, *inputs)
        return jax.tree.map(lambda output: np.asarray(output)[: len(rows)], outputs)

    @property
    def compiled(self) -> list[tuple[int, int]]:
        """The shapes [batch, time] that have been compiled so far."""
        return sorted(self._programs)

    def _program(self, shape: tuple[int, int], inputs: tuple[np.ndarray, ...]) -> Any:
        if shape not in self._programs:
            with self._compiling:
                if shape not in self._programs:  # another thread may have been here meanwhile
                    lowered = jax.jit(self._model.apply).lower(self._model.params, *inputs)
                    self._programs[shape] = lowered.compile()
        return self._programs[shape]

    def _checked(self, number: int, sequence: ArrayLike) -> np.ndarray:
        row = np.asarray(sequence)
        if row.ndim == 0 or row.shape[1:] != self._features:
            wanted = ", ".join(map(str, ("time", *self._features)))
            raise ValueError(f"sequences[{number}]: expected shape [{wanted}], got {list(row.shape)}")
        if row.size and not np.can_cast(row.dtype, self._dtype, "same_kind"):
            raise ValueError(f"sequences[{number}]: expected {self._dtype}, got {row.dtype}")
        return row

    def _bucket(self, length: int) -> int:
        if self._buckets is None:
            return max(LEAST_LENGTH, power_of_two(length))
        for bucket in self._buckets:
            if length <= bucket:
                return bucket
        raise ValueError(f"sequences: expected at most {self._buckets[-1]} steps, got {length}")
