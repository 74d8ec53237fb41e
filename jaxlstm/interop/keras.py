"""Keras 3: the weights of `keras.layers.LSTM` and of `Bidirectional` around it.

    kernel             [D, 4H]   W_x
    recurrent_kernel   [H, 4H]   W_h
    bias               [4H]      b; absent with use_bias=False

The layout and the gate order are the same. `Bidirectional` lists the forward three, then the backward three.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jax import Array

from jaxlstm.cell import LSTMParams
from jaxlstm.interop.checks import checked, expect, plain
from jaxlstm.interop.params import Layer, directions, layer_of

if TYPE_CHECKING:
    import keras

_BY_WEIGHTS = "convert layer.get_weights(), and"
# How many arrays there are: of one LSTM, and of two, without biases or with them.
_COUNTS = {2: 1, 3: 1, 4: 2, 6: 2}


def from_keras(source: "keras.layers.Layer | Sequence[Any]") -> Layer:
    """A layer (LSTM, LSTMCell, Bidirectional), or its weights in the order of Keras.

    Dropout acts in training only and is not part of the weights.

    Returns:
      LSTMParams, or BidirectionalParams for a Bidirectional.

    Raises:
      ValueError: a layer of another kind, one that is not built, options that the weights cannot
        hold (activation, recurrent_activation, go_backwards, merge_mode), or wrong shapes.
    """
    weights = source if isinstance(source, Sequence) else _weights_of(source)
    if len(weights) not in _COUNTS:
        raise ValueError(f"weights: expected 2 or 3 arrays of an LSTM, 4 or 6 of a Bidirectional, got {len(weights)}")
    each = len(weights) // _COUNTS[len(weights)]
    found = [_direction(weights[start : start + each], start) for start in range(0, len(weights), each)]
    if len(found) == 2 and found[0].w_x.shape[0] != found[1].w_x.shape[0]:
        sizes = " and ".join(str(direction.w_x.shape[0]) for direction in found)
        raise ValueError(f"weights: expected two directions over the same inputs, got inputs of {sizes} features")
    return layer_of(tuple(found))


def to_keras(layer: Layer) -> list[Array]:
    """The weights in the order of Keras: `layer.set_weights(to_keras(params))`. It can be differentiated.

    Raises:
      ValueError: a projection, which Keras does not have.
    """
    return [array for direction in directions(layer) for array in plain("layer", direction)]


def _direction(weights: Sequence[Any], start: int) -> LSTMParams:
    names = [f"weights[{start + number}]" for number in range(3)]
    w_h = checked(names[1], weights[1], (None, None))
    hidden = w_h.shape[0]
    w_h = checked(names[1], weights[1], (hidden, 4 * hidden))
    w_x = checked(names[0], weights[0], (None, 4 * hidden))
    b = checked(names[2], weights[2], (4 * hidden,)) if len(weights) == 3 else jnp.zeros(4 * hidden, w_x.dtype)
    return LSTMParams(w_x, w_h, b)


def _weights_of(layer: Any) -> Sequence[Any]:
    import keras

    if isinstance(layer, keras.layers.Bidirectional):
        expect("merge_mode", layer.merge_mode, "concat", f"{_BY_WEIGHTS} merge the outputs yourself")
        backwards = layer.forward_layer.go_backwards
        expect("forward_layer.go_backwards", backwards, False, f"{_BY_WEIGHTS} call `lstm` for each direction")
        parts = [layer.forward_layer, layer.backward_layer]
    elif isinstance(layer, keras.layers.LSTM | keras.layers.LSTMCell):
        backwards = getattr(layer, "go_backwards", False)
        expect("go_backwards", backwards, False, f"{_BY_WEIGHTS} call `lstm` with reverse=True")
        parts = [layer]
    else:
        raise ValueError(f"source: expected an LSTM, an LSTMCell or a Bidirectional, got {type(layer).__name__}")
    for part in parts:
        if not isinstance(part, keras.layers.LSTM | keras.layers.LSTMCell):
            raise ValueError(f"source: expected a Bidirectional of LSTMs, got one of {type(part).__name__}")
        activation = getattr(part.activation, "__name__", part.activation)
        expect("activation", activation, "tanh", f"{_BY_WEIGHTS} call `lstm` with activation=...")
        gate = getattr(part.recurrent_activation, "__name__", part.recurrent_activation)
        expect("recurrent_activation", gate, "sigmoid", "no other is supported")
    if not layer.built:
        raise ValueError("source: expected a layer that is built, so that it has weights; call it once")
    return [keras.ops.convert_to_numpy(variable.value) for variable in layer.weights]
