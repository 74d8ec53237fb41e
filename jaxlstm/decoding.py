"""Running a model that predicts symbols one step after the other, in one compiled loop.

The model enters as a pure step function, and the loop knows nothing else of it:

    step(state, symbols [B]) -> (state, logits [B, V] of the symbols that follow)

The state is any pytree of arrays with a leading axis B. What each step reads makes the difference:

    teacher_forcing       the true symbol
    scheduled_sampling    now the true symbol, now the model's own choice (Bengio et al. 2015)
    decode                its own choice, from a start symbol until an end symbol

A step function is usually a model's with parameters, `jax.tree_util.Partial(next_symbol, params)`. That is
a pytree, and one compiled loop serves for all parameters. Any other function works too; outside of
`jax.jit` a fresh closure or `lambda` is compiled at each call.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import cell_dtype
from jaxlstm.checks import check_at_least, check_number
from jaxlstm.sampling import Choose, as_pytree, greedy, sample

State = Any  # a pytree of arrays [B, ...]
Step = Callable[[State, Array], tuple[State, Array]]  # (state, symbols [B]) -> (state, logits [B, V])


class Decoded(NamedTuple):
    """What `decode` wrote."""

    symbols: Array  # [B, L] int32; the end symbol fills what follows it
    lengths: Array  # [B] int32, symbols before the end symbol; L where there is none
    log_p: Array  # [B], log P(symbols, the end symbol included) under the model, before any filter


class _Writing(NamedTuple):
    """The carry of the loop in `decode`, after t steps."""

    t: Array
    state: State
    last: Array  # [B], the symbols to read next
    ended: Array  # [B], whether the end symbol has come
    decoded: Decoded


def previous_symbols(symbols: Array, start: ArrayLike) -> Array:
    """What a teacher shows before each symbol: s_1 .. s_T [..., T] -> start, s_1 .. s_{T-1} [..., T]."""
    symbols = jnp.asarray(symbols)
    first = jnp.broadcast_to(jnp.asarray(start, symbols.dtype), symbols.shape[:-1])[..., None]
    return jnp.concatenate([first, symbols], axis=-1)[..., : symbols.shape[-1]]


def teacher_forcing(step: Step, state: State, inputs: Array) -> tuple[State, Array]:
    """Reads the true symbols.

    Args:
      step: the model.
      state: before the first step.
      inputs: integers [B, T]; `previous_symbols` makes them of the symbols to predict.

    Returns:
      The state after the last step, and the logits [B, T, V] of the symbol that follows each.

    Raises:
      ValueError: inputs of another form, or a step function that does not fit them.
    """
    inputs = _checked_inputs(inputs)
    check_step(step, state, len(inputs))
    return _teacher_forcing(as_pytree(step), state, inputs)


@jax.jit
def _teacher_forcing(step: Step, state: State, inputs: Array) -> tuple[State, Array]:
    state, logits = jax.lax.scan(step, state, inputs.T)
    return state, jnp.swapaxes(logits, 0, 1)


def scheduled_sampling(
    step: Step, state: State, inputs: Array, rate: float | Array, key: Array, choose: Choose | None = None
) -> tuple[State, Array]:
    """Reads the true symbol or, with probability `rate`, what the model has made of the step before.

    A coin is thrown for each symbol of each row (Bengio, Vinyals, Jaitly & Shazeer 2015). The first symbol
    is always the true one. No gradient flows through a choice.

    Args:
      step: the model.
      state: before the first step.
      inputs: integers [B, T], as for `teacher_forcing`.
      rate: 0 is teacher forcing, 1 leaves the model alone after the first symbol. It may be traced: the paper
        raises it over training.
      key: for the coins and the choices.
      choose: the model's choice, from `jaxlstm.sampling`; a draw from its distribution by default.

    Returns:
      The state after the last step, and the logits [B, T, V] of the symbol that follows each.

    Raises:
      ValueError: inputs of another form, a rate outside [0, 1], or a step function that does not fit.
    """
    inputs = _checked_inputs(inputs)
    check_number("rate", rate, lambda rate: 0 <= rate <= 1, "a probability from 0 to 1")
    logits = check_step(step, state, len(inputs))
    choose = sample() if choose is None else as_pytree(choose)
    return _scheduled_sampling(as_pytree(step), state, inputs, rate, key, choose, jnp.zeros(logits.shape, logits.dtype))


@jax.jit
def _scheduled_sampling(step, state, inputs, rate, key, choose, no_logits):
    def advance(carry, now):
        state, logits = carry
        true, is_first, key = now
        key_coin, key_choice = jax.random.split(key)
        alone = jax.random.bernoulli(key_coin, rate, true.shape) & ~is_first
        state, logits = step(state, jnp.where(alone, choose(key_choice, logits), true))
        return (state, logits), logits

    steps = inputs.shape[1]
    per_step = (inputs.T, jnp.arange(steps) == 0, jax.random.split(key, steps))
    (state, _), logits = jax.lax.scan(advance, (state, no_logits), per_step)
    return state, jnp.swapaxes(logits, 0, 1)


def decode(
    step: Step,
    state: State,
    choose: Choose = greedy,
    *,
    start: ArrayLike,
    end: int | None,
    max_length: int,
    key: Array | None = None,
) -> tuple[State, Decoded]:
    """Lets the model write until every row has come to the end symbol, or to `max_length` symbols.

    Args:
      step: the model.
      state: before the start symbol is read: zeros, an encoder's last state, the state after a prompt.
      choose: how a symbol is chosen from logits, from `jaxlstm.sampling`; the likeliest by default.
      start: what is read first, one symbol or integers [B]: the last one of a prompt, say.
      end: the symbol after which a row is over; None for a model without one.
      max_length: L, at least 1.
      key: a key, which `greedy` does without.

    Returns:
      The state and what was written. A row's state is the one from which its last symbol was chosen: it has not
      read that symbol, so that `decode` goes on from it with the last symbol for a start.

    Raises:
      ValueError: names the argument, what was expected and what came.
    """
    batch = batch_size(state, start)
    logits = check_step(step, state, batch)
    check_symbols(start, end, max_length, logits.shape[-1])
    start = jnp.broadcast_to(jnp.asarray(start, jnp.int32), (batch,))
    log_p = jnp.zeros(batch, cell_dtype(logits.dtype))
    end = -1 if end is None else end  # which no symbol is equal to
    return _decode(as_pytree(step), state, as_pytree(choose), start, end, max_length, key, log_p)


@partial(jax.jit, static_argnums=5)
def _decode(step, state, choose, start, end, max_length, key, log_p):
    def is_writing(now: _Writing) -> Array:
        return (now.t < max_length) & ~jnp.all(now.ended)

    def write(now: _Writing) -> _Writing:
        state, logits = step(now.state, now.last)
        symbols = choose(None if key is None else jax.random.fold_in(key, now.t), logits)
        log_p = jax.nn.log_softmax(logits.astype(now.decoded.log_p.dtype))
        log_p = jnp.take_along_axis(log_p, symbols[:, None], axis=1)[:, 0]

        # A row that is over keeps its state, and nothing is added to it.
        ended = now.ended | (symbols == end)
        state = jax.tree.map(partial(_where, now.ended), now.state, state)
        return _Writing(
            now.t + 1,
            state,
            symbols,
            ended,
            Decoded(
                now.decoded.symbols.at[:, now.t].set(jnp.where(ended, end, symbols)),
                now.decoded.lengths + ~ended,
                now.decoded.log_p + jnp.where(now.ended, 0, log_p),
            ),
        )

    batch = start.shape[0]
    blank = jnp.full((batch, max_length), end, jnp.int32)
    nothing = Decoded(blank, jnp.zeros(batch, jnp.int32), log_p)
    now = _Writing(jnp.zeros((), jnp.int32), state, start, jnp.zeros(batch, bool), nothing)
    now = jax.lax.while_loop(is_writing, write, now)
    return now.state, now.decoded


def _where(rows: Array, x: Array, y: Array) -> Array:
    """x in the chosen rows [B], y in the others; x and y [B, ...]."""
    return jnp.where(jnp.expand_dims(rows, range(1, x.ndim)), x, y)


def batch_size(state: State, start: ArrayLike) -> int:
    """B, from the leading axis of the state's arrays and of `start` where it is no single symbol."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(state)] + [jnp.shape(start)] * (jnp.ndim(start) > 0)
    sizes = {shape[0] if shape else None for shape in shapes}
    if jnp.ndim(start) > 1 or len(sizes) != 1 or None in sizes:
        raise ValueError(
            "state and start: expected one leading axis B for every array of the state, and start a symbol or [B], "
            f"got shapes {[list(shape) for shape in shapes]}"
        )
    return shapes[0][0]


