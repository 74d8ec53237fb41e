"""Streaming: an LSTM that is served step by step, or in chunks of whatever size arrives.

`lstm(params, chunk, state)` goes on from a state as well, but compiles for each new size of a chunk. `stepper` has
compiled before it returns; `feeder` compiles at the first chunk of each batch shape and of each number of steps,
rounded up to a power of two.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import Activation, LSTMParams, LSTMState, lstm_cell, state_like, zero_state
from jaxlstm.checks import check_shape, check_state, dtype_of

Step = Callable[[LSTMState, ArrayLike], tuple[LSTMState, Array]]
Feed = Callable[[LSTMState, ArrayLike], tuple[LSTMState, np.ndarray]]


def stepper(
    params: LSTMParams, batch_shape: tuple[int, ...] = (), *, activation: Activation = jnp.tanh
) -> tuple[Step, LSTMState]:
    """One step, compiled before it returns.

    Args:
      params: the layer's weights; the compiled step holds them.
      batch_shape: of the streams served at once; () for one.
      activation: as in `lstm`.

    Returns:
      step(state, x) -> (state, y), with x [*batch_shape, D] and y [*batch_shape, H], and the state of zeros to
      begin with. The step raises ValueError for another shape or dtype, rather than compile for it.
    """

    @jax.jit
    def advance(state: LSTMState, x: ArrayLike) -> LSTMState:
        x = jnp.asarray(x)
        # While tracing, so that a step that fits pays for no check; `lstm_cell` checks the state beside x.
        check_shape("x", x, (*batch_shape, params.w_x.shape[0]))
        _check_dtype("x", x, dtype_of(params.w_x))
        return lstm_cell(params, state, x, activation=activation)[0]

    def step(state: LSTMState, x: ArrayLike) -> tuple[LSTMState, Array]:
        # y is the new h: handed back by the program as well, it would be copied. The old state is not donated,
        # which would save a tenth of the time and make a state useless once it has been used.
        try:
            state = advance(state, x)
        except ValueError as error:
            raise ValueError(str(error)) from None  # without what JAX adds to an error while tracing
        return state, state.h

    state = zero_state(batch_shape, params.w_h.shape[0], dtype_of(params.w_x))
    step(state, jnp.zeros((*batch_shape, params.w_x.shape[0]), dtype_of(params.w_x)))
    return step, state


def feeder(params: LSTMParams, *, activation: Activation = jnp.tanh) -> Feed:
    """Chunks of any size, such as packets of a stream; at most one program for each power of two.

    The steps are taken one by one by the same loop whatever the sizes of the chunks, so that cutting a sequence
    in another way changes no bit of its outputs.

    Args:
      params: the layer's weights.
      activation: as in `lstm`.

    Returns:
      feed(state, xs) -> (state, ys), with xs [..., T, D] for any T, 0 included, and ys [..., T, H], a NumPy array.
      It raises ValueError for a wrong shape or dtype.
    """

    @jax.jit
    def run(steps: Array, state: LSTMState, xs: Array) -> tuple[LSTMState, Array]:
        # xs [capacity, ..., D], of which `steps` are there. Not a constant, so that XLA keeps the loop a loop.
        def body(t: Array, carry: tuple[LSTMState, Array]) -> tuple[LSTMState, Array]:
            state, ys = carry
            state, y = lstm_cell(params, state, xs[t], activation=activation)
            return state, ys.at[t].set(y)

        ys = jnp.zeros((*xs.shape[:-1], params.w_h.shape[0]), xs.dtype)
        return jax.lax.fori_loop(0, steps, body, (state, ys))

    def feed(state: LSTMState, xs: ArrayLike) -> tuple[LSTMState, np.ndarray]:
        # All that has the size of the chunk is done in NumPy: JAX would compile it for each size.
        chunk = np.asarray(xs)
        _check_chunk(params, state, chunk)
        chunk = np.moveaxis(chunk, -2, 0)
        steps = len(chunk)
        # For two steps at least: of one, XLA may make another program, that rounds otherwise.
        padded = np.zeros((max(power_of_two(steps), 2), *chunk.shape[1:]), chunk.dtype)
        padded[:steps] = chunk
        state, ys = run(np.int32(steps), state, padded)
        return state, np.moveaxis(np.asarray(ys)[:steps], 0, -2)

    return feed


def power_of_two(size: int) -> int:
    """The smallest power of two that is at least `size`, and at least 1."""
    return 1 << max(size - 1, 0).bit_length()


def _check_chunk(params: LSTMParams, state: LSTMState, xs: np.ndarray) -> None:
    if xs.ndim < 2 or xs.shape[-1] != params.w_x.shape[0]:
        raise ValueError(f"xs: expected shape [..., T, {params.w_x.shape[0]}], got {list(xs.shape)}")
    _check_dtype("xs", xs, dtype_of(params.w_x))
    check_state(state, state_like((*xs.shape[:-2], params.w_h.shape[0]), dtype_of(xs)), dtype_of(xs))


def _check_dtype(name: str, array: Array | np.ndarray, dtype: np.dtype) -> None:
    if dtype_of(array) != dtype:
        raise ValueError(f"{name}: expected {dtype}, as the parameters have it, got {array.dtype}")
