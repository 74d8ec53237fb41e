"""Weights from other libraries and back: `from_*` gives parameters of jaxlstm, `to_*` those of the library.

| library | from and to |
|---|---|
| PyTorch | `nn.LSTM` or its state dict; a stack |
| cuDNN | the packed vector; a stack |
| Keras 3 | an `LSTM` or `Bidirectional`, or its weights; one layer |
| Flax | parameters of a linen cell, an NNX module or its state; one layer |
| Haiku | the parameters of a transformed function; one LSTM |
| Equinox | `eqx.nn.LSTMCell`; one LSTM |

One LSTM is an `LSTMParams`, or a `ProjectedLSTMParams`; a layer of two directions is a
`BidirectionalParams`; a stack is a tuple of layers. No other library is imported before one of its
own objects has to be read or made.
"""

from jaxlstm.interop.cudnn import from_cudnn, to_cudnn
from jaxlstm.interop.equinox import from_equinox, to_equinox
from jaxlstm.interop.flax import from_flax, to_flax
from jaxlstm.interop.haiku import from_haiku, to_haiku
from jaxlstm.interop.keras import from_keras, to_keras
from jaxlstm.interop.params import BidirectionalParams, ProjectedLSTMParams
from jaxlstm.interop.torch import from_torch, to_torch, torch_arrays

__all__ = [
    "BidirectionalParams",
    "ProjectedLSTMParams",
    "from_cudnn",
    "from_equinox",
    "from_flax",
    "from_haiku",
    "from_keras",
    "from_torch",
    "to_cudnn",
    "to_equinox",
    "to_flax",
    "to_haiku",
    "to_keras",
    "to_torch",
    "torch_arrays",
]
