"""Stacks and two directions, against oracles of one direction put together by hand."""

import cell_oracles
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import LENGTHS
from cell_cases import CELLS, OPTIONS, draw
from compare import assert_close, assert_equal

from jaxlstm import cells
from jaxlstm.noise import Noise
from jaxlstm.stack import BidirectionalParams, BidirectionalState, bidirectional, init_stack, stack

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

MERGES = {
    "concat": lambda a, b: np.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: (a + b) / 2,
    "product": lambda a, b: a * b,
}
KEY = jax.random.key(0)


def zeros(name, params, batch=3):
    state = CELLS[name][0].zero_state(params, (batch,), np.float64)._asdict()
    state.pop("m", None)  # the oracle of sLSTM has none
    return state


def one(name, params, xs, **options):
    """The outputs of the oracle from a state of zeros."""
    return cell_oracles.scan(CELLS[name][1], params, xs, zeros(name, params), **options)[1]


@pytest.mark.parametrize("name", CELLS)
def test_a_ragged_stack_of_two_directions(name):
    cell, size = CELLS[name][0], 2 * OPTIONS.get(name, {}).get("projection_size", 4)  # of outputs, so of inputs too:
    xs = draw(name, input_size=size).xs  # both layers are one program
    layers = init_stack(KEY, cell, size, [4, 4], bidirectional=True, dtype=np.float64, **OPTIONS.get(name, {}))
    states, ys = stack(cell, layers, xs, lengths=LENGTHS)
    want = xs
    for params in layers:
        forward = one(name, params.forward, want, lengths=LENGTHS)
        want = np.concatenate([forward, one(name, params.backward, want, lengths=LENGTHS, reverse=True)], axis=-1)
    assert_close(ys, want, 1e-12)
    assert [type(state) for state in states] == [BidirectionalState] * 2
    # The last step that each direction walked is the last valid one and the first; row 1 has none.
    half = states[1].forward.h.shape[-1]
    assert_close(states[1].forward.h, np.stack([want[0, 3, :half], 0 * want[1, 0, :half], want[2, 6, :half]]), 1e-12)
    assert_close(states[1].backward.h, want[:, 0, half:], 1e-12)


@pytest.mark.parametrize("merge", MERGES)
def test_merges(merge):
    xs = draw("gru").xs
    layers = init_stack(KEY, cells.GRU, 5, [4, 4], bidirectional=True, merge=merge, dtype=np.float64)
    want = xs
    for params in layers:
        want = MERGES[merge](one("gru", params.forward, want), one("gru", params.backward, want, reverse=True))
    assert_close(stack(cells.GRU, layers, xs, merge=merge)[1], want, 1e-12)


def test_outputs_that_are_not_merged():
    pair, xs = BidirectionalParams(draw("gru").params, draw("gru", seed=1).params), draw("gru").xs
    _, (forward, backward) = bidirectional(cells.GRU, pair, xs, merge=None)
    assert_close((forward, backward), (one("gru", pair[0], xs), one("gru", pair[1], xs, reverse=True)), 1e-12)


def test_a_stack_in_chunks_equals_one_pass():
    xs = draw("lstm").xs
    layers = init_stack(KEY, cells.LSTM, 5, [4, 3], dtype=np.float64)
    state, first = stack(cells.LSTM, layers, xs[:, :2])
    state, second = stack(cells.LSTM, layers, xs[:, 2:], state)
    assert_close((state, jnp.concatenate([first, second], axis=1)), stack(cells.LSTM, layers, xs), 1e-13)


def test_dropout_is_between_layers():
    xs = draw("gru").xs
    one_layer = init_stack(KEY, cells.GRU, 5, [64], dtype=np.float64)
    assert_equal(stack(cells.GRU, one_layer, xs, dropout=0.5, key=KEY), stack(cells.GRU, one_layer, xs))
    # A second layer whose candidate is its input: what was dropped there is tanh(0) = 0, else it is doubled.
    size = 64
    w_x = jnp.concatenate([jnp.zeros((size, 2 * size)), jnp.eye(size)], axis=1)
    b = jnp.concatenate([jnp.zeros(size), jnp.full(size, -1e3), jnp.zeros(size)])  # the update gate is shut
    copy = cells.GRUParams(w_x, jnp.zeros((size, 3 * size)), b, jnp.zeros(size))
    _, below = stack(cells.GRU, one_layer, xs)
    _, ys = stack(cells.GRU, (*one_layer, copy), xs, dropout=0.5, key=KEY)
    dropped = np.asarray(ys) == 0
    assert 0.4 < dropped.mean() < 0.6
    assert not (dropped == dropped[:, :1]).all()  # each step by itself
    assert_close(ys, np.where(dropped, 0, np.tanh(2 * below)), 1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": (None,)}, "state: expected one for each of 2 layers, got 1"),
        ({"noise": ()}, "noise: expected one for each of 2 layers, got 0"),
        ({"dropout": 0.5}, "key: expected one for dropout, got None"),
        ({"dropout": 1.5, "key": KEY}, "dropout: expected 0 or more and less than 1, got 1.5"),
        ({"merge": "max"}, "merge: expected one of 'concat', 'sum', 'mean', 'product', None, got 'max'"),
        ({"merge": None}, "merge: expected one that makes one array for the next layer, got None"),
    ],
)
def test_errors(change, message):
    layers = init_stack(KEY, cells.GRU, 5, [4, 4], dtype=np.float64)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        stack(cells.GRU, layers, draw("gru").xs, **change)
    assert str(raised.value) == message


def test_two_directions_have_no_reverse():
    pair = BidirectionalParams(draw("gru").params, draw("gru", seed=1).params)
    with pytest.raises(ValueError, match=r"^reverse: expected none, both directions are walked, got True$"):
        bidirectional(cells.GRU, pair, draw("gru").xs, reverse=True)


def test_hidden_sizes_are_a_sequence():
    with pytest.raises(ValueError, match=r"^hidden_sizes: expected a sequence, one for each layer, got 16$"):
        init_stack(KEY, cells.GRU, 5, 16)


def test_a_stack_needs_a_layer():
    with pytest.raises(ValueError, match=r"^hidden_sizes: expected at least one, got none$"):
        init_stack(KEY, cells.GRU, 5, [])


def test_what_is_no_stack_is_named():
    params, xs = draw("gru").params, draw("gru").xs
    with pytest.raises(ValueError, match=r"^params: expected a tuple of layers, .*, got GRUParams$"):
        stack(cells.GRU, params, xs)
    with pytest.raises(ValueError, match=r"^state: expected one for each of 1 layers, got GRUState$"):
        stack(cells.GRU, (params,), xs, draw("gru").state)
    with pytest.raises(ValueError, match=r"^params: expected at least one layer, got none$"):
        stack(cells.GRU, (), xs)
    with pytest.raises(ValueError, match=r"^noise: expected one for each of 2 directions, got Noise$"):
        bidirectional(cells.GRU, BidirectionalParams(params, params), xs, noise=Noise())
    with pytest.raises(ValueError, match=r"^params: expected BidirectionalParams, got GRUParams$"):
        bidirectional(cells.GRU, params, xs)
    with pytest.raises(ValueError, match=r"^state: expected BidirectionalState, got GRUState$"):
        bidirectional(cells.GRU, BidirectionalParams(params, params), xs, draw("gru").state)
