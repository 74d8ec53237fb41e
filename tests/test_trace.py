"""What is seen inside is what the whole-sequence functions compute."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracle
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
    h_before, c_before = (
        np.concatenate([first[..., None, :], later[..., :-1, :]], axis=-2)
        for first, later in ((state.h, seen.h), (state.c, seen.c))
    )
    assert_close(seen.c, seen.f * c_before + seen.i * seen.g, 1e-13)
    assert_close(seen.h, seen.o * np.tanh(seen.c), 1e-13)
    w_x, w_h, b = map(np.asarray, params)
    _, z_f, _, _ = np.split(np.asarray(xs) @ w_x + h_before @ w_h + b, 4, axis=-1)
    assert_close(seen.f, oracle.sigmoid(z_f), 1e-13)


def test_a_trace_without_a_state_begins_with_zeros():
    params, xs, state = draw("lstm")
    assert_close(trace(params, xs), trace(params, xs, jax.tree.map(jnp.zeros_like, state)), 1e-13)


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


@pytest.mark.parametrize("look", [trace, lambda params, xs: states(CELLS["lstm"][0], params, xs)])
@pytest.mark.parametrize(
    ("xs", "message"),
    [
        (np.zeros((7, 5), np.int32), "^xs: expected a floating dtype, got int32"),
        (np.zeros((7, 6)), r"^xs: expected 5 features"),
        (np.zeros((7, 5), np.float32), r"^params\.w_x: expected the dtype of xs, float32, got float64"),
    ],
)
def test_errors_of_a_trace(look, xs, message):
    with pytest.raises(ValueError, match=message):
        look(draw("lstm").params, xs)


@pytest.mark.parametrize("look", [trace, partial(states, CELLS["lstm"][0])])
def test_a_wrong_state_is_named(look):
    params, xs, state = draw("lstm")
    with pytest.raises(ValueError, match=r"^state\.h: expected shape \[3, 4\], got \[2, 4\]"):
        look(params, xs, jax.tree.map(lambda leaf: leaf[:2], state))
    with pytest.raises(ValueError, match=r"^state: expected LSTMState, as zero_state makes it, got tuple"):
        look(params, xs, tuple(state))


def test_states_of_a_cell_that_projects_rows_alone():
    lstm_cell, (params, xs, state) = CELLS["lstm"][0], draw("lstm", (2, 3))

    def project(params, xs):
        assert xs.ndim == 2
        return lstm_cell.project(params, xs)

    seen = states(lstm_cell._replace(project=project), params, xs, state)
    assert_close(seen.h, scan_cell(lstm_cell, params, xs, state)[1], 1e-13)
