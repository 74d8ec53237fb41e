"""What users of other libraries have reported or asked for: each test names the report and shows that it is met."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from cases import HOLES, LEFT_PADDED
from compare import assert_close, assert_equal
from problem import draw, draw_like

from jaxlstm import LSTMState, cells, lstm, which_implementation
from jaxlstm.regularise import draw_noise
from jaxlstm.scan import scan_cell
from jaxlstm.stack import BidirectionalParams, bidirectional

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")


def test_padding_in_a_bidirectional_layer():
    """google/flax#2170: a bidirectional layer of one's own handled padding wrongly, "a long debugging loop".

    Every row of a padded batch gives what its sequence gives alone, in both directions, whatever is in the padding.
    """
    problem, lengths = draw(), np.array([4, 7, 1])
    params = BidirectionalParams(problem.params, draw(seed=1).params)
    padded = jnp.where((np.arange(7) < lengths[:, None])[..., None], problem.xs, jnp.nan)
    state, ys = bidirectional(cells.LSTM, params, padded, lengths=lengths)
    for row, length in enumerate(lengths):
        alone, expected = bidirectional(cells.LSTM, params, problem.xs[row, :length])
        last = jax.tree.map(lambda leaf, row=row: leaf[row], state)
        assert_close((last, ys[row, :length]), (alone, expected), 1e-13)


@pytest.mark.parametrize("mask", [HOLES, LEFT_PADDED], ids=["holes", "left"])
def test_a_mask_with_holes_or_on_the_left(mask):
    """google/flax#3507: a mask that makes the carry skip elements, "as if the masked-out elements aren't there"."""
    params, xs, state, _ = draw()
    final, ys = lstm(params, xs, state, mask=mask)
    for row, valid in enumerate(mask):
        at_row = jax.tree.map(lambda leaf, row=row: leaf[row], (state, final))
        alone, expected = lstm(params, xs[row, valid], at_row[0])
        assert_close((at_row[1], ys[row, valid]), (alone, expected), 1e-13)


@pytest.mark.parametrize("lengths", [[0, 0, 0], [0, 7, 3]], ids=["all", "one"])
def test_length_zero(lengths):
    """jax-ml/jax#17966: cuDNN fails forward if all lengths are 0, and backward if any is."""
    params, xs, state, _ = draw()

    def loss(params, xs, state, lengths):
        final, ys = lstm(params, xs, state, lengths=lengths)
        return jnp.sum(ys**2) + jnp.sum(final.h) + jnp.sum(final.c**2), (final, ys)

    gradient = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    (by_params, by_xs, by_state), (final, ys) = gradient(params, xs, state, np.array(lengths))
    assert_equal((final.h[0], final.c[0]), (state.h[0], state.c[0]))
    np.testing.assert_array_equal(ys[0], 0)
    np.testing.assert_array_equal(by_xs[0], 0)
    assert_close((by_state.h[0], by_state.c[0]), (jnp.ones(4), 2 * state.c[0]), 1e-15)
    if not any(lengths):
        assert_equal(by_params, jax.tree.map(jnp.zeros_like, params))
    else:
        others = jax.tree.map(lambda leaf: leaf[1:], state)
        (alone, *_), _ = gradient(params, xs[1:], others, np.array(lengths[1:]))
        assert_close(by_params, alone, 1e-13)


def compiled_step(recurrent: float):
    """A training step at the report's number of units, with recurrent dropout at that rate, the draw included."""
    params, xs, _, _ = draw((8,), 100, 64, 128, dtype=np.float32)

    def loss(params, key):
        noise = draw_noise(key, cells.LSTM, params, (8,), 100, recurrent=recurrent)
        return jnp.sum(lstm(params, xs, h_scale=noise.h_scale)[1] ** 2)

    return jax.jit(jax.grad(loss)).lower(params, jax.random.key(0)).compile()


def test_recurrent_dropout_costs_next_to_nothing():
    """tensorflow/tensorflow#38236: `recurrent_dropout` makes training 25 times slower, as it leaves the fast kernel.

    Here the walk is the same: as many loops over time, as many products, and next to no arithmetic more.
    `python -m benchmarks.cells` measures the time.
    """
    programs = compiled_step(0.0), compiled_step(0.2)
    for operation in (r"\[100,8,\d+\].* while\(", r" dot\(|__onednn\$matmul|__cublas"):
        without, with_dropout = (len(re.findall(operation, program.as_text())) for program in programs)
        assert without == with_dropout > 1
    # Of a loop XLA counts one turn.
    without, with_dropout = (program.cost_analysis()["flops"] for program in programs)
    assert with_dropout < 1.02 * without


