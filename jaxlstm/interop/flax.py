"""Flax: the weights of its LSTM cells, linen and NNX.

A gate has a kernel for the input and one for the hidden state; the bias is that of the second:

    linen LSTMCell, OptimizedLSTMCell   i{gate} {kernel [D, H]}, h{gate} {kernel [H, H], bias [H]} for i, f, g, o
    nnx LSTMCell                        the same, but `if_` for `if`
    nnx OptimizedLSTMCell               dense_i {kernel [D, 4H]}, dense_h {kernel [H, 4H], bias [4H]}

An RNN keeps its cell under `cell`; a Bidirectional keeps two RNNs, `forward_rnn` and `backward_rnn`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxlstm.cell import LSTMParams
from jaxlstm.interop.checks import expect, plain, taken
from jaxlstm.interop.params import BidirectionalParams, Direction, Layer

if TYPE_CHECKING:
    from flax import nnx

FORMS = ("linen", "nnx", "nnx-optimized")
_DIRECTIONS = ("forward_rnn", "backward_rnn")


def from_flax(source: "nnx.Module | Mapping[str, Any]") -> Layer:
    """The parameters of one linen LSTM, an NNX cell, RNN or Bidirectional, or its `nnx.state`, also as a dict.

    How an RNN walks (`reverse`, `time_major`), and how a Bidirectional joins its outputs, are no parameters.

    Args:
      source: of linen the dict of one cell; `params`, and the `cell` of an RNN, around it are taken off, and so is
        the metadata around an array, such as that of `nn.with_partitioning`.

    Returns:
      LSTMParams, or BidirectionalParams for a Bidirectional.

    Raises:
      ValueError: a missing key or one too many, a bias of the inputs, a wrong shape, a module of another kind or of
        several cells, other activations, or layers that compute more than a product.
    """
    weights = _unwrapped(source if isinstance(source, Mapping) else _state_of(source))
    if set(_DIRECTIONS) <= weights.keys():
        return BidirectionalParams(*(_direction(_unwrapped(weights[name])) for name in _DIRECTIONS))
    return _direction(weights)


def to_flax(layer: Layer, form: str = "linen") -> dict[str, Any]:
    """The parameters of a cell, or of a Bidirectional; the dict can be traced and differentiated.

    Args:
      layer: LSTMParams or BidirectionalParams.
      form: "linen" for both its cells: `cell.apply({"params": to_flax(params)}, carry, x)`;
        "nnx" for `nnx.LSTMCell` and "nnx-optimized" for `nnx.OptimizedLSTMCell`:
        `nnx.update(cell, to_flax(params, "nnx"))`.

    Raises:
      ValueError: a projection, or an unknown form.
    """
    if form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(map(repr, FORMS))}, got {form!r}")
    if isinstance(layer, BidirectionalParams):
        return {name: {"cell": _cell(part, form)} for name, part in zip(_DIRECTIONS, layer, strict=True)}
    return _cell(layer, form)


def _unwrapped(weights: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the dicts around a cell or two directions, and the random state that NNX keeps beside them."""
    while weights.keys() - {"rngs"} in ({"params"}, {"cell"}):
        (weights,) = (value for name, value in weights.items() if name != "rngs")
    return weights


def _direction(weights: Mapping[str, Any]) -> LSTMParams:
    # An array may be boxed, in an NNX variable or linen's metadata: a box is a node of the tree, and no key of a dict.
    flat = {
        "/".join(str(entry.key) for entry in path if isinstance(entry, jax.tree_util.DictKey)): leaf
        for path, leaf in jax.tree.leaves_with_path(weights)
    }
    if any(name.startswith("dense_") for name in flat):
        w_h = taken(flat, "dense_h/kernel", (None, None))
        _check_nothing_else(flat, ("dense_i", "dense_h"))
        return _params(flat, "dense_i", "dense_h", w_h.shape[0], 4 * w_h.shape[0])
    hidden = taken(flat, "hi/kernel", (None, None)).shape[0]
    forget = "if_" if any(name.startswith("if_") for name in flat) else "if"
    inputs = ("ii", forget, "ig", "io")
    states = ("hi", "hf", "hg", "ho")
    gates = [_params(flat, i, h, hidden, hidden) for i, h in zip(inputs, states, strict=True)]
    _check_nothing_else(flat, inputs + states)
    return LSTMParams(*(jnp.concatenate(leaves, axis=-1) for leaves in zip(*gates, strict=True)))


def _check_nothing_else(flat: Mapping[str, Any], layers: tuple[str, ...]) -> None:
    """Of an LSTM there is nothing but what is converted, and the random state of NNX."""
    known = {f"{layer}/{name}" for layer in layers for name in ("kernel", "bias")}
    others = [name for name in flat if name not in known and "rngs" not in name.split("/")]
    if others:
        raise ValueError(f"source: expected kernels and biases alone, got {', '.join(map(repr, others))} as well")


def _params(flat: Mapping[str, Any], i: str, h: str, hidden: int, width: int) -> LSTMParams:
    if f"{i}/bias" in flat:
        raise ValueError(f"{i}/bias: expected none beside {h}/bias; add it to that")
    return LSTMParams(
        taken(flat, f"{i}/kernel", (None, width)),
        taken(flat, f"{h}/kernel", (hidden, width)),
        taken(flat, f"{h}/bias", (width,)),
    )


def _cell(direction: Direction, form: str) -> dict[str, Any]:
    params = plain("layer", direction)
    if form == "nnx-optimized":
        return {"dense_i": {"kernel": params.w_x}, "dense_h": {"kernel": params.w_h, "bias": params.b}}
    cell: dict[str, Any] = {}
    for gate, w_x, w_h, b in zip("ifgo", *(jnp.split(leaf, 4, axis=-1) for leaf in params), strict=True):
        cell["if_" if form == "nnx" and gate == "f" else f"i{gate}"] = {"kernel": w_x}
        cell[f"h{gate}"] = {"kernel": w_h, "bias": b}
    return cell


def check_linear(cell: "nnx.Module") -> None:
    """Whether the layers of an NNX cell compute products and nothing more.

    Raises:
      ValueError: names one that does not.
    """
    from flax import nnx

    for name, layer in nnx.iter_children(cell):
        if isinstance(layer, nnx.Module) and type(layer) is not nnx.Linear:
            raise ValueError(f"cell.{name}: expected nnx.Linear, got {type(layer).__name__}, which computes more")
        if isinstance(layer, nnx.Linear) and layer.dot_general is not jax.lax.dot_general:
            raise ValueError(f"cell.{name}.dot_general: expected jax.lax.dot_general, got {layer.dot_general}")


def _state_of(module: Any) -> Mapping[str, Any]:
    from flax import nnx

    cells: list[Any] = [part for _, part in nnx.iter_modules(module)] if isinstance(module, nnx.Module) else []
    cells = [cell for cell in cells if isinstance(cell, nnx.LSTMCell | nnx.OptimizedLSTMCell)]
    if not cells:
        raise ValueError(f"source: expected parameters or an NNX module with an LSTM cell, got {type(module).__name__}")
    for cell in cells:
        expect("gate_fn", cell.gate_fn, jax.nn.sigmoid, "no other is supported")
        expect("activation_fn", cell.activation_fn, jnp.tanh, "convert its nnx.state, and give lstm activation=...")
        check_linear(cell)
    state = nnx.state(module)
    if len(cells) > 1 and not set(_DIRECTIONS) <= state.keys():
        raise ValueError(
            f"source: expected one cell, RNN or Bidirectional, got {type(module).__name__} with {len(cells)} cells; "
            "convert its layers one by one"
        )
    return state
