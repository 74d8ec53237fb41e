"""Models as ONNX, for runtimes that know nothing of JAX: one file, made of standard operators.

`Model.graph` builds it from the layers in `jaxlstm.deploy.graph`; the functions below are those of
`jaxlstm.models` once more, in its nodes. Sequences go in and come out batch first.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import onnx
from onnx import helper

from jaxlstm import files
from jaxlstm.cell import Activation, LSTMParams
from jaxlstm.deploy.graph import Graph, compacted, dense, embed, lstm, one_hot, pick, time_major
from jaxlstm.deploy.model import Model
from jaxlstm.models import ClassifierParams, PooledClassifierParams, TaggerParams
from jaxlstm.stack import BidirectionalParams

OPSET, IR_VERSION = 17, 8  # of 2022: what the operators need, for the sake of older runtimes


def save(path: str | Path, model: Model) -> None:
    """Writes a model, once onnx's own checker has passed it.

    Raises:
      ValueError: a model without a graph, or one that ONNX has no operator for.
    """
    files.write(path, onnx_model(model).SerializeToString())


def onnx_model(model: Model) -> onnx.ModelProto:
    """The model as ONNX holds it, checked.

    Raises:
      ValueError: a model without a graph, or one that ONNX has no operator for.
    """
    if model.graph is None:
        raise ValueError("model.graph: expected a function that builds the nodes, got None")
    graph = Graph()
    results = model.graph(graph, model.params, *model.inputs)
    results = (results,) if isinstance(results, str) else results
    model.check_outputs(len(results))
    for result, name in zip(results, model.outputs, strict=True):
        graph.nodes.append(helper.make_node("Identity", [result], [name]))
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        for name, (shape, dtype) in model.inputs.items()
    ]
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in model.outputs]
    built = helper.make_model(
        helper.make_graph(graph.nodes, "jaxlstm", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="jaxlstm",
    )
    built = onnx.shape_inference.infer_shapes(built, check_type=True, strict_mode=True)
    onnx.checker.check_model(built, full_check=True)
    return built


def classify(graph: Graph, params: ClassifierParams, inputs: str, *, mask: str = "", lengths: str = "") -> str:
    """Inputs [B, T, D], or ids [B, T] with an embedding -> logits [B, N]. Give `lengths`, or with ids `mask`.

    Raises:
      ValueError: a mask without an embedding, or beside lengths.
    """
    if mask and lengths:
        raise ValueError("lengths and mask: expected at most one of them, got both")
    if mask:
        if params.embedding is None:
            raise ValueError("mask: expected lengths where the inputs are vectors, got a mask")
        (inputs,), lengths = compacted(graph, mask, inputs)
    xs = inputs if params.embedding is None else embed(graph, params.embedding, inputs)
    h, _, _ = lstm(graph, params.lstm, time_major(graph, xs), lengths)
    return dense(graph, params.head, graph.add("Squeeze", h, graph.constant([0], np.int64)))


def classify_pooled(graph: Graph, params: PooledClassifierParams, ids: str, mask: str) -> str:
    """Ids [B, T], or [B, T, E] with E embeddings, and booleans [B, T] -> logits [B, N]."""
    symbols = [ids]
    if len(params.embeddings) > 1:
        symbols = [
            graph.add("Gather", ids, graph.constant(index, np.int64), axis=2) for index in range(len(params.embeddings))
        ]
    moved, lengths = compacted(graph, mask, *symbols)
    vectors = [embed(graph, embedding, ids) for embedding, ids in zip(params.embeddings, moved, strict=True)]
    xs = time_major(graph, graph.add("Concat", *vectors, axis=-1))
    _, _, ys = lstm(graph, BidirectionalParams(params.forward, params.backward), xs, lengths)
    zero, zeros = graph.constant([0], np.int64), graph.constant(0, np.float32)
    count = graph.add("Unsqueeze", lengths, graph.constant([1], np.int64))  # [B, 1]
    steps = graph.add("Squeeze", graph.add("Gather", graph.add("Shape", ys), zero, axis=0), zero)
    position = graph.add("Range", graph.constant(0, np.int64), steps, graph.constant(1, np.int64))
    position = graph.add("Cast", position, to=onnx.TensorProto.INT32)  # [T]
    valid = graph.add("Transpose", graph.add("Less", position, count), perm=[1, 0])  # [T, B]
    valid = graph.add("Unsqueeze", valid, graph.constant([2], np.int64))
    largest = graph.add("Where", valid, ys, graph.constant(-np.inf, np.float32))
    largest = graph.add("ReduceMax", largest, axes=[0], keepdims=0)
    any_step = graph.add("Greater", count, graph.constant(0, np.int32))
    divisor = graph.add("Max", graph.add("Cast", count, to=onnx.TensorProto.FLOAT), graph.constant(1, np.float32))
    totals = (graph.add("ReduceSum", graph.add("Where", valid, of, zeros), zero, keepdims=0) for of in (ys, xs))
    means = (graph.add("Div", total, divisor) for total in totals)
    return dense(graph, params.head, graph.add("Concat", graph.add("Where", any_step, largest, zeros), *means, axis=-1))


def tag(graph: Graph, params: TaggerParams, xs: str, *, lengths: str = "", activation: Activation = jnp.tanh) -> str:
    """Xs [B, T, D] -> logits, or other outputs, [B, T, N]."""
    _, _, ys = lstm(graph, params.lstm, time_major(graph, xs), lengths, activation=activation)
    return time_major(graph, dense(graph, params.head, ys))


def log_probabilities(graph: Graph, params: TaggerParams, symbols: str, start: int) -> str:
    """Symbols [B, T] -> log P(s_t | start, s_1 .. s_{t-1}) [B, T]."""
    axis, zero = graph.constant([1], np.int64), graph.constant([0], np.int64)
    symbols = graph.add("Cast", symbols, to=onnx.TensorProto.INT32)
    first = graph.add("Slice", symbols, zero, graph.constant([1], np.int64), axis)
    first = graph.add("Expand", graph.constant([start], np.int32), graph.add("Shape", first))
    all_but_the_last = graph.add("Slice", symbols, zero, graph.constant([-1], np.int64), axis)
    before = graph.add("Concat", first, all_but_the_last, axis=1)
    logits = tag(graph, params, one_hot(graph, before, params.head.b.shape[0]))
    return pick(graph, graph.add("LogSoftmax", logits, axis=-1), symbols)


def encode(graph: Graph, encoder: LSTMParams, xs: str, *, activation: Activation = jnp.tanh) -> str:
    """Xs [B, T, D] -> the code [B, H]."""
    h, _, _ = lstm(graph, encoder, time_major(graph, xs), activation=activation)
    return graph.add("Squeeze", h, graph.constant([0], np.int64))


def decode(
    graph: Graph,
    decoder: TaggerParams,
    code: str,
    like: str,
    *,
    reverse: bool = False,
    activation: Activation = jnp.tanh,
) -> str:
    """The code [B, H] -> outputs [B, T, D], as many steps as `like` [B, T, ...] has; with `reverse` the last first."""
    one = graph.constant([1], np.int64)
    steps = graph.add("Gather", graph.add("Shape", like), one, axis=0)
    shape = graph.add("Concat", one, steps, one, axis=0)
    inputs = graph.add("Expand", graph.add("Unsqueeze", code, one), shape)
    if decoder.lstm.w_x.shape[0] == sum(decoder.head.w.shape):  # H + D: it is conditional
        decoder = _unconditional(decoder)
        inputs = graph.add("Concat", inputs, _not_first(graph, like), axis=-1)
    outputs = tag(graph, decoder, inputs, activation=activation)
    if not reverse:
        return outputs
    last, before_the_first, back = (graph.constant([bound], np.int64) for bound in (-1, np.iinfo(np.int64).min, -1))
    return graph.add("Slice", outputs, last, before_the_first, one, back)


def _unconditional(decoder: TaggerParams) -> TaggerParams:
    """A conditional decoder as one that reads its code and a flag: 0 at the first step, 1 at every other.

    The operator `LSTM` cannot read the output of the step before. But that is the head's h w + b, so that its product
    with w_x is one of h, a part of the recurrent product, and a constant, which the flag brings in.
    """
    w_x, w_h, head_w, head_b = map(np.asarray, (*decoder.lstm[:2], *decoder.head))  # NumPy: float32 throughout
    w_code, w_output = np.split(w_x, [len(w_h)])
    w_x, w_h = np.concatenate([w_code, head_b[None] @ w_output]), w_h + head_w @ w_output
    return decoder._replace(lstm=decoder.lstm._replace(w_x=jnp.asarray(w_x), w_h=jnp.asarray(w_h)))


def _not_first(graph: Graph, like: str) -> str:
    """[B, T, 1] of zeros at the first step and ones at every other."""
    zero, one, ones = (graph.constant(value, np.int64) for value in (0, 1, [1, 1]))
    steps = graph.add("Gather", graph.add("Shape", like), one, axis=0)
    flags = graph.add("Min", graph.add("Range", zero, steps, one), one)  # 0, 1, 1 ..
    flags = graph.add(
        "Unsqueeze", graph.add("Cast", flags, to=onnx.TensorProto.FLOAT), graph.constant([0, 2], np.int64)
    )
    batch = graph.add("Gather", graph.add("Shape", like), graph.constant([0], np.int64), axis=0)
    return graph.add("Expand", flags, graph.add("Concat", batch, ones, axis=0))
