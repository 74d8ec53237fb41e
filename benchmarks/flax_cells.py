"""The cells of `jaxlstm.cells` in Flax linen, each as its textbook writes it, under `nn.RNN`.

Flax's own where it has one: `OptimizedLSTMCell`, its faster LSTM, and `GRUCell`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from benchmarks.programs import Adapter
from jaxlstm import cells
from jaxlstm.cells import Cell
from jaxlstm.interop import to_flax


class TextbookCell(nn.RNNCellBase):
    """What all of them share: a state of zeros, an affine map of x and a linear one of h."""

    features: int
    states: int = 2  # (c, h)

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        """Zeros [..., H]."""
        return tuple(jnp.zeros((*input_shape[:-1], self.features)) for _ in range(self.states))

    @property
    def num_feature_axes(self):
        """Of an input."""
        return 1

    def affine(self, h, x, gates):
        """x W_x + b + h W_h, split into gates."""
        width = gates * self.features
        z = nn.Dense(width, name="x")(x) + nn.Dense(width, use_bias=False, name="h")(h)
        return jnp.split(z, gates, axis=-1)


class Peephole(TextbookCell):
    """Gers & Schmidhuber (2000)."""

    @nn.compact
    def __call__(self, carry, x):
        """One step."""
        c, h = carry
        p_i, p_f, p_o = jnp.split(self.param("p", nn.initializers.zeros, (3 * self.features,)), 3)
        i, f, g, o = self.affine(h, x, 4)
        new_c = nn.sigmoid(f + p_f * c) * c + nn.sigmoid(i + p_i * c) * nn.tanh(g)
        new_h = nn.sigmoid(o + p_o * new_c) * nn.tanh(new_c)
        return (new_c, new_h), new_h


class Coupled(TextbookCell):
    """Greff et al. (2017)."""

    @nn.compact
    def __call__(self, carry, x):
        """One step."""
        c, h = carry
        i, g, o = self.affine(h, x, 3)
        i = nn.sigmoid(i)
        new_c = (1 - i) * c + i * nn.tanh(g)
        new_h = nn.sigmoid(o) * nn.tanh(new_c)
        return (new_c, new_h), new_h


class NoForgetGate(TextbookCell):
    """Hochreiter & Schmidhuber (1997)."""

    @nn.compact
    def __call__(self, carry, x):
        """One step."""
        c, h = carry
        i, g, o = self.affine(h, x, 3)
        new_c = c + nn.sigmoid(i) * nn.tanh(g)
        new_h = nn.sigmoid(o) * nn.tanh(new_c)
        return (new_c, new_h), new_h


class LayerNorm(TextbookCell):
    """Ba et al. (2016)."""

    @nn.compact
    def __call__(self, carry, x):
        """One step."""
        c, h = carry
        width = 4 * self.features
        z_x = nn.LayerNorm(name="norm_x")(nn.Dense(width, use_bias=False, name="x")(x))
        z_h = nn.LayerNorm(use_bias=False, name="norm_h")(nn.Dense(width, use_bias=False, name="h")(h))
        i, f, g, o = jnp.split(z_x + z_h, 4, axis=-1)
        new_c = nn.sigmoid(f) * c + nn.sigmoid(i) * nn.tanh(g)
        new_h = nn.sigmoid(o) * nn.tanh(nn.LayerNorm(name="norm_c")(new_c))
        return (new_c, new_h), new_h


class Projected(TextbookCell):
    """Sak et al. (2014)."""

    projection: int = 1

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        """c [..., H] and h [..., P] of zeros."""
        batch = input_shape[:-1]
        return jnp.zeros((*batch, self.features)), jnp.zeros((*batch, self.projection))

    @nn.compact
    def __call__(self, carry, x):
        """One step."""
        c, h = carry
        i, f, g, o = self.affine(h, x, 4)
        new_c = nn.sigmoid(f) * c + nn.sigmoid(i) * nn.tanh(g)
        new_h = nn.Dense(self.projection, use_bias=False, name="p")(nn.sigmoid(o) * nn.tanh(new_c))
        return (new_c, new_h), new_h


class SLSTM(TextbookCell):
    """Beck et al. (2024), with one head."""

    states: int = 3

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        """c, n and h of zeros, m of minus infinity."""
        c, n, h = super().initialize_carry(rng, input_shape)
        return c, n, jnp.full_like(c, -jnp.inf), h

    @nn.compact
    def __call__(self, carry, x):
        """One step."""
        c, n, m, h = carry
        i, f, g, o = self.affine(h, x, 4)
        log_f = nn.log_sigmoid(f) + m
        new_m = jnp.maximum(log_f, i)
        i, f = jnp.exp(i - new_m), jnp.exp(log_f - new_m)
        new_c = f * c + i * nn.tanh(g)
        new_n = f * n + i
        new_h = nn.sigmoid(o) * new_c / new_n
        return (new_c, new_n, new_m, new_h), new_h


class Pair(NamedTuple):
    """A cell, its module in Flax, and its weights there."""

    cell: Cell
    module: Callable[[Any], nn.RNNCellBase]  # of params
    convert: Callable[[Any], dict]


def dense(w: Any, b: Any = None) -> dict:
    """The weights of `nn.Dense`."""
    return {"kernel": w} if b is None else {"kernel": w, "bias": b}


def affine(params: Any) -> dict:
    """Those of `TextbookCell.affine`."""
    return {"x": dense(params.w_x, params.b), "h": dense(params.w_h)}


def layer_norm(params: Any) -> dict:
    """Those of `LayerNorm`."""
    norms = {
        "norm_x": {"scale": params.gain_x, "bias": params.b},
        "norm_h": {"scale": params.gain_h},
        "norm_c": {"scale": params.gain_c, "bias": params.b_c},
    }
    return {"x": dense(params.w_x), "h": dense(params.w_h)} | norms


def gru(params: Any) -> dict:
    """Those of `nn.GRUCell`, gate by gate."""
    (i_r, i_z, i_n), (h_r, h_z, h_n), (b_r, b_z, b_n) = (
        jnp.split(leaf, 3, axis=-1) for leaf in (params.w_x, params.w_h, params.b)
    )
    inputs = {"ir": dense(i_r, b_r), "iz": dense(i_z, b_z), "in": dense(i_n, b_n)}
    return inputs | {"hr": dense(h_r), "hz": dense(h_z), "hn": dense(h_n, params.b_n)}


CELLS = {
    "lstm": Pair(cells.LSTM, lambda p: nn.OptimizedLSTMCell(p.w_h.shape[0], param_dtype=p.w_h.dtype), to_flax),
    "peephole": Pair(cells.PEEPHOLE, lambda p: Peephole(p.w_h.shape[0]), lambda p: affine(p) | {"p": p.p}),
    "coupled": Pair(cells.COUPLED, lambda p: Coupled(p.w_h.shape[0]), affine),
    "no-forget-gate": Pair(cells.NO_FORGET_GATE, lambda p: NoForgetGate(p.w_h.shape[0]), affine),
    "layer-norm": Pair(cells.LAYER_NORM, lambda p: LayerNorm(p.w_h.shape[0]), layer_norm),
    "projected": Pair(
        cells.PROJECTED,
        lambda p: Projected(p.w_p.shape[0], projection=p.w_p.shape[1]),
        lambda p: affine(p) | {"p": dense(p.w_p)},
    ),
    "gru": Pair(cells.GRU, lambda p: nn.GRUCell(p.w_h.shape[0], param_dtype=p.w_h.dtype), gru),
    "slstm": Pair(cells.SLSTM, lambda p: SLSTM(p.b.size // 4), lambda p: affine(p._replace(w_h=p.w_h[0]))),
}


def adapter(name: str, params: Any) -> Adapter:
    """The cell in Flax over xs [B, T, D]."""
    pair = CELLS[name]
    layer = nn.RNN(pair.module(params))
    return Adapter(
        convert=lambda params: {"params": {"cell": pair.convert(params)}},
        apply=lambda weights, xs: jax.tree.leaves(layer.apply(weights, xs))[0],
    )
