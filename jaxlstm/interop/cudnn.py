"""cuDNN: the weights of an LSTM packed into one vector, as `jax.experimental.rnn.lstm` takes them.

All matrices first, then all biases; in each part layer after layer, the forward direction before the
backward one:

    W_ih [4H, D], W_hh [4H, H]   of each direction of each layer
    b_ih [4H], b_hh [4H]         likewise; only their sum matters

These are PyTorch's weights end to end.
"""

import math
from collections.abc import Iterator

from jax import Array

from jaxlstm.implementations.cudnn import pack
from jaxlstm.interop.checks import checked
from jaxlstm.interop.params import ProjectedLSTMParams, Stack, directions
from jaxlstm.interop.torch import check_stack, from_torch


def from_cudnn(
    weights: Array, input_size: int, hidden_size: int, *, num_layers: int = 1, bidirectional: bool = False
) -> Stack:
    """The packed vector as a stack: one entry for each layer.

    Raises:
      ValueError: a vector of another length than these sizes ask for.
    """
    shapes = dict(_layout(input_size, hidden_size, num_layers, bidirectional))
    weights = checked("weights", weights, (sum(map(math.prod, shapes.values())),))
    state_dict, start = {}, 0
    for name, shape in shapes.items():
        end = start + math.prod(shape)
        state_dict[name] = weights[start:end].reshape(shape)
        start = end
    return from_torch(state_dict)


def to_cudnn(layers: Stack) -> Array:
    """A stack as the packed vector; b_hh is zero.

    Raises:
      ValueError: layers that one cuDNN LSTM cannot hold, or a projection.
    """
    check_stack(layers)
    flat = []
    for direction in (direction for layer in layers for direction in directions(layer)):
        if isinstance(direction, ProjectedLSTMParams):
            raise ValueError("layers: expected LSTMs without a projection, got ProjectedLSTMParams")
        flat.append(direction)
    return pack(flat)


def _layout(input_size: int, hidden_size: int, num_layers: int, bidirectional: bool) -> Iterator[tuple[str, tuple]]:
    """The names of PyTorch and their shapes, in the order of the vector."""
    suffixes = ("", "_reverse") if bidirectional else ("",)
    places = [(layer, suffix) for layer in range(num_layers) for suffix in suffixes]
    for layer, suffix in places:
        inputs = input_size if layer == 0 else len(suffixes) * hidden_size
        yield f"weight_ih_l{layer}{suffix}", (4 * hidden_size, inputs)
        yield f"weight_hh_l{layer}{suffix}", (4 * hidden_size, hidden_size)
    for layer, suffix in places:
        yield f"bias_ih_l{layer}{suffix}", (4 * hidden_size,)
        yield f"bias_hh_l{layer}{suffix}", (4 * hidden_size,)
