"""The weights that other libraries know and one `LSTMParams` does not hold: projections, directions, stacks.

A stack is a tuple with one entry for each layer, the lowest first.
"""

from typing import NamedTuple

from jax import Array

from jaxlstm.cell import LSTMParams


class ProjectedLSTMParams(NamedTuple):
    """An LSTM whose hidden state is projected to P numbers (Sak, Senior & Beaufays 2014)."""

    w_x: Array  # [D, 4H]
    w_h: Array  # [P, 4H]
    b: Array  # [4H]
    w_p: Array  # [H, P]


Direction = LSTMParams | ProjectedLSTMParams


class BidirectionalParams(NamedTuple):
    """Two LSTMs over one sequence; the outputs of the forward one come first."""

    forward: Direction
    backward: Direction


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
