"""LSTMs written from their equations, in JAX.

Importing `jaxlstm` loads jax and numpy, nothing heavier. The other parts are modules of their own:
`jaxlstm.cells`, `jaxlstm.stack`, `jaxlstm.models`, `jaxlstm.training`, `jaxlstm.plots` and so on.
"""

from jaxlstm.cell import LSTMParams, LSTMState, init_lstm, lstm_cell, zero_state
from jaxlstm.cells.interface import Cell
from jaxlstm.implementations import Choice
from jaxlstm.scan import scan_cell
from jaxlstm.sequence import lstm, which_implementation

__version__ = "0.1.0"

__all__ = [
    "Cell",
    "Choice",
    "LSTMParams",
    "LSTMState",
    "init_lstm",
    "lstm",
    "lstm_cell",
    "scan_cell",
    "which_implementation",
    "zero_state",
]
