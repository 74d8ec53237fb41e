"""Recurrent cells, one file each, opening with the equations and the paper.

`scan_cell(cell, params, xs)` runs any of them over whole sequences; `jaxlstm.stack` builds layers of them.
"""

from jaxlstm.cells.coupled import COUPLED
from jaxlstm.cells.gru import GRU, GRUParams, GRUState
from jaxlstm.cells.interface import Cell
from jaxlstm.cells.layer_norm import LAYER_NORM, LayerNormParams
from jaxlstm.cells.no_forget_gate import NO_FORGET_GATE
from jaxlstm.cells.peephole import PEEPHOLE, PeepholeParams
from jaxlstm.cells.projected import PROJECTED, ProjectedLSTMParams
from jaxlstm.cells.slstm import SLSTM, SLSTMState
from jaxlstm.cells.standard import LSTM

__all__ = [
    "COUPLED",
    "GRU",
    "LAYER_NORM",
    "LSTM",
    "NO_FORGET_GATE",
    "PEEPHOLE",
    "PROJECTED",
    "SLSTM",
    "Cell",
    "GRUParams",
    "GRUState",
    "LayerNormParams",
    "PeepholeParams",
    "ProjectedLSTMParams",
    "SLSTMState",
]
