"""The weights that other libraries know and one `LSTMParams` does not hold: projections, directions, stacks.

A stack is a tuple with one entry for each layer, the lowest first.
"""

from jaxlstm.cell import LSTMParams
from jaxlstm.cells import ProjectedLSTMParams
from jaxlstm.stack import BidirectionalParams

Direction = LSTMParams | ProjectedLSTMParams
Layer = LSTMParams | ProjectedLSTMParams | BidirectionalParams
Stack = tuple[Layer, ...]


def directions(layer: Layer) -> tuple[Direction, ...]:
    """The one LSTM of a layer, or its two."""
    return tuple(layer) if isinstance(layer, BidirectionalParams) else (layer,)


def layer_of(directions: tuple[Direction, ...]) -> Layer:
    """What `directions` takes apart, put together."""
    return BidirectionalParams(*directions) if len(directions) == 2 else directions[0]


def output_size(direction: Direction) -> int:
    """The entries of its outputs: P with a projection, H without."""
    return direction.w_h.shape[0]
