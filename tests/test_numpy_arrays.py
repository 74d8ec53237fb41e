"""Arrays of NumPy's in float64, as they are made: taken in float32 where JAX has no float64."""

import jax
import numpy as np

from jaxlstm import cells, init_lstm, lstm, lstm_cell, scan_cell, streaming


def test_they_give_what_their_float32_gives():
    params, xs = init_lstm(jax.random.key(0), 3, 4), np.random.default_rng(0).standard_normal((2, 5, 3))
    narrow = xs.astype(np.float32)
    state, ys = lstm(params, xs)
    np.testing.assert_array_equal(ys, lstm(params, narrow)[1])
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (params, state))
    np.testing.assert_array_equal(lstm(wide[0], xs, wide[1])[1], lstm(params, narrow, state)[1])
    np.testing.assert_array_equal(lstm_cell(params, state, xs[:, 0])[1], lstm_cell(params, state, narrow[:, 0])[1])
    gru = cells.GRU.init(jax.random.key(0), 3, 4)
    np.testing.assert_array_equal(scan_cell(cells.GRU, gru, xs)[1], scan_cell(cells.GRU, gru, narrow)[1])
    steps = [streaming.stepper(each, (2,))[0](state, x)[1] for each, x in ((wide[0], xs[:, 0]), (params, narrow[:, 0]))]
    np.testing.assert_array_equal(*steps)
    np.testing.assert_array_equal(streaming.feeder(wide[0])(state, xs)[1], streaming.feeder(params)(state, narrow)[1])
    _, fed = streaming.feeder(params)(state, xs)
    np.testing.assert_array_equal(fed, streaming.feeder(params)(state, narrow)[1])
