"""What a cell is: a named tuple of pure functions, in the manner of optax's transformations.

    params = cell.init(key, input_size, hidden_size)
    state  = cell.zero_state(params, batch_shape, dtype)
    z      = cell.project(params, xs)                     for all steps at once: what the inputs alone decide
    state, y = cell.step(params, state, z)                the recurrence, one step

Anything with these four functions runs under `jaxlstm.scan_cell`, with its masks, directions and gradients. They are
functions of their arguments alone, which may not close over a value that JAX traces: what is trained, or computed
before, an encoder's outputs say, is a part of the params. Where a step is not valid, they read zeros for x. A step
that multiplies by its weights through `jaxlstm.products.recurrent_product` trains faster than with `@`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn.initializers import glorot_uniform, orthogonal
from jax.typing import DTypeLike

from jaxlstm.cell import draw_weight
from jaxlstm.checks import check_key, check_sizes


class Cell(NamedTuple):
    """A recurrent cell; hashable.

    Params and state are pytrees of arrays. Every leaf of the state is [..., N]; in a state with a field
    `h`, that is the hidden state, which the recurrent product reads.
    """

    init: Callable[..., Any]  # (key, input_size, hidden_size, *, dtype, ...) -> params
    project: Callable[[Any, Array], Any]  # (params, xs [N, D]) -> z, a pytree of arrays [N, ...]
    # (params, state, z) -> (state, y [..., H]). A fourth argument h_scale [..., H], where it is given,
    # multiplies h before the recurrent product and nowhere else: variational recurrent dropout. Where y is a part of
    # the new state, it is that very array: what masks and zoneout make of the state, they make of y.
    step: Callable[..., tuple[Any, Array]]
    zero_state: Callable[[Any, tuple[int, ...], DTypeLike], Any]  # (params, batch_shape, dtype) -> state
    params_type: type = object  # what `init` returns; `scan_cell` refuses any other
    # Whether a pass without a derivative brings z a step ahead on a CPU (`jaxlstm.loop`): up to twice as fast where a
    # step cuts z into gates first; up to a tenth slower where it does not, as with `jaxlstm.cell.gates`.
    ahead: bool = True


def draw_weights(key: Array, input_size: int, output_size: int, width: int, dtype: DTypeLike) -> tuple[Array, Array]:
    """w_x [input_size, width] Glorot uniform, w_h [output_size, width] orthogonal.

    Raises:
      ValueError: no random key, a size below 1, or a dtype that is not floating.
    """
    check_key(key)
    check_sizes(input_size=input_size, hidden_size=output_size)
    key_x, key_h = jax.random.split(key)
    w_x = draw_weight(glorot_uniform(), key_x, (input_size, width), dtype)
    return w_x, draw_weight(orthogonal(), key_h, (output_size, width), dtype)


def bias(hidden_size: int, *blocks: float, dtype: DTypeLike) -> Array:
    """[len(blocks) * H], each block filled with one number."""
    return jnp.repeat(jnp.array(blocks, dtype), hidden_size)
