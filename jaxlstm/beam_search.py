"""Beam search: the best whole sequences rather than the best symbol at each step.

At every step each of the K open hypotheses of a row is continued by all V symbols. The K best
continuations that go on stay open; those that took the end symbol are finished, and the K best of the
finished are kept. Both are judged by their log-probability, the finished ones divided by the length
penalty of Wu et al. (2016), equation 14, where |Y| counts the end symbol:

    s(Y) = log P(Y) / lp(Y)          lp(Y) = ((5 + |Y|) / 6) ^ alpha

With alpha = 0 longer sequences lose by their length alone; Wu et al. found 0.6 to 0.7 best. The search
ends once no open hypothesis can come before a finished one: log P only falls, so that log P / lp(L) is
the most it can still reach. What is open after L symbols counts as finished.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import cell_dtype
from jaxlstm.checks import check_at_least, check_number
from jaxlstm.decoding import State, Step, batch_size, check_step, check_symbols
from jaxlstm.sampling import as_pytree


class Beams(NamedTuple):
    """The K best sequences of each row, best first; where fewer exist, the score of the rest is -inf."""

    symbols: Array  # [B, K, L] int32; the end symbol fills what follows it
    lengths: Array  # [B, K] int32, symbols before the end symbol; L where there is none
    log_p: Array  # [B, K], log P of the symbols, the end symbol included
    scores: Array  # [B, K], log_p / lp


class _Search(NamedTuple):
    """The carry of the loop, after t steps."""

    t: Array
    state: State  # [B * K, ...], of the open hypotheses
    symbols: Array  # [B, K, L], theirs
    log_p: Array  # [B, K], theirs
    finished: Beams


def beam_search(
    step: Step,
    state: State,
    *,
    start: ArrayLike,
    end: int,
    max_length: int,
    beam_size: int = 4,
    alpha: float = 0.6,
) -> Beams:
    """The `beam_size` best sequences of each row, searched for in one compiled loop.

    Args:
      step: the model, as in `jaxlstm.decoding`; it sees [B * K] rows.
      state: before the start symbol is read, arrays [B, ...].
      start: what is read first, one symbol or integers [B].
      end: the symbol after which a sequence is over.
      max_length: L, at least 1.
      beam_size: K, at least 1.
      alpha: of the length penalty, 0 or more.

    Raises:
      ValueError: names the argument, what was expected and what came.
    """
    check_at_least("beam_size", beam_size, 1)
    check_number("alpha", alpha, lambda alpha: alpha >= 0, "0 or more")
    batch = batch_size(state, start)
    logits = check_step(step, state, batch)
    check_symbols(start, end, max_length, logits.shape[1])
    if logits.shape[1] < 2:
        raise ValueError(f"step: expected logits of at least 2 symbols, the end symbol and another, got {logits.shape}")
    start = jnp.broadcast_to(jnp.asarray(start, jnp.int32), (batch,))
    none_yet = jnp.full((batch, beam_size), -jnp.inf, cell_dtype(logits.dtype))
    return _beam_search(as_pytree(step), state, start, end, alpha, none_yet, max_length)


@partial(jax.jit, static_argnums=6)
def _beam_search(step, state, start, end, alpha, none_yet, max_length):
    batch, beams = none_yet.shape

    def penalty(length: ArrayLike) -> Array:
        return (((5 + jnp.asarray(length, none_yet.dtype)) / 6) ** alpha).astype(none_yet.dtype)

    def is_searching(now: _Search) -> Array:
        hope = now.log_p.max(axis=1) / penalty(max_length)
        return (now.t < max_length) & jnp.any(hope > now.finished.scores.min(axis=1))

    def advance(now: _Search) -> _Search:
        last = jnp.where(now.t == 0, start[:, None], now.symbols[:, :, now.t - 1])
        state, logits = step(now.state, last.reshape(-1))
        vocabulary = logits.shape[1]
        log_p = jax.nn.log_softmax(logits.astype(none_yet.dtype)).reshape(batch, beams, vocabulary)
        log_p += now.log_p[:, :, None]

        # Among twice as many as there are beams, at least half go on: each beam ends in one way only.
        log_p, index = jax.lax.top_k(log_p.reshape(batch, beams * vocabulary), 2 * beams)
        parent, symbol = index // vocabulary, (index % vocabulary).astype(jnp.int32)
        symbols = _rows(now.symbols, parent).at[:, :, now.t].set(symbol)
        length = now.t + 1

        ended = symbol == end
        ended_log_p = jnp.where(ended, log_p, -jnp.inf)
        new = Beams(symbols, jnp.full_like(symbol, now.t), ended_log_p, ended_log_p / penalty(length))
        open_log_p, kept = jax.lax.top_k(jnp.where(ended, -jnp.inf, log_p), beams)
        symbols, parent = _rows(symbols, kept), _rows(parent, kept)
        at_the_limit = jnp.where(length == max_length, open_log_p, -jnp.inf)
        cut = Beams(symbols, jnp.full_like(parent, max_length), at_the_limit, at_the_limit / penalty(length))

        split = jax.tree.map(lambda leaf: leaf.reshape(batch, beams, *leaf.shape[1:]), state)
        state = jax.tree.map(lambda leaf, like: _rows(leaf, parent).reshape(like.shape), split, state)
        return _Search(length, state, symbols, open_log_p, _best(now.finished, new, cut))

    blank = jnp.full((batch, beams, max_length), end, jnp.int32)
    nothing = Beams(blank, jnp.zeros((batch, beams), jnp.int32), none_yet, none_yet)
    # One beam at first: K equal ones would stay equal.
    now = _Search(
        jnp.zeros((), jnp.int32),
        jax.tree.map(lambda leaf: jnp.repeat(leaf, beams, axis=0), state),
        blank,
        none_yet.at[:, 0].set(0),
        nothing,
    )
    return jax.lax.while_loop(is_searching, advance, now).finished


def _best(first: Beams, *others: Beams) -> Beams:
    """The K of the highest scores, K being the number in `first`."""
    together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), first, *others)
    _, index = jax.lax.top_k(together.scores, first.scores.shape[1])
    return jax.tree.map(lambda leaf: _rows(leaf, index), together)


def _rows(array: Array, index: Array) -> Array:
    """array [B, N, ...] at index [B, K] -> [B, K, ...]."""
    return jnp.take_along_axis(array, jnp.expand_dims(index, range(2, array.ndim)), axis=1)
