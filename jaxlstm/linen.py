"""A drop-in replacement for `flax.linen.RNN` over an LSTM cell: the same module, with the same parameters.

    nn.RNN(nn.OptimizedLSTMCell(128))          from flax
    linen.RNN(nn.OptimizedLSTMCell(128))       from jaxlstm

The cell is Flax's own. It makes the parameters, so that their names, shapes and fresh values are those
of the original, and a checkpoint of one is a checkpoint of the other; `jaxlstm.lstm` walks over time.
"""

from typing import Any

import jax
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.linen.recurrent import flip_sequences
from jax import Array
from jax.typing import ArrayLike

from jaxlstm.cell import LSTMParams
from jaxlstm.flax_rnn import Carry, apply_rnn, check_cell, refuse_option
from jaxlstm.interop.checks import plain
from jaxlstm.interop.flax import from_flax

_OF_SCAN = ("variable_axes", "variable_broadcast", "variable_carry", "split_rngs")


class RNN(nn.RNN):
    """`flax.linen.RNN` for `nn.LSTMCell` and `nn.OptimizedLSTMCell`, alone or inside `nn.Bidirectional`.

    Attributes, arguments and results are those of `flax.linen.RNN`, but that

    - outputs in the padding are zeros, where Flax runs on over the padding, and no gradient comes out of it;
    - a sequence of length 0 returns the initial carry, where Flax returns that of the last step;
    - in bfloat16 the cell state is kept in float32 between the steps.

    Raises:
      ValueError: another cell, a `gate_fn` other than the sigmoid, options of `nn.scan` that no LSTM cell
        has use for (variable_axes, variable_broadcast, variable_carry, split_rngs), or bad arguments.
    """

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Carry | None = None,
        init_key: Array | None = None,
        seq_lengths: ArrayLike | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
    ) -> Any:
        """Runs the cell over inputs [..., T, D], as `flax.linen.RNN` does: ys, or (carry, ys)."""
        check_cell(self.cell, (nn.LSTMCell, nn.OptimizedLSTMCell), nn.sigmoid)
        for name in _OF_SCAN:
            refuse_option(name, getattr(self, name), getattr(nn.RNN, name))
        inputs, *weights = promote_dtype(inputs, *self._params(inputs), dtype=self.cell.dtype)
        return apply_rnn(
            self,
            LSTMParams(*weights),
            inputs,
            initial_carry,
            lambda shape: self.cell.initialize_carry(jax.random.key(0) if init_key is None else init_key, shape),
            flip=flip_sequences,
            seq_lengths=seq_lengths,
            return_carry=return_carry,
            time_major=time_major,
            reverse=reverse,
            keep_order=keep_order,
        )

    def _params(self, inputs: Array) -> LSTMParams:
        if "params" not in self.cell.variables:  # while the model is initialised
            x = inputs.reshape(-1, inputs.shape[-1])[:1]
            self.cell(self.cell.initialize_carry(jax.random.key(0), x.shape), x)
        return plain("cell", from_flax(nn.meta.unbox(self.cell.variables["params"])))
