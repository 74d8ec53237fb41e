"""Every cell under `scan_cell`: values against its oracle, derivatives, masks, resets, segments."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import HOLES, LENGTHS
from cell_cases import CELLS, OPTIONS, STEPPED_LSTM, CellProblem, draw, expected, unstabilised
from compare import assert_close, assert_close_by_norm, assert_equal
from jax.test_util import check_grads
from problem import draw_like

from jaxlstm import LSTMState, cells, lstm, scan, schedule
from jaxlstm.cells import Cell
from jaxlstm.implementations import deciding_for
from jaxlstm.regularise import draw_noise
from jaxlstm.scan import scan_cell

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

# What is done around a step is the same for all; these have most in their states, least, and a product more.
FEW = ["slstm", "gru", "projected"]

RESETS = np.array([[0, 0, 1, 0, 0, 1, 1], [1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 0, 0]], bool)
MASKINGS: dict[str, dict] = {
    "plain": {},
    "lengths": {"lengths": LENGTHS},
    "resets-holes": {"resets": RESETS, "mask": HOLES},
}


@partial(jax.jit, static_argnums=0, static_argnames=("reverse", "checkpoint_every", "unroll", "time_major"))
def run(cell, problem: CellProblem, **options):
    return scan_cell(cell, *problem, **options)


def loss(cell, problem, **options):
    """Of everything that comes out."""
    state, ys = scan_cell(cell, *problem, **options)
    weights = draw_like((state, ys))
    return sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves((state, ys)), jax.tree.leaves(weights), strict=True))


@partial(jax.jit, static_argnums=0, static_argnames=("reverse", "checkpoint_every", "unroll"))
def gradient(cell, problem, **options):
    return jax.grad(partial(loss, cell, **options))(problem)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("masking", MASKINGS)
@pytest.mark.parametrize("name", CELLS)
def test_values(name, masking, reverse):
    problem = draw(name)
    state, ys = run(CELLS[name][0], problem, reverse=reverse, **MASKINGS[masking])
    actual = unstabilised(state), ys
    assert_close(actual, expected(name, problem, reverse=reverse, **MASKINGS[masking]), 1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_from_the_cells_own_state(name):
    problem = draw(name)
    state, ys = run(CELLS[name][0], problem._replace(state=None))
    assert_close((unstabilised(state), ys), expected(name, problem, None), 1e-12)


@pytest.mark.parametrize("batch_shape", [(), (2, 3), (0,)])
@pytest.mark.parametrize("name", FEW)
def test_batch_dimensions_and_time_major(name, batch_shape):
    problem = draw(name, batch_shape)
    mask = np.random.default_rng(3).random((*batch_shape, 7)) < 0.6
    state, ys = expected(name, problem, mask=mask)
    actual, actual_ys = run(CELLS[name][0], problem, mask=mask)
    assert_close((unstabilised(actual), actual_ys), (state, ys), 1e-12)
    turned = problem._replace(xs=jnp.moveaxis(problem.xs, -2, 0))
    actual, actual_ys = run(CELLS[name][0], turned, mask=np.moveaxis(mask, -1, 0), time_major=True)
    assert_close((unstabilised(actual), jnp.moveaxis(actual_ys, 0, -2)), (state, ys), 1e-12)


@pytest.mark.parametrize("name", FEW)
def test_no_steps_at_all(name):
    problem = draw(name, steps=0)
    state, ys = run(CELLS[name][0], problem)
    assert_equal(state, problem.state)
    assert ys.shape == (3, 0, problem.state.h.shape[-1])


@pytest.mark.parametrize("name", CELLS)
def test_fresh_parameters_and_states_can_be_donated(name):
    """Whose arrays are their own: XLA refuses to take one buffer twice."""
    cell, _ = CELLS[name]
    params = cell.init(jax.random.key(0), 8, 8, dtype=np.float32, **OPTIONS.get(name, {}))
    same = jax.jit(lambda tree: jax.tree.map(jnp.negative, tree), donate_argnums=0)
    same((cell.zero_state(params, (3,), jnp.float32), params))


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", CELLS)
def test_narrow_dtypes(name, dtype):
    problem = draw(name, dtype=dtype)
    state, ys = run(CELLS[name][0], problem)
    assert ys.dtype == state.h.dtype == dtype
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(state._replace(h=None)))
    actual, want = (unstabilised(state), ys), expected(name, problem)
    if dtype is np.float32:
        assert_close(actual, want, 1e-5)
    else:
        assert_close_by_norm(actual, want, 3e-2)


@pytest.mark.parametrize("dtype", [np.float32, jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("name", [*CELLS, "stepped lstm"])
def test_no_dtype_is_promoted_in_silence(name, dtype):
    cell = STEPPED_LSTM if name == "stepped lstm" else CELLS[name][0]
    problem = draw(name.removeprefix("stepped "), dtype=dtype)
    with jax.numpy_dtype_promotion("strict"):

        def total(params, xs):
            lengths = np.array([7, 3, 0], np.uint8)
            (state, ys), _ = scan_cell(cell, params, xs, lengths=lengths, resets=RESETS), scan_cell(cell, params, xs)
            return jnp.sum(ys) + jnp.sum(state.h)

        jax.make_jaxpr(jax.grad(total, argnums=(0, 1)))(problem.params, problem.xs)
        jax.make_jaxpr(partial(jax.jvp, total))((problem.params, problem.xs), (problem.params, problem.xs))
        cell.init(jax.random.key(0), 5, 4, dtype=dtype)


@pytest.mark.parametrize("name", CELLS)
def test_derivatives_against_differences(name):
    problem = draw(name, (2,), steps=4)
    mask = HOLES[:2, :4]
    check_grads(jax.jit(partial(loss, CELLS[name][0], mask=mask)), (problem,), order=1, modes=("fwd", "rev"), rtol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_padding_is_never_read(name, reverse):
    problem = draw(name)
    junk = problem._replace(xs=jnp.where(HOLES[..., None], problem.xs, np.nan))
    cell = CELLS[name][0]
    _, ys = run(cell, junk, mask=HOLES, reverse=reverse)
    np.testing.assert_array_equal(np.asarray(ys).any(axis=-1), HOLES)
    actual = gradient(cell, junk, mask=HOLES, reverse=reverse)
    assert_equal(actual, gradient(cell, problem, mask=HOLES, reverse=reverse))
    np.testing.assert_array_equal(actual.xs[~HOLES], 0)


@pytest.mark.parametrize("name", FEW)
def test_a_row_of_length_zero_keeps_its_state_to_the_bit(name):
    problem = draw(name)
    state, _ = run(CELLS[name][0], problem, lengths=LENGTHS)
    assert_equal(jax.tree.map(lambda leaf: leaf[1], state), jax.tree.map(lambda leaf: leaf[1], problem.state))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", FEW)
def test_resets_equal_separate_sequences(name, reverse):
    # Three sequences in one row, of 2, 3 and 2 steps: outputs, and gradients of the weights.
    cell, bounds = CELLS[name][0], [0, 2, 5, 7]
    params, xs, _ = draw(name, ())
    resets = np.isin(np.arange(7), bounds)
    weights = draw_like(scan_cell(cell, params, xs)[1])

    def together(params):
        return scan_cell(cell, params, xs, resets=resets, reverse=reverse)[1]

    def apart(params):
        parts = [xs[start:end] for start, end in itertools.pairwise(bounds)]
        return jnp.concatenate([scan_cell(cell, params, part, reverse=reverse)[1] for part in parts])

    assert_close(together(params), apart(params), 1e-13)
    slopes = [jax.jit(jax.grad(lambda p, ys=ys: jnp.sum(ys(p) * weights)))(params) for ys in (together, apart)]
    assert_close(*slopes, 1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("every", [1, 3, 20])
@pytest.mark.parametrize("name", FEW)
def test_gradients_of_segments_are_those_of_the_whole(name, every, reverse):
    problem, cell = draw(name), CELLS[name][0]
    options = {"mask": HOLES, "resets": RESETS, "reverse": reverse}
    assert_close(gradient(cell, problem, **options, checkpoint_every=every), gradient(cell, problem, **options), 1e-12)


@pytest.fixture
def _in_chunks(monkeypatch):
    """Inputs projected for two steps at a time, as those of a large layer are for more."""
    for name, value in {"CHUNK_ROWS": 0, "CHUNK_STEPS": 2, "CHUNKS": 1}.items():
        monkeypatch.setattr(schedule, name, value)
    monkeypatch.setattr(scan, "WHOLE_BYTES_OF_A_LOOP", 0)
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.usefixtures("_in_chunks")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("every", [None, 5])
@pytest.mark.parametrize("name", FEW)
def test_chunks_give_what_the_whole_gives(name, every, reverse, monkeypatch):
    problem, cell = draw(name), CELLS[name][0]
    options = {"mask": HOLES, "resets": RESETS, "reverse": reverse, "checkpoint_every": every}

    def everything():
        state, ys = run(cell, problem, **options)
        return unstabilised(state), ys, gradient(cell, problem, **options)

    by_chunks = everything()
    monkeypatch.undo()
    jax.clear_caches()
    assert_close(by_chunks, everything(), 1e-12)


@pytest.mark.parametrize("name", FEW)
def test_split_equals_whole(name):
    problem, cell = draw(name), CELLS[name][0]
    state, first = run(cell, problem._replace(xs=problem.xs[:, :3]))
    state, second = run(cell, problem._replace(xs=problem.xs[:, 3:], state=state))
    assert_close((state, jnp.concatenate([first, second], axis=1)), run(cell, problem), 1e-13)


@pytest.mark.parametrize("name", FEW)
def test_batch_equals_vmap_of_single(name):
    problem, cell = draw(name), CELLS[name][0]
    single = jax.vmap(lambda xs, state, mask: scan_cell(cell, problem.params, xs, state, mask=mask))
    assert_close(run(cell, problem, mask=HOLES), single(*problem[1:], jnp.asarray(HOLES)), 1e-13)


BY_LSTM = {
    "mask": ({"mask": HOLES, "reverse": True}, True),
    "time major": ({"mask": HOLES.T, "time_major": True, "unroll": 2}, True),
    "dropout": ({"rates": {"inputs": 0.3, "recurrent": 0.4}}, True),
    "zoneout": ({"rates": {"zoneout_h": 0.3}}, False),
    "resets": ({"resets": RESETS}, False),
    "checkpoints": ({"mask": HOLES, "checkpoint_every": 2}, False),
}


@pytest.mark.parametrize("case", BY_LSTM)
def test_the_standard_cell_runs_by_lstm_where_it_can(case, monkeypatch):
    (options, by_lstm), problem, calls = BY_LSTM[case], draw("lstm"), []
    if "rates" in options:
        noise = draw_noise(jax.random.key(0), cells.LSTM, problem.params, (3,), 7, **options["rates"])
        options = {"lengths": LENGTHS, "noise": noise}
    if "time_major" in options:
        problem = problem._replace(xs=jnp.swapaxes(problem.xs, 0, 1))
    stepped = scan_cell(STEPPED_LSTM, *problem, **options)
    monkeypatch.setattr(scan, "lstm", lambda *arguments, **options: calls.append(1) or lstm(*arguments, **options))
    assert_close(scan_cell(cells.LSTM, *problem, **options), stepped, 1e-13)
    assert len(calls) == by_lstm


def test_slstm_is_stable_where_exponentials_are_not():
    problem = draw("slstm")
    # Input gates of exp(1000): infinite without the stabiliser.
    huge = problem.params._replace(b=problem.params.b.at[:4].add(1000.0))
    state, ys = run(cells.SLSTM, problem._replace(params=huge, state=None))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, ys)))
    # A factor common to all input gates cancels in c / n.
    assert_close(ys, run(cells.SLSTM, problem._replace(state=None))[1], 1e-12)
    slopes = gradient(cells.SLSTM, problem._replace(params=huge, state=cells.SLSTM.zero_state(huge, (3,), np.float64)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes._replace(state=None)))


def test_inputs_are_brought_ahead_where_the_cell_says_so_and_the_platform_is_a_cpu():
    problem = draw("gru", steps=12)

    def slices(cell, platform):
        with deciding_for(platform):
            jaxpr = jax.make_jaxpr(lambda xs: scan_cell(cell, problem.params, xs))(problem.xs)
        return str(jaxpr).count("dynamic_slice")

    assert slices(cells.GRU, "cpu") > 0
    assert slices(cells.GRU._replace(ahead=False), "cpu") == slices(cells.GRU, "cuda") == 0


def test_a_cell_of_ones_own():
    # An exponential moving average, in four lines: a state without an h, a step without an h_scale.
    average = Cell(
        init=lambda key, input_size, hidden_size: (),
        project=lambda params, xs: xs,
        step=lambda params, state, z: (0.5 * state + 0.5 * z, state),
        zero_state=lambda params, batch_shape, dtype: jnp.zeros((*batch_shape, 2), dtype),
    )
    xs = jnp.ones((3, 4, 2))
    state, ys = scan_cell(average, (), xs, lengths=[4, 2, 0])
    np.testing.assert_allclose(state[:, 0], [1 - 0.5**4, 1 - 0.5**2, 0])
    np.testing.assert_allclose(ys[0, :, 0], [0, 0.5, 0.75, 0.875])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xs": np.zeros(5)}, "xs: expected shape [..., T, D] with at least 2 dimensions, got [5]"),
        ({"xs": np.zeros((3, 7, 6))}, "xs: expected 5 features (params.w_x is [5, 12]), got 6 (xs is [3, 7, 6])"),
        ({"xs": np.zeros((3, 7, 5), np.float32)}, "params.w_x: expected the dtype of xs, float32, got float64"),
        ({"unroll": 0}, "unroll: expected at least 1, got 0"),
        ({"checkpoint_every": 0}, "checkpoint_every: expected at least 1, got 0"),
        ({"state": cells.GRUState(np.zeros((3, 5)))}, "state.h: expected shape [3, 4], got [3, 5]"),
        (
            {"state": cells.GRUState(np.zeros((3, 4), np.float32))},
            "state.h: expected float64 beside float64 inputs, got float32",
        ),
        (
            {"state": LSTMState(np.zeros((3, 4)), None)},
            "state: expected GRUState, as zero_state makes it, got LSTMState",
        ),
        ({"resets": np.zeros((3, 6), bool)}, "resets: expected shape [3, 7], got [3, 6]"),
        ({"resets": np.zeros((3, 7))}, "resets: expected booleans, True where a new sequence starts, got float64"),
        ({"lengths": [7, 7, 7], "mask": HOLES}, "lengths and mask: expected at most one of them, got both"),
        ({"lengths": [7, 7, 8]}, "lengths: expected 0 to 7, the steps of xs, got 8"),
    ],
)
def test_errors(change, message):
    arguments = {"cell": cells.GRU, **draw("gru")._asdict()} | change
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        scan_cell(**arguments)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size: expected at least 1, got 0"),
        ({"heads": 3}, "heads: expected a divisor of hidden_size 4, got 3"),
        ({"heads": 0}, "heads: expected at least 1, got 0"),
    ],
)
def test_errors_of_init(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        cells.SLSTM.init(jax.random.key(0), **({"input_size": 5, "hidden_size": 4} | options))


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("gru", "lstm", "^params: expected GRUParams, as the cell's init makes them, got LSTMParams$"),
        ("lstm", "peephole", "^params: expected LSTMParams, as the cell's init makes them, got PeepholeParams$"),
        ("slstm", "lstm", r"^params\.w_h: expected shape \[heads, H / heads, 4H / heads\], got \[4, 16\]$"),
    ],
)
def test_the_parameters_of_another_cell_are_refused(name, other, message):
    with pytest.raises(ValueError, match=message):
        scan_cell(CELLS[name][0], draw(other).params, draw(name).xs)


def test_a_number_among_the_parameters_is_named():
    step = lambda params, state, z: (state, state)  # noqa: E731
    constant = Cell(init=None, project=lambda params, xs: xs, step=step, zero_state=lambda *_: jnp.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"^params\.decay: expected an array, got float$"):
        scan_cell(constant, {"decay": 0.5}, draw("gru").xs)


def test_a_cell_that_reads_nothing_at_any_step_is_named():
    step = lambda params, state, z: (state, state)  # noqa: E731
    blind = Cell(init=None, project=lambda params, xs: (), step=step, zero_state=lambda *_: jnp.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"^cell\.project: expected an array with an entry for each step, got none"):
        scan_cell(blind, (), draw("gru").xs)


@pytest.mark.parametrize("name", CELLS)
def test_an_init_wants_a_key(name):
    with pytest.raises(ValueError, match=r"^key: expected a random key such as jax\.random\.key\(0\), got int$"):
        CELLS[name][0].init(0, 5, 4)
