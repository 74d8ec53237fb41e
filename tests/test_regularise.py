"""Noise and weight drop, for every cell, against loops in NumPy that draw nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import HOLES
from cell_cases import CELLS, STEPPED_LSTM, draw, unstabilised
from compare import assert_close, assert_close_by_norm, assert_equal
from walk import walk

from jaxlstm import cells, lstm
from jaxlstm.noise import Noise
from jaxlstm.regularise import draw_noise, mean_noise, weight_drop
from jaxlstm.scan import scan_cell
from jaxlstm.stack import init_stack, stack

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

KEY = jax.random.key(0)
RATES = {"inputs": 0.3, "recurrent": 0.4, "zoneout_h": 0.3, "zoneout_c": 0.4}
RATES_OF_H = RATES | {"zoneout_c": 0.0}  # for a cell that has nothing else


def expected(name, problem, noise: Noise, mask):
    """The oracle of the cell, with noise applied around its step."""
    params, xs, state = problem

    def step(s, row, t):
        x = xs[row][t] * noise.x_scale[row]
        # The product alone sees the scaled h: dropping units of h is dropping rows of W_h.
        weights = np.asarray(params.w_h)
        scale = np.asarray(noise.h_scale[row]).reshape(*weights.shape[:-1], 1)
        new = CELLS[name][1](params._replace(w_h=scale * weights), s, x)
        keeps = {k: noise.keep_h if k == "h" else noise.keep_c for k in new}
        return {k: np.where(keeps[k][row][t], s[k], new[k]) for k in new}

    return walk(step, unstabilised(state), 7, mask=mask)


@pytest.mark.parametrize("name", CELLS)
def test_all_of_it_on_every_cell(name):
    problem, cell = draw(name), CELLS[name][0]
    noise = draw_noise(KEY, cell, problem.params, (3,), 7, **(RATES_OF_H if name == "gru" else RATES))
    state, ys = scan_cell(cell, *problem, mask=HOLES, noise=noise)
    assert_close((unstabilised(state), ys), expected(name, problem, noise, HOLES), 1e-12)
    keeps = {"keep_h": noise.keep_h, "keep_c": noise.keep_c}
    turned = noise._replace(**jax.tree.map(lambda keep: jnp.moveaxis(keep, 1, 0), keeps))
    options = {"mask": HOLES.T, "noise": turned, "time_major": True}
    turned_state, turned_ys = scan_cell(cell, problem.params, jnp.moveaxis(problem.xs, 1, 0), problem.state, **options)
    assert_close((turned_state, jnp.moveaxis(turned_ys, 0, 1)), (state, ys), 1e-13)


def test_recurrent_dropout_is_that_of_lstm():
    problem = draw("lstm")
    noise = draw_noise(KEY, cells.LSTM, problem.params, (3,), 7, recurrent=0.5)
    assert set(np.unique(noise.h_scale)) == {0, 2}
    assert_close(scan_cell(STEPPED_LSTM, *problem, noise=noise), lstm(*problem, h_scale=noise.h_scale), 1e-13)


def test_rates_are_those_asked_for():
    params = draw("lstm", hidden_size=32, input_size=32).params
    noise = draw_noise(KEY, cells.LSTM, params, (200,), 10, **RATES)
    assert (noise.x_scale.shape, noise.h_scale.shape) == ((200, 32), (200, 32))
    assert noise.keep_h.shape == noise.keep_c.shape == (200, 10, 32)
    for scale, rate in ((noise.x_scale, 0.3), (noise.h_scale, 0.4)):
        assert abs((scale == 0).mean() - rate) < 0.02
        assert abs(scale.mean() - 1) < 0.03
    assert abs(noise.keep_h.mean() - 0.3) < 0.01
    assert abs(noise.keep_c.mean() - 0.4) < 0.01
    assert draw_noise(KEY, cells.LSTM, params, (200,), 10) == Noise()


def test_zoneout_in_the_mean():
    problem = draw("lstm", steps=1)
    noise = mean_noise(cells.LSTM, problem.params, (3,), 1, zoneout_h=0.25, zoneout_c=0.5)
    state, ys = scan_cell(cells.LSTM, *problem, noise=noise)
    plain, _ = scan_cell(cells.LSTM, *problem)
    assert_close(state.h, 0.25 * problem.state.h + 0.75 * plain.h, 1e-13)
    assert_close(state.c, 0.5 * problem.state.c + 0.5 * plain.c, 1e-13)
    assert_close(ys[:, 0], state.h, 0)


def test_zoneout_in_the_mean_in_half_precision():
    params, xs, _ = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), draw("lstm"))
    rates = {"zoneout_h": 0.25, "zoneout_c": 0.999}  # which bfloat16 rounds to 1
    with jax.numpy_dtype_promotion("strict"):
        noise = mean_noise(cells.LSTM, params, (3,), 7, **rates)
        state, _ = scan_cell(cells.LSTM, params, xs, noise=noise)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    expected, _ = scan_cell(
        cells.LSTM, wide, xs.astype(jnp.float64), noise=mean_noise(cells.LSTM, wide, (3,), 7, **rates)
    )
    assert [leaf.dtype for leaf in state] == [jnp.bfloat16, jnp.float32]
    for leaf, want in zip(state, expected, strict=True):
        assert_close_by_norm(leaf.astype(jnp.float64), want, 2e-2)


def test_weight_drop_drops_recurrent_weights_alone():
    layers = init_stack(KEY, cells.GRU, 5, [64, 64], bidirectional=True, dtype=np.float64)
    dropped = weight_drop(jax.random.key(1), 0.5, layers)
    masks = []
    for old, new in zip(jax.tree.leaves(layers, is_leaf=is_gru), jax.tree.leaves(dropped, is_leaf=is_gru), strict=True):
        assert_equal(new._replace(w_h=old.w_h), old)
        masks.append(np.asarray(new.w_h) == 0)
        assert abs(masks[-1].mean() - 0.5) < 0.03
        np.testing.assert_allclose(new.w_h, np.where(masks[-1], 0, 2 * old.w_h))
    assert len({mask.tobytes() for mask in masks}) == 4


def is_gru(node):
    return isinstance(node, cells.GRUParams)


def test_a_stack_of_two_directions_with_everything():
    xs = draw("gru").xs
    layers = init_stack(KEY, cells.GRU, 5, [4, 4], bidirectional=True, dtype=np.float64)
    noise = draw_noise(KEY, cells.GRU, layers, (3,), 7, **RATES_OF_H)
    assert [len(pair) for pair in noise] == [2, 2]
    assert len({leaf.tobytes() for leaf in map(np.asarray, jax.tree.leaves([pair[0].keep_h for pair in noise]))}) == 2

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def run(layers, noise):
        states, ys = stack(cells.GRU, layers, xs, noise=noise, dropout=0.5, key=KEY, mask=HOLES, checkpoint_every=3)
        return jnp.sum(ys**2), states

    (_, states), slopes = run(layers, noise)
    assert all(np.isfinite(leaf).all() and leaf.any() for leaf in jax.tree.leaves(slopes))
    # Row 2 has no valid step: nothing moves it from zero, whatever is drawn.
    assert all(not np.asarray(leaf[2]).any() for leaf in jax.tree.leaves(states))


def test_errors():
    params = draw("slstm").params
    with pytest.raises(ValueError, match=r"^zoneout_h: expected 0 or more and less than 1, got 1$"):
        draw_noise(KEY, cells.SLSTM, params, (3,), 7, zoneout_h=1)
    with pytest.raises(ValueError, match=r"^zoneout_c: expected 0 at evaluation for SLSTMState, got 0.1$"):
        mean_noise(cells.SLSTM, params, (3,), 7, zoneout_c=0.1)
    for draw_for in (partial(draw_noise, KEY), mean_noise):
        with pytest.raises(ValueError, match=r"^zoneout_c: expected 0 for GRUState, which has nothing but h, got 0.1$"):
            draw_for(cells.GRU, draw("gru").params, (3,), 7, zoneout_c=0.1)
    with pytest.raises(ValueError, match=r"^noise: expected Noise, as draw_noise makes it for one layer, got tuple$"):
        scan_cell(cells.SLSTM, *draw("slstm"), noise=(Noise(), Noise()))
    with pytest.raises(ValueError, match=r"^noise.keep_h: expected shape \[3, 7\], got \[3, 6\]$"):
        scan_cell(cells.SLSTM, *draw("slstm"), noise=draw_noise(KEY, cells.SLSTM, params, (3,), 6, zoneout_h=0.1))
    with pytest.raises(ValueError, match=r"^noise.x_scale: expected shape \[3, 5\], got \[2, 5\]$"):
        scan_cell(cells.SLSTM, *draw("slstm"), noise=draw_noise(KEY, cells.SLSTM, params, (2,), 7, inputs=0.1))


def test_h_and_the_rest_are_kept_independently_of_each_other():
    noise = draw_noise(jax.random.key(0), cells.LSTM, cells.LSTM.init(jax.random.key(1), 3, 20), (10,), 50,
                       zoneout_h=0.5, zoneout_c=0.5)  # fmt: skip
    assert jnp.mean(noise.keep_h & noise.keep_c) == pytest.approx(0.25, abs=0.02)
