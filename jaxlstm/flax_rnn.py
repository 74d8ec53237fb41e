"""Flax's `RNN` on `lstm`: what `jaxlstm.linen` and `jaxlstm.nnx` share."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import LSTMParams, LSTMState, cell_dtype
from jaxlstm.checks import check_inputs, check_shape
from jaxlstm.interop.checks import is_function
from jaxlstm.layout import layout_of
from jaxlstm.sequence import lstm

Carry = tuple[Array, Array]  # c and h [..., H], in this order


def check_cell(cell: Any, known: tuple[type, ...], sigmoid: Callable[..., Any]) -> None:
    """Raises ValueError unless `cell` computes what `lstm` does.

    A subclass may compute anything, so it counts as another cell.
    """
    if type(cell) not in known:
        names = " or ".join(each.__name__ for each in known)
        raise ValueError(f"cell: expected {names}, got {type(cell).__name__}; keep Flax's own RNN for it")
    if not is_function(cell.gate_fn, sigmoid):
        raise ValueError(f"gate_fn: expected sigmoid, got {cell.gate_fn}; keep Flax's own RNN for it")


def refuse_option(name: str, given: Any, default: Any) -> None:
    """Raises ValueError for an option of Flax's scan, which is not used here."""
    if given != default:
        raise ValueError(f"{name}: expected Flax's default, {default}, got {given}; an LSTM cell has parameters alone")


def apply_rnn(
    rnn: Any,
    params: LSTMParams,
    inputs: Array,
    initial_carry: Carry | None,
    fresh_carry: Callable[[tuple[int, ...]], Carry],
    *,
    flip: Callable[..., Array],
    seq_lengths: ArrayLike | None,
    **given: bool | None,
) -> Array | tuple[Carry, Array]:
    """The call of an RNN.

    Args:
      rnn: the module.
      params: its weights, in the dtype of the computation.
      inputs: [..., T, D] or, time major, [T, ..., D], in the same dtype.
      initial_carry: Flax's (c, h), or None for a fresh one.
      fresh_carry: from the shape of one step's inputs, [..., D].
      flip: Flax's `flip_sequences`.
      seq_lengths: integers [...].
      **given: time_major, reverse, keep_order and return_carry; None for the module's own.

    Raises:
      ValueError: names the argument, what was expected and what came.
    """
    options = {name: getattr(rnn, name) if value is None else value for name, value in given.items()}
    check_inputs(inputs)
    layout = layout_of(inputs, options["time_major"])
    if initial_carry is None:
        carry = fresh_carry((*layout.batch_shape, inputs.shape[-1]))
    else:
        carry = _checked_carry(initial_carry, (*layout.batch_shape, params.w_h.shape[0]))
    c, h = carry
    state, ys = lstm(
        params,
        inputs,
        LSTMState(h.astype(inputs.dtype), c.astype(cell_dtype(inputs.dtype))),
        lengths=seq_lengths,
        reverse=options["reverse"],
        time_major=options["time_major"],
        activation=rnn.cell.activation_fn,
        unroll=None if rnn.unroll == 1 else rnn.unroll,  # 1 is Flax's default, ours the fastest
    )
    if options["reverse"] and not options["keep_order"]:
        lengths = None if seq_lengths is None else jnp.asarray(seq_lengths)
        ys = flip(ys, lengths, num_batch_dims=len(layout.batch_shape), time_major=options["time_major"])
    dtype = jnp.result_type(inputs.dtype, c.dtype)  # of Flax's o * tanh(c)
    ys = ys.astype(dtype)
    return ((state.c.astype(dtype), state.h.astype(dtype)), ys) if options["return_carry"] else ys


def _checked_carry(carry: Any, shape: tuple[int, ...]) -> Carry:
    if isinstance(carry, LSTMState):
        raise ValueError("initial_carry: expected Flax's (c, h), got an LSTMState, which is (h, c)")
    if not isinstance(carry, tuple | list) or len(carry) != 2:
        raise ValueError(f"initial_carry: expected Flax's (c, h), got {type(carry).__name__}")
    c, h = map(jnp.asarray, carry)
    check_shape("initial_carry: c", c, shape)
    check_shape("initial_carry: h", h, shape)
    return c, h
