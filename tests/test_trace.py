"""What is seen inside is what the whole-sequence functions compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_cases import CELLS, draw
from compare import assert_close

from jaxlstm import lstm
from jaxlstm.scan import scan_cell
from jaxlstm.trace import states, trace

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")


@pytest.mark.parametrize("batch_shape", [(), (3,)])
def test_trace_of_an_lstm(batch_shape):
    params, xs, state = draw("lstm", batch_shape)
    seen = trace(params, xs, state)
    final, ys = lstm(params, xs, state)
    assert_close(seen.h, ys, 1e-13)
    assert_close((seen.h[..., -1, :], seen.c[..., -1, :]), tuple(final), 1e-13)
    before = jnp.concatenate([state.c[..., None, :], seen.c[..., :-1, :]], axis=-2)
    assert_close(seen.c, seen.f * before + seen.i * seen.g, 1e-13)
    assert_close(seen.h, seen.o * np.tanh(seen.c), 1e-13)


@pytest.mark.parametrize("name", CELLS)
def test_states_of_every_cell(name):
    cell, (params, xs, state) = CELLS[name][0], draw(name)
    seen = states(cell, params, xs, state)
    final, ys = scan_cell(cell, params, xs, state)
    assert_close(seen.h, ys, 1e-13)
    assert_close(jax.tree.map(lambda leaf: leaf[:, -1], seen), final, 1e-13)


def test_states_from_the_cells_own():
    cell, (params, xs, _) = CELLS["slstm"][0], draw("slstm", ())
    assert_close(states(cell, params, xs).h, scan_cell(cell, params, xs)[1], 1e-13)
