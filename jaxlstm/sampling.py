"""Choosing the next symbol from logits: the likeliest, or a draw from what some filters leave.

A choice is a function `choose(key, logits [..., V]) -> symbols [...]`. A filter is a function from
logits to logits. `sample` applies its filters in order and draws from what they leave:

    choose = greedy
    choose = sample()                                  from the model's own distribution
    choose = sample(temperature(0.8), top_k(40), nucleus(0.9))

Both are pytrees whose leaves are their numbers (`jax.tree_util.Partial`), so that a compiled loop
takes another temperature without being compiled again.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxlstm.cell import cell_dtype
from jaxlstm.checks import check_number

Choose = Callable[[Array | None, Array], Array]  # (key, logits [..., V]) -> symbols [...], int32
Filter = Callable[[Array], Array]  # logits [..., V] -> logits [..., V], -inf for what must not be drawn


def greedy(key: Array | None, logits: Array) -> Array:
    """The likeliest symbol, the first of equals; the key is not used."""
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def sample(*filters: Filter) -> Choose:
    """A draw from softmax(logits) after the filters, the first one first. Without a key it raises a ValueError."""
    return Partial(_draw, tuple(map(as_pytree, filters)))


def temperature(t: float | Array) -> Filter:
    """Divides the logits by t: below 1 the likely becomes likelier, above 1 all become more alike.

    Raises:
      ValueError: t of 0 or less, or infinite.
    """
    check_number("t", t, lambda t: 0 < t < math.inf, "a finite number above 0")
    return Partial(_divide, t)


def top_k(k: int | Array) -> Filter:
    """Keeps the k likeliest symbols, of equals the first (Fan, Lewis & Dauphin 2018).

    Raises:
      ValueError: k below 1.
    """
    check_number("k", k, lambda k: k >= 1, "at least 1")
    return Partial(_keep_top_k, k)


def nucleus(p: float | Array) -> Filter:
    """Keeps the fewest symbols whose probabilities sum to at least p (Holtzman et al. 2020).

    Raises:
      ValueError: p outside (0, 1].
    """
    check_number("p", p, lambda p: 0 < p <= 1, "a probability above 0 and at most 1")
    return Partial(_keep_nucleus, p)


def without(*symbols: int) -> Filter:
    """Keeps all symbols but these."""
    return Partial(_drop, np.array(symbols, np.int32))


def as_pytree(function: Callable) -> Partial:
    """The function as an argument that `jax.jit` takes: as it is if it is a `Partial`, else as one without leaves."""
    return function if isinstance(function, Partial) else Partial(function)


def _draw(filters: tuple[Filter, ...], key: Array | None, logits: Array) -> Array:
    if key is None:
        raise ValueError("key: expected a random key to sample with, got None")
    # In float32 at least: noise drawn in half precision is so coarse that most rare symbols never come.
    logits = logits.astype(cell_dtype(logits.dtype))
    for apply in filters:
        logits = apply(logits)
    return jax.random.categorical(key, logits).astype(jnp.int32)


def _divide(t: float | Array, logits: Array) -> Array:
    # The largest is taken off first, so that it stays finite however small t is.
    return (logits - jnp.max(logits, axis=-1, keepdims=True)) / jnp.asarray(t, logits.dtype)


def _keep_top_k(k: int | Array, logits: Array) -> Array:
    return _keep(logits, lambda ordered: jnp.broadcast_to(jnp.minimum(k, ordered.shape[-1]), ordered.shape[:-1]))


def _keep_nucleus(p: float | Array, logits: Array) -> Array:
    def fewest(ordered: Array) -> Array:
        probabilities = jax.nn.softmax(ordered.astype(cell_dtype(ordered.dtype)))
        likelier = jnp.cumsum(probabilities, axis=-1) - probabilities
        # With p = 1 all stay, also where the rounded sum has reached 1 before the end.
        return jnp.maximum(jnp.sum((likelier < p) | (jnp.asarray(p) >= 1), axis=-1), 1)

    return _keep(logits, fewest)


def _keep(logits: Array, count: Callable[[Array], Array]) -> Array:
    """Keeps the likeliest, of equals the first: `count` of the logits in descending order, [..., V] -> [...]."""
    ordered = jnp.sort(logits, axis=-1, descending=True)  # of the values alone: argsort takes longer
    number = count(ordered)[..., None]
    least = jnp.take_along_axis(ordered, number - 1, axis=-1)
    above, equal = logits > least, logits == least
    places = number - jnp.sum(above, axis=-1, keepdims=True)
    return jnp.where(above | (equal & (jnp.cumsum(equal, axis=-1) <= places)), logits, -jnp.inf)


def _drop(symbols: np.ndarray, logits: Array) -> Array:
    return logits.at[..., symbols].set(-jnp.inf)
