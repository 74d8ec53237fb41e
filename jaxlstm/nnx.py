"""A drop-in replacement for `flax.nnx.RNN` over an LSTM cell: the same module, with the same parameters.

    nnx.RNN(nnx.OptimizedLSTMCell(64, 128, rngs=rngs))             from flax
    jaxlstm.nnx.RNN(nnx.OptimizedLSTMCell(64, 128, rngs=rngs))     from here

The cell is Flax's own and holds the parameters, so that the state of one is the state of the other;
`jaxlstm.lstm` walks over time.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.recurrent import flip_sequences
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import LSTMParams
from jaxlstm.flax_rnn import Carry, apply_rnn, check_cell, refuse_option
from jaxlstm.interop.checks import plain
from jaxlstm.interop.flax import check_linear, from_flax


class RNN(nnx.RNN):
    """`flax.nnx.RNN` for `nnx.LSTMCell` and `nnx.OptimizedLSTMCell`, alone or inside `nnx.Bidirectional`.

    Arguments and results are those of `flax.nnx.RNN`, but that

    - outputs in the padding are zeros, where Flax runs on over the padding, and no gradient comes out of it;
    - a sequence of length 0 returns the initial carry, where Flax returns that of the last step;
    - in bfloat16 the cell state is kept in float32 between the steps.

    Raises:
      ValueError: another cell, a `gate_fn` other than the sigmoid, options of `nnx.scan` that no LSTM cell
        has use for (state_axes, broadcast_rngs), a cell whose layers are not `nnx.Linear`, or bad arguments.
    """

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Carry | None = None,
        seq_lengths: ArrayLike | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
    ) -> Any:
        """Runs the cell over inputs [..., T, D], as `flax.nnx.RNN` does: ys, or (carry, ys)."""
        cell: Any = self.cell
        check_cell(cell, (nnx.LSTMCell, nnx.OptimizedLSTMCell), nnx.sigmoid)
        refuse_option("state_axes", self.state_axes, nnx.StateAxes([(..., nnx.Carry)]))
        refuse_option("broadcast_rngs", self.broadcast_rngs, None)
        inputs, *weights = cell.promote_dtype((jnp.asarray(inputs), *_params(cell)), dtype=cell.dtype)
        if rngs is None:
            rngs = self.rngs
        return apply_rnn(
            self,
            LSTMParams(*weights),
            inputs,
            initial_carry,
            lambda shape: cell.initialize_carry(shape, rngs.carry.fork() if isinstance(rngs, nnx.Rngs) else rngs),
            flip=flip_sequences,
            seq_lengths=seq_lengths,
            return_carry=return_carry,
            time_major=time_major,
            reverse=reverse,
            keep_order=keep_order,
        )


def _params(cell: nnx.Module) -> LSTMParams:
    check_linear(cell)
    return plain("cell", from_flax(nnx.to_pure_dict(nnx.state(cell, nnx.Not(nnx.RngState)))))
