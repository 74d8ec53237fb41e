"""LSTMs written from their equations, in JAX.

Importing `jaxlstm` loads jax and numpy, nothing heavier. The other parts are modules of their own:
`jaxlstm.models`, `jaxlstm.training`, `jaxlstm.plots` and so on.
"""

from jaxlstm.cell import LSTMParams, LSTMState, init_lstm, lstm_cell, zero_state
from jaxlstm.sequence import lstm

__version__ = "0.1.0"

__all__ = ["LSTMParams", "LSTMState", "init_lstm", "lstm", "lstm_cell", "zero_state"]