def check_step(step: Step, state: State, batch: int) -> jax.ShapeDtypeStruct:
    """The form of the logits, [B, V] in a floating dtype.

    Raises:
      ValueError: the step function gives something else, or a state in another form than it takes.
    """
    before = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), state)
    after, logits = jax.eval_shape(_apply, as_pytree(step), before, jax.ShapeDtypeStruct((batch,), jnp.int32))
    if logits.ndim != 2 or logits.shape[0] != batch or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(f"step: expected logits [{batch}, V], got {logits.dtype}{list(logits.shape)}")
    if (form := _form(before)) != (other := _form(after)):
        raise ValueError(f"step: expected a state in the form of the one it takes, {form}, got {other}")
    return logits


def _apply(step: Step, state: State, symbols: Array) -> tuple[State, Array]:
    return step(state, symbols)  # one function for all steps, so that `eval_shape` remembers


def _form(state: State) -> str:
    return str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", state))


def check_symbols(start: ArrayLike, end: int | None, max_length: int, vocabulary_size: int) -> None:
    """Raises a ValueError for a symbol that the logits have no entry for, or a length below 1."""
    check_at_least("max_length", max_length, 1)
    symbols = {"end": end, "start": None if isinstance(start, jax.core.Tracer) else start}
    for name, symbol in symbols.items():
        if symbol is not None and np.any((np.asarray(symbol) < 0) | (np.asarray(symbol) >= vocabulary_size)):
            raise ValueError(f"{name}: expected 0 to {vocabulary_size - 1}, a symbol that has a logit, got {symbol}")


def _checked_inputs(inputs: Array) -> Array:
    inputs = jnp.asarray(inputs)
    if inputs.ndim != 2 or not jnp.issubdtype(inputs.dtype, jnp.integer):
        raise ValueError(f"inputs: expected integers [B, T], got {inputs.dtype}{list(inputs.shape)}")
    return inputs.astype(jnp.int32)