def test_double_backward():
    """pytorch/pytorch#5261: no double backward through cuDNN's RNNs, as for a gradient penalty."""
    problem = draw()

    @jax.jit
    def penalty(params):
        gradient = jax.grad(lambda xs: jnp.sum(lstm(params, xs)[1] ** 2))(problem.xs)
        return jnp.sum(gradient**2)

    direction = draw_like(problem.params)
    along = jax.tree.map(lambda leaf, d: jnp.vdot(leaf, d), jax.jit(jax.grad(penalty))(problem.params), direction)
    step = 1e-5
    moved = [
        penalty(jax.tree.map(lambda leaf, d, sign=sign: leaf + sign * step * d, problem.params, direction))
        for sign in (1, -1)
    ]
    np.testing.assert_allclose(sum(along), (moved[0] - moved[1]) / (2 * step), rtol=1e-7)


def test_vmap_over_an_ensemble():
    """pytorch/pytorch#105982: `vmap` over models of other weights fails in the LSTM. Its sizes."""
    networks = [draw((32,), 16, 8, 64, seed=seed, scale=0.2) for seed in range(4)]
    xs = networks[0].xs
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(network.params for network in networks))
    expected = [lstm(network.params, xs) for network in networks]
    actual = jax.vmap(lstm, in_axes=(0, None))(stacked, xs)
    assert_close(actual, jax.tree.map(lambda *leaves: jnp.stack(leaves), *expected), 1e-13)


def test_no_silent_slow_path():
    """keras-team/keras#22874: a layer told to use cuDNN ran without it, and said nothing.

    What is asked for by name runs, or raises and says why; and one can ask what runs.
    """
    params, xs, _, _ = draw(dtype=np.float32)
    for name in ("cudnn", "pallas"):
        with pytest.raises(ValueError, match=f"^implementation: '{name}' needs .*GPU"):
            which_implementation(params, xs, implementation=name, platform="cpu")
        with pytest.raises(ValueError, match=f"^implementation: '{name}' "):
            lstm(params, xs, activation=jnp.sin, implementation=name)  # on every platform
    for platform, taken in (("cpu", "scan"), ("cuda", "pallas"), ("tpu", "scan")):
        choice = which_implementation(params, xs, platform=platform)
        assert choice.name == taken
        assert choice.reason


def in_checkpointed_chunks(params, xs, state, chunk):
    """The loss over xs [B, T, D], with `jax.checkpoint` around `lstm` in a scan over chunks of steps."""
    batch, steps, size = xs.shape

    @jax.checkpoint
    def advance(state, xs):
        state, ys = lstm(params, xs, state)
        return state, jnp.sum(ys**2)

    chunks = jnp.moveaxis(xs.reshape(batch, steps // chunk, chunk, size), 1, 0)
    final, losses = jax.lax.scan(advance, state, chunks)
    return losses.sum() + jnp.sum(final.c)


def test_a_checkpointed_scan():
    """jax-ml/jax#2139: a scan that recomputes instead of keeping every step. Both ways to have it here."""
    problem = draw((2,), 256, 5, 8)

    def whole(params, xs, state):
        final, ys = lstm(params, xs, state)
        return jnp.sum(ys**2) + jnp.sum(final.c)

    def every(params, xs, state):
        final, ys = scan_cell(cells.LSTM, params, xs, state, checkpoint_every=16)
        return jnp.sum(ys**2) + jnp.sum(final.c)

    def chunks(params, xs, state):
        return in_checkpointed_chunks(params, xs, state, 16)

    programs = {
        loss: jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*problem[:3]).compile()
        for loss in (whole, every, chunks)
    }
    memory = {loss: program.memory_analysis().temp_size_in_bytes for loss, program in programs.items()}
    for loss in (every, chunks):
        assert_close(programs[loss](*problem[:3]), programs[whole](*problem[:3]), 1e-12)
        assert 0 < memory[loss] < memory[whole] / 2


def test_ten_thousand_steps():
    """jax-ml/jax#7009: "jax.lax.scan for recurrent models on very long sequences: can it be done?" 10,000 steps.

    The program is no larger than that of 1,000 steps, its values are right, and so is its gradient.
    """
    problem = draw((1,), 10_000, 2, 3)

    def loss(params, xs):
        return jnp.sum(lstm(params, xs)[1] ** 2)

    gradient = jax.jit(jax.grad(loss))
    programs = [gradient.lower(problem.params, problem.xs[:, :steps]) for steps in (1_000, 10_000)]
    lines = [program.as_text().count("\n") for program in programs]
    assert lines[0] == lines[1]
    assert_close(lstm(*problem[:3]), _as_state(oracle.lstm(*problem[:3])), 1e-11)
    without_state = jax.tree.map(jnp.zeros_like, problem.state)

    def by_chunks(params):
        return in_checkpointed_chunks(params, problem.xs, without_state, 100)

    def with_final(params):
        final, ys = lstm(params, problem.xs)
        return jnp.sum(ys**2) + jnp.sum(final.c)

    assert_close(jax.jit(jax.grad(with_final))(problem.params), jax.jit(jax.grad(by_chunks))(problem.params), 1e-11)


def _as_state(result):
    (h, c), ys = result
    return LSTMState(h, c), ys
