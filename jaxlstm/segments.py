"""A walk over time in segments of several steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def in_segments(
    function: Callable[[Any, Any], tuple[Any, Any]], carry: Any, sequences: Any, size: int, reverse: bool
) -> tuple[Any, Any]:
    """`jax.lax.scan` by segments: function(carry, sequences [K, ...]) -> carry, outputs [K, ...].

    K is `size`, at least 1; the last of the steps are a shorter segment where K does not divide them.
    With `reverse` the last segment comes first; within one the function itself goes backwards.
    """
    steps = jax.tree.leaves(sequences)[0].shape[0]
    # One segment too for a number that `jax.export` keeps symbolic: it cannot be cut, and gives the same results.
    if not isinstance(steps, int) or size >= steps:
        return function(carry, sequences)
    segments, rest = divmod(steps, size)
    whole = segments * size

    def over_segments(carry, sequences):
        sequences = jax.tree.map(lambda leaf: leaf.reshape(segments, size, *leaf.shape[1:]), sequences)
        carry, outputs = jax.lax.scan(function, carry, sequences, reverse=reverse)
        return carry, jax.tree.map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), outputs)

    if not rest:
        return over_segments(carry, sequences)
    first, last = (
        jax.tree.map(lambda leaf, part=part: leaf[part], sequences) for part in (np.s_[:whole], np.s_[whole:])
    )
    if reverse:
        carry, last = function(carry, last)
        carry, first = over_segments(carry, first)
    else:
        carry, first = over_segments(carry, first)
        carry, last = function(carry, last)
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts), first, last)
