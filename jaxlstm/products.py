"""Products with weights, for one step and for all steps at once, laid out so that their gradients are fast.

Within a loop, `recurrent_product` is how a cell multiplies by a weight: `jaxlstm.loop` then takes the gradient of
that weight after the loop, as one large product, instead of adding to it at every step.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero

from jaxlstm.cell import cell_dtype, product


def scaled(h: Array, h_scale: Array | None) -> Array:
    """h_scale * h."""
    return h if h_scale is None else h * jnp.broadcast_to(h_scale, h.shape)


def recurrent_product(h: Array, w: Array, h_scale: Array | None = None, plus: Sequence[Array] = ()) -> Array:
    """(h_scale * h) @ w + the sum of `plus`, in the dtype of the cell state.

    With w [heads, N, M] the product is blockwise: h [..., heads * N] -> [..., heads * M]. What is added, [..., M] or
    [M], may be added to the result as well; given here, a projected input and a bias share one gradient with the
    product, for which memory and time are spent once.
    """
    h = scaled(h, h_scale)
    tape = _tape.get()
    return total(multiply(h, w), *plus) if tape is None else tape.product(h, w, plus)


def total(y: Array, *terms: Array) -> Array:
    """y [..., M] and what is added to it, [..., M] or a bias [M], in the dtype of y."""
    return sum((jnp.broadcast_to(term, y.shape).astype(y.dtype) for term in terms), y)


def kept(part: Array) -> Array:
    """A part of a product, which the backward pass of `jaxlstm.loop` keeps where it would keep the whole product."""
    return checkpoint_name(part, "part")


def multiply(x: Array, w: Array) -> Array:
    """x @ w, blockwise where w has an axis of heads."""
    w = of_one_head(w)
    if w.ndim == 2:
        return product(x, w)
    heads, size, _ = w.shape
    x = x.reshape(*x.shape[:-1], heads, size)
    y = jnp.einsum("...kn,knm->...km", x, w, preferred_element_type=cell_dtype(x.dtype))
    return y.reshape(*y.shape[:-2], heads * w.shape[-1])


def multiply_steps(xs: Array, w: Array) -> Array:
    """xs [K, B, N] times w: the tangent of all steps of a loop at once, the gradient of w from a large product."""
    w = of_one_head(w)
    return over_steps(product_of_columns if w.ndim == 2 else multiply, xs, w)


def of_one_head(w: Array) -> Array:
    """w [1, N, M] as [N, M]: no product of blocks is needed."""
    return w[0] if w.ndim == 3 and w.shape[0] == 1 else w


class Tape:
    """The products of one step: what was multiplied, and a probe for the tangent of what came out.

    `probes` is None to find out how many there are and of what shape. `addends` maps the id of each array that may be
    added and whose tangent enters by a probe to its number among the leaves, and to itself held constant.
    """

    def __init__(
        self,
        stand_ins: list[Array],
        weights: list[Array],
        columns: list[Array],
        addends: dict[int, tuple[int, Array]],
        probes: list[Array] | None,
    ):
        self.index = {id(stand_in): n for n, stand_in in enumerate(stand_ins)}
        self.weights, self.columns, self.addends, self.probes = weights, columns, addends, probes
        self.used: list[int] = []  # for each product the weight, as an index
        self.added: list[list[int]] = []  # for each product what was added to it
        self.inputs: list[Array] = []
        self.outputs: list[Array] = []
        self.within = _transformations()

    def product(self, x: Array, w: Array, plus: Sequence[Array] = ()) -> Array:
        """x @ w + the sum of `plus`, taped where w is one of the weights.

        Within a transformation of the step's own, a `jax.grad` or a loop, it is not: what it multiplies is known there
        alone, and the weight's gradient is carried by the loop as that of any other parameter.
        """
        if id(w) not in self.index or _transformations() != self.within:
            return total(multiply(x, w), *plus)
        n = self.index[id(w)]
        if self.probes is None:
            y = multiply(x, w)
        else:
            y = _probed(x, self.weights[n], self.columns[n], self.probes[len(self.used)])
        self.used.append(n)
        self.added.append([self.addends[id(term)][0] for term in plus if id(term) in self.addends])
        self.inputs.append(x)
        self.outputs.append(y)
        return total(y, *(self.addends.get(id(term), (None, term))[1] for term in plus))


def _transformations() -> Any:
    """Those that JAX traces at the moment."""
    from jax.extend.core import get_opaque_trace_state  # when a gradient is traced: importing it takes a while

    return get_opaque_trace_state()


_tape: ContextVar[Tape | None] = ContextVar("tape", default=None)


@contextmanager
def taped(tape: Tape) -> Iterator[None]:
    """Every `recurrent_product` within goes through the tape."""
    token = _tape.set(tape)
    try:
        yield
    finally:
        _tape.reset(token)


@jax.custom_jvp
def _probed(x: Array, w: Array, columns: Array, probe: Array) -> Array:
    """x @ w; the probe, whose value is not read, is where a tangent enters. `columns` is `columns_of(w)`."""
    return multiply(x, w)


@partial(_probed.defjvp, symbolic_zeros=True)
def _probed_jvp(primals, tangents):
    x, w, columns, _ = primals
    d_x, d_w, _, d_probe = tangents
    y = multiply(x, w)
    d_y = jnp.zeros_like(y) if isinstance(d_probe, SymbolicZero) else d_probe
    if not isinstance(d_x, SymbolicZero):
        # Without a wider accumulator here, so that a bfloat16 gradient meets bfloat16 weights.
        if columns.ndim == 2:
            d_y += jax.lax.dot_general(d_x, columns, (((d_x.ndim - 1,), (1,)), ((), ()))).astype(y.dtype)
        else:
            d_y += multiply(d_x, w)
    if not isinstance(d_w, SymbolicZero):
        d_y += multiply(x, d_w)
    return y, d_y


def columns_of(w: Array) -> Array:
    """w, turned so that the thin product of a backward loop meets rows of memory."""
    w = of_one_head(w)
    return w.T if w.ndim == 2 else w


def over_steps(product_of: Callable[[Array, Array], Array], xs: Array, w: Array) -> Array:
    """xs [K, B, D] -> products with w [K, B, N], as one over [K * B, D].

    With the steps left as an axis of their own, XLA would copy a transposed dz for the gradient of w.
    """
    steps, batch, size = xs.shape
    ys = product_of(xs.reshape(steps * batch, size), w)
    return ys.reshape(steps, batch, ys.shape[-1])


def product_of_columns(x: Array, w: Array) -> Array:
    """x @ w, from columns of x that are laid out in memory: the gradient of w then is a product of rows with rows."""
    columns = jax.lax.optimization_barrier(x.T)
    return jax.lax.dot_general(columns, w, (((0,), (0,)), ((), ())), preferred_element_type=cell_dtype(x.dtype))
