"""Truncated back-propagation through time: `streams` of a text, a state carried by `fit`, gradients cut at windows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compare import assert_close

from jaxlstm import cells
from jaxlstm.batches import in_order
from jaxlstm.data.text import streams
from jaxlstm.layers import dense, init_dense
from jaxlstm.losses import cross_entropy
from jaxlstm.scan import scan_cell
from jaxlstm.training import fit

KEY = jax.random.key(0)
CELL, SYMBOLS, HIDDEN = cells.GRU, 5, 4
TEXT = np.random.default_rng(0).integers(1, SYMBOLS, 24).astype(np.int32)  # two rows of 12


def init():
    return {"cell": CELL.init(KEY, SYMBOLS, HIDDEN), "head": init_dense(KEY, HIDDEN, SYMBOLS)}


def read(params, state, batch):
    """The loss of one window, and the state after it."""
    start = jax.tree.map(lambda leaf: jnp.where(batch.is_first, 0, leaf), state)
    xs = jax.nn.one_hot(batch.inputs, SYMBOLS)
    state, hs = scan_cell(CELL, params["cell"], xs, start, mask=batch.mask)
    return cross_entropy(dense(params["head"], hs), batch.targets, batch.mask), state


def train(window, *, learning_rate, epochs=1):
    rows = streams(TEXT, 2, window)

    def loss(params, state, batch, key):
        value, state = read(params, state, batch)
        return value, (state, {})

    carry = CELL.zero_state(init()["cell"], (2,), jnp.float32)
    return fit(loss, init(), optax.sgd(learning_rate), in_order(rows), epochs=epochs, key=KEY, carry=carry)


def whole_loss(params):
    """Of the text in one piece, from a state of zeros."""
    (batch,) = [jax.tree.map(lambda leaf: leaf[0], streams(TEXT, 2, len(TEXT)))]
    return read(params, CELL.zero_state(params["cell"], (2,), jnp.float32), batch)[0]


@pytest.mark.parametrize("window", [12, 20])
def test_a_window_as_long_as_the_rows_is_full_back_propagation(window):
    params = init()
    for _ in range(2):  # epochs, of one step each
        params = jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.jit(jax.grad(whole_loss))(params))
    assert_close(train(window, learning_rate=0.5, epochs=2).params, params, 1e-5)


@pytest.mark.parametrize("window", [3, 6])
def test_windows_carry_the_state_but_no_gradient(window):
    # Nothing learnt: the mean loss over the windows is that of the whole rows, so the state was carried.
    (row,) = train(window, learning_rate=0.0).rows
    assert row["loss"] == pytest.approx(float(whole_loss(init())), rel=1e-5)
    # And a small step of each is a step along the gradient that stops at the windows' borders.
    rows, params = streams(TEXT, 2, window), init()

    def cut_loss(params):
        state, total = CELL.zero_state(params["cell"], (2,), jnp.float32), 0.0
        for n in range(12 // window):
            value, state = read(params, jax.lax.stop_gradient(state), jax.tree.map(lambda leaf, n=n: leaf[n], rows))
            total += value
        return total

    cut, full = jax.jit(jax.grad(cut_loss))(params), jax.jit(jax.grad(whole_loss))(params)
    rate = 1e-2
    moved = jax.tree.map(lambda new, old: (old - new) / rate, train(window, learning_rate=rate).params, params)
    assert_close(moved, cut, 3e-2)
    whole = jax.tree.map(lambda leaf: leaf * (12 // window), full)
    with pytest.raises(AssertionError):
        assert_close(moved["cell"], whole["cell"], 3e-2)
