"""The cells with random weights, inputs and states, and their oracles."""

from functools import partial
from typing import Any, NamedTuple

import cell_oracles
import jax
import jax.numpy as jnp
import numpy as np

from jaxlstm import cells, init_lstm
from jaxlstm.cells import Cell

# The LSTM as any other cell is run: `scan_cell` runs `cells.LSTM` itself by `lstm`.
STEPPED_LSTM = cells.LSTM._replace(init=partial(init_lstm))

CELLS: dict[str, tuple[Cell, Any]] = {
    "lstm": (STEPPED_LSTM, cell_oracles.lstm),
    "peephole": (cells.PEEPHOLE, cell_oracles.peephole),
    "coupled": (cells.COUPLED, cell_oracles.coupled),
    "no-forget-gate": (cells.NO_FORGET_GATE, cell_oracles.no_forget_gate),
    "layer-norm": (cells.LAYER_NORM, cell_oracles.layer_norm),
    "projected": (cells.PROJECTED, cell_oracles.projected),
    "gru": (cells.GRU, cell_oracles.gru),
    "slstm": (cells.SLSTM, cell_oracles.slstm),
}
OPTIONS = {"slstm": {"heads": 2}, "projected": {"projection_size": 3}}


class CellProblem(NamedTuple):
    """What a cell is given; a pytree, so that one can differentiate by all of it."""

    params: Any
    xs: jax.Array  # [..., T, D]
    state: Any


def draw(name, batch_shape=(3,), steps=7, input_size=5, hidden_size=4, *, dtype=np.float64, seed=0) -> CellProblem:
    cell, _ = CELLS[name]
    rng = np.random.default_rng(seed)

    def plus_normal(leaf, scale=0.5):
        leaf = jnp.where(jnp.isfinite(leaf), leaf, 0)
        return jnp.asarray(np.asarray(leaf, np.float64) + scale * rng.standard_normal(leaf.shape), leaf.dtype)

    fresh = cell.init(jax.random.key(seed), input_size, hidden_size, dtype=dtype, **OPTIONS.get(name, {}))
    state = jax.tree.map(plus_normal, cell.zero_state(fresh, batch_shape, dtype))
    if hasattr(state, "n"):
        state = state._replace(n=1 + jnp.abs(state.n))
    xs = jnp.asarray(rng.standard_normal((*batch_shape, steps, input_size)), dtype)
    return CellProblem(jax.tree.map(plus_normal, fresh), xs, state)


def unstabilised(state) -> dict:
    """The state as a dict for the oracle: sLSTM's c and n without their stabiliser."""
    leaves = {name: np.asarray(leaf, np.float64) for name, leaf in state._asdict().items()}
    m = leaves.pop("m", None)
    return leaves if m is None else leaves | {name: leaves[name] * np.exp(m) for name in ("c", "n")}


def expected(name, problem: CellProblem, state=..., **options):
    """The oracle's final state, as a dict, and outputs."""
    cell, step = CELLS[name]
    if state is ...:
        state = problem.state
    elif state is None:
        state = cell.zero_state(problem.params, problem.xs.shape[:-2], problem.xs.dtype)
    return cell_oracles.scan(step, problem.params, problem.xs, unstabilised(state), **options)
