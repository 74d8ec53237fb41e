"""ONNX nodes, written one by one: a graph that grows, and the layers of jaxlstm as its standard operators.

A function here takes and gives the names of values. Sequences are time-major, [T, B, ...], as the
operator `LSTM` wants them. That operator orders its gates i, o, f, c (c is our g), has two biases,
and takes the number of valid steps of each sequence; padding is at the right:
https://onnx.ai/onnx/operators/onnx__LSTM.html
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from jax import Array
from onnx import helper, numpy_helper

from jaxlstm.cell import Activation, LSTMParams
from jaxlstm.interop import BidirectionalParams
from jaxlstm.interop.checks import plain
from jaxlstm.interop.params import Layer, directions
from jaxlstm.layers import DenseParams

_ACTIVATIONS = {jnp.tanh: "Tanh", jax.nn.relu: "Relu", jax.nn.sigmoid: "Sigmoid", jax.nn.soft_sign: "Softsign"}


class Graph:
    """The nodes and constants so far."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: Any = None) -> str:
        """The name of a constant array."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype, order="C"), name))
        return name

    def weights(self, name: str, value: Array | np.ndarray) -> str:
        """The name of a constant array of weights.

        Raises:
          ValueError: another dtype than float32, the one that runtimes have the operator for.
        """
        if value.dtype != np.float32:
            raise ValueError(f"{name}: expected float32, got {value.dtype}; convert the parameters first")
        return self.constant(value)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The name of the one output of a new node."""
        return self.add_many(operator, 1, *inputs, **attributes)[0]

    def add_many(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """The names of the `count` outputs of a new node."""
        names = [f"{operator.lower()}_{len(self.nodes)}_{number}" for number in range(count)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names


def lstm(
    graph: Graph, layer: Layer, xs: str, lengths: str = "", *, activation: Activation = jnp.tanh, reverse: bool = False
) -> tuple[str, str, str]:
    """One layer: xs [T, B, D] -> h and c [directions, B, H] after the last valid step, and ys [T, B, directions * H].

    Args:
      graph: it grows.
      layer: LSTMParams or BidirectionalParams.
      xs: the inputs.
      lengths: int32 [B], the valid steps of each sequence; all by default.
      activation: tanh, relu, sigmoid or soft_sign, of candidate and cell state.
      reverse: as in `jaxlstm.lstm`, for a layer of one direction.

    Raises:
      ValueError: an activation or a layer that the operator does not have.
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(_ACTIVATIONS.values())}, got {activation}")
    if reverse and isinstance(layer, BidirectionalParams):
        raise ValueError("reverse: expected False for a layer of two directions, got True")
    lstms = [plain("layer", direction) for direction in directions(layer)]
    w, r, b = (np.stack(leaves) for leaves in zip(*map(_operator_weights, lstms), strict=True))
    ys, h, c = graph.add_many(
        "LSTM", 3, xs, graph.weights("w_x", w), graph.weights("w_h", r), graph.weights("b", b), lengths,
        hidden_size=lstms[0].w_h.shape[0],
        direction="bidirectional" if len(lstms) == 2 else "reverse" if reverse else "forward",
        activations=["Sigmoid", _ACTIVATIONS[activation], _ACTIVATIONS[activation]] * len(lstms),
    )  # fmt: skip
    ys = graph.add("Transpose", ys, perm=[0, 2, 1, 3])  # the directions beside each other
    width = len(lstms) * lstms[0].w_h.shape[0]  # not -1, which is not known where there are no steps
    return h, c, graph.add("Reshape", ys, graph.constant([0, 0, width], np.int64))


def stack(graph: Graph, layers: tuple[Layer, ...], xs: str, lengths: str = "") -> str:
    """Layer upon layer: xs [T, B, D] -> the outputs of the last one."""
    for layer in layers:
        _, _, xs = lstm(graph, layer, xs, lengths)
    return xs


def dense(graph: Graph, params: DenseParams, x: str) -> str:
    """x [..., D] -> x w + b [..., N]."""
    product = graph.add("MatMul", x, graph.weights("head.w", params.w))
    return graph.add("Add", product, graph.weights("head.b", params.b))


def embed(graph: Graph, embedding: Array, ids: str) -> str:
    """Ids [...] -> their rows [..., D]."""
    return graph.add("Gather", graph.weights("embedding", embedding), ids, axis=0)


def one_hot(graph: Graph, ids: str, size: int) -> str:
    """Ids [...] -> float32 [..., size]."""
    off_and_on = graph.constant([0, 1], np.float32)
    return graph.add("OneHot", _int64(graph, ids), graph.constant(size, np.int64), off_and_on, axis=-1)


def pick(graph: Graph, values: str, ids: str) -> str:
    """Values [..., N] at ids [...] -> [...]."""
    last = graph.constant([-1], np.int64)
    ids = graph.add("Unsqueeze", _int64(graph, ids), last)
    return graph.add("Squeeze", graph.add("GatherElements", values, ids, axis=-1), last)


def time_major(graph: Graph, xs: str) -> str:
    """[B, T, D] -> [T, B, D], and the other way round."""
    return graph.add("Transpose", xs, perm=[1, 0, 2])


def compacted(graph: Graph, mask: str, *ids: str) -> tuple[list[str], str]:
    """The valid ids of each sequence at its left, and how many there are: (ids [B, T] each, lengths [B] int32).

    A masked step leaves the state as it is, so the final state of any mask, with padding on the left
    or holes, is that of the valid steps moved together. They keep their order: a valid step is sorted
    by its position, a masked one behind all of them.
    """
    one = graph.constant([1], np.int64)
    valid = graph.add("Cast", mask, to=onnx.TensorProto.INT64)
    steps = graph.add("Gather", graph.add("Shape", mask), one, axis=0)  # [1]
    position = graph.add("CumSum", graph.add("Expand", one, graph.add("Shape", mask)), graph.constant(1, np.int64))
    behind = graph.add("Mul", graph.add("Sub", one, valid), steps)
    order = graph.add_many("TopK", 2, graph.add("Add", position, behind), steps, axis=1, largest=0, sorted=1)[1]
    lengths = graph.add("ReduceSum", valid, one, keepdims=0)
    moved = [graph.add("GatherElements", each, order, axis=1) for each in ids]
    return moved, graph.add("Cast", lengths, to=onnx.TensorProto.INT32)


def _int64(graph: Graph, ids: str) -> str:
    return graph.add("Cast", ids, to=onnx.TensorProto.INT64)


def _operator_weights(params: LSTMParams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W [4H, D], R [4H, H] and both biases [8H], the second zero, with the gates as the operator orders them."""

    def reordered(leaf: Array) -> np.ndarray:
        i, f, g, o = np.split(np.asarray(leaf), 4, axis=-1)
        return np.concatenate([i, o, f, g], axis=-1)

    w_x, w_h, b = map(reordered, params)
    return w_x.T, w_h.T, np.concatenate([b, np.zeros_like(b)])
