"""PyTorch: the weights of `torch.nn.LSTM`.

For layer k, and once more with the suffix `_reverse` where it has two directions:

    weight_ih_l{k}   [4H, D]   W_x transposed; the gates in the same order i, f, g, o
    weight_hh_l{k}   [4H, H]   W_h transposed; [4H, P] with a projection
    bias_ih_l{k}     [4H]      one of two biases that are only ever added up; none with bias=False
    bias_hh_l{k}     [4H]      the other
    weight_hr_l{k}   [P, H]    W_p transposed, where proj_size = P is not 0
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlstm.cell import LSTMParams
from jaxlstm.interop.checks import checked, expect, plain, taken
from jaxlstm.interop.params import Direction, ProjectedLSTMParams, Stack, directions, layer_of, output_size

if TYPE_CHECKING:
    import torch

_NAME = re.compile(r"(?:weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)_l(\d+)(_reverse)?")


def from_torch(source: "torch.nn.LSTM | Mapping[str, Any]", prefix: str = "") -> Stack:
    """An `nn.LSTM`, or its state dict, as a stack: one entry for each layer.

    Dropout between layers acts in training only and is not part of the weights.

    Args:
      source: the module, or a state dict of tensors or arrays.
      prefix: of the layer's keys in the state dict of a larger model, such as "encoder.lstm.".

    Raises:
      ValueError: a missing or unknown key, a wrong shape, a module of another kind, or one with
        batch_first=False: its weights convert as a state dict, and `lstm` then wants time_major=True.
    """
    weights = source if isinstance(source, Mapping) else _checked_module(source).state_dict()
    weights = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    found = {name: _NAME.fullmatch(name) for name in weights}
    for name, match in found.items():
        if match is None:
            raise ValueError(f"{name}: expected the keys of one torch.nn.LSTM; name it by its prefix in the model")
    layers = 1 + max((int(match[1]) for match in found.values() if match), default=0)
    suffixes = ("", "_reverse") if any(match[2] for match in found.values() if match) else ("",)
    has_bias = any(name.startswith("bias") for name in weights)
    return tuple(
        layer_of(tuple(_direction(weights, f"_l{layer}{suffix}", has_bias) for suffix in suffixes))
        for layer in range(layers)
    )


def to_torch(layers: Stack) -> "dict[str, torch.Tensor]":
    """A stack as a state dict: `nn.LSTM(D, H, ...).load_state_dict(to_torch(layers))`. The second bias is zero.

    Raises:
      ValueError: layers that one `nn.LSTM` cannot hold.
    """
    return {name: _tensor(array) for name, array in torch_arrays(layers).items()}


def torch_arrays(layers: Stack) -> dict[str, Array]:
    """What `to_torch` makes tensors of, as JAX arrays; it can be traced and differentiated.

    Raises:
      ValueError: layers that one `nn.LSTM` cannot hold.
    """
    check_stack(layers)
    arrays: dict[str, Array] = {}
    for number, layer in enumerate(layers):
        for direction, suffix in zip(directions(layer), ("", "_reverse"), strict=False):
            end = f"_l{number}{suffix}"
            arrays |= {f"weight_ih{end}": direction.w_x.T, f"weight_hh{end}": direction.w_h.T}
            arrays |= {f"bias_ih{end}": direction.b, f"bias_hh{end}": jnp.zeros_like(direction.b)}
            if isinstance(direction, ProjectedLSTMParams):
                arrays[f"weight_hr{end}"] = direction.w_p.T
    return arrays


def check_stack(layers: Stack) -> None:
    """Checks what PyTorch and cuDNN ask of a stack: every layer as wide as the first, with as many directions.

    Raises:
      ValueError: names the layer that does not fit.
    """
    if not isinstance(layers, tuple) or hasattr(layers, "_fields") or not layers:
        raise ValueError(f"layers: expected a tuple with one entry for each layer, got {type(layers).__name__}")
    count, first = len(directions(layers[0])), directions(layers[0])[0]
    input_size = first.w_x.shape[0]
    for number, layer in enumerate(layers):
        name = f"layers[{number}]"
        if len(directions(layer)) != count:
            raise ValueError(f"{name}: expected {count} of the two directions, as in layer 0")
        for direction in directions(layer):
            if type(direction) is not type(first):
                raise ValueError(f"{name}: expected {type(first).__name__}, got {type(direction).__name__}")
            if isinstance(direction, ProjectedLSTMParams):
                checked(f"{name}.w_p", direction.w_p, first.w_p.shape)  # type: ignore[union-attr]
            else:
                plain(name, direction)
            checked(f"{name}.w_x", direction.w_x, (input_size, first.b.shape[0]))
            checked(f"{name}.w_h", direction.w_h, first.w_h.shape)
            checked(f"{name}.b", direction.b, first.b.shape)
        input_size = count * output_size(first)


def _checked_module(module: Any) -> Any:
    import torch

    if not isinstance(module, torch.nn.LSTM):
        raise ValueError(f"source: expected a torch.nn.LSTM or its state dict, got {type(module).__name__}")
    expect("batch_first", module.batch_first, True, "convert module.state_dict(), and call lstm(..., time_major=True)")
    return module


def _direction(weights: Mapping[str, Any], end: str, has_bias: bool) -> Direction:
    weights = {name: _array(value) for name, value in weights.items()}
    projected = f"weight_hr{end}" in weights
    w_h = taken(weights, f"weight_hh{end}", (None, None)).T
    w_p = taken(weights, f"weight_hr{end}", (w_h.shape[0], None)).T if projected else None
    hidden = w_h.shape[0] if w_p is None else w_p.shape[0]
    w_h = taken(weights, f"weight_hh{end}", (4 * hidden, None)).T
    w_x = taken(weights, f"weight_ih{end}", (4 * hidden, None)).T
    b = jnp.zeros(4 * hidden, w_x.dtype)
    if has_bias:
        b = taken(weights, f"bias_ih{end}", (4 * hidden,)) + taken(weights, f"bias_hh{end}", (4 * hidden,))
    return LSTMParams(w_x, w_h, b) if w_p is None else ProjectedLSTMParams(w_x, w_h, b, w_p)


def _array(value: Any) -> Any:
    """A tensor as a NumPy array; anything else as it is."""
    if not hasattr(value, "detach"):
        return value
    value = value.detach().cpu()
    if str(value.dtype) != "torch.bfloat16":
        return value.numpy()
    import torch

    return value.view(torch.int16).numpy().view(jnp.bfloat16)  # NumPy has no bfloat16 of its own


def _tensor(array: Array) -> "torch.Tensor":
    import torch

    copy = np.array(array)
    if copy.dtype != jnp.bfloat16:
        return torch.from_numpy(copy)
    return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16)
