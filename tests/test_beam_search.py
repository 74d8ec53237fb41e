"""Beam search in float64 against every sequence there is, and against a plain search in Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from writer import Writer, draw_writer

from jaxlstm.beam_search import beam_search
from jaxlstm.decoding import decode

pytestmark = pytest.mark.usefixtures("float64", "strict_ranks")

V, END, L = 3, 2, 4
ALPHAS = [0.0, 0.6, 2.0]
SEEDS = [0, 1, 2]


def penalty(symbols, alpha):
    return ((5 + len(symbols)) / 6) ** alpha


def every_sequence(writer: Writer, row: int, length: int) -> dict[tuple[int, ...], float]:
    """log P of each sequence that ends with END, or has `length` symbols without it."""
    found = {}

    def go_on(state, last, symbols, total):
        state, log_p = writer.numpy_step(state, last)
        for symbol in range(len(log_p)):
            sequence, sum_ = (*symbols, symbol), total + log_p[symbol]
            if symbol == END or len(sequence) == length:
                found[sequence] = sum_
            else:
                go_on(state, symbol, sequence, sum_)

    go_on(writer.numpy_state(row), row, (), 0.0)
    return found


def rows_of(beams, row):
    """The beams of a row as (symbols up to END, log P, score), checked for what fills them up."""
    for symbols, length, log_p, score in zip(*(np.asarray(leaf[row]) for leaf in beams), strict=True):
        assert (symbols[length:] == END).all()
        assert END not in symbols[:length]
        yield tuple(symbols[: length + 1].tolist()), float(log_p), float(score)


def search(writer, **options):
    return beam_search(writer.step, writer.state, **{"start": np.arange(V), "end": END, "max_length": L, **options})


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("seed", SEEDS)
def test_beams_wide_enough_find_the_best_of_all_sequences(seed, alpha):
    # At most 2 ** 4 hypotheses are open at once, so that 16 beams lose none.
    writer = draw_writer(V, seed, scale=1.0)
    beams = search(writer, beam_size=16, alpha=alpha)
    for row in range(V):
        log_p = every_sequence(writer, row, L)
        assert np.exp(list(log_p.values())).sum() == pytest.approx(1, abs=1e-12)
        best = sorted(log_p, key=lambda symbols: -log_p[symbols] / penalty(symbols, alpha))[:16]
        for (symbols, total, score), expected in zip(rows_of(beams, row), best, strict=True):
            assert symbols == expected
            assert total == pytest.approx(log_p[expected], rel=1e-11)
            assert score == pytest.approx(log_p[expected] / penalty(expected, alpha), rel=1e-11)


def search_by_hand(writer, row, beam_size, alpha, length):
    """The same search with lists, which goes on to the last step whatever it has found."""
    open_, finished = [((), 0.0, writer.numpy_state(row))], []
    for step in range(length):
        grown = []
        for symbols, total, state in open_:
            after, log_p = writer.numpy_step(state, symbols[-1] if symbols else row)
            grown += [((*symbols, symbol), total + log_p[symbol], after) for symbol in range(len(log_p))]
        grown = sorted(grown, key=lambda hypothesis: -hypothesis[1])[: 2 * beam_size]
        open_ = [hypothesis for hypothesis in grown if hypothesis[0][-1] != END][:beam_size]
        finished += [hypothesis for hypothesis in grown if hypothesis[0][-1] == END]
        finished += open_ if step == length - 1 else []
    finished = [(symbols, total, total / penalty(symbols, alpha)) for symbols, total, _ in finished]
    return sorted(finished, key=lambda hypothesis: -hypothesis[2])[:beam_size]


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("beam_size", [1, 3])
def test_narrow_beams_are_those_of_a_plain_search(beam_size, alpha):
    vocabulary, length = 5, 9
    for seed in range(8):
        writer = draw_writer(vocabulary, seed)
        start = np.arange(vocabulary)
        beams = search(writer, start=start, beam_size=beam_size, alpha=alpha, max_length=length)
        for row in range(vocabulary):
            expected = search_by_hand(writer, row, beam_size, alpha, length)
            found = list(rows_of(beams, row))
            assert [symbols for symbols, _, _ in found] == [symbols for symbols, _, _ in expected]
            np.testing.assert_allclose([f[1:] for f in found], [e[1:] for e in expected], rtol=1e-10)


def test_one_beam_is_no_worse_than_greedy():
    better = 0
    for seed in range(20):
        writer = draw_writer(5, seed)
        options = {"start": np.arange(5), "end": END, "max_length": 9}
        greedy = decode(writer.step, writer.state, **options)[1]
        beams = beam_search(writer.step, writer.state, **options, beam_size=1, alpha=0.0)
        assert (beams.log_p[:, 0] >= greedy.log_p - 1e-12).all()
        better += int((beams.log_p[:, 0] > greedy.log_p + 1e-6).sum())
    assert better > 0


def chain(*rows):
    """A step function that knows the last symbol alone, from its table of probabilities."""
    table = jnp.log(jnp.array(rows))
    return lambda state, symbols: (state, table[symbols])


def test_the_penalty_decides_between_short_and_long():
    # The end at once has probability 0.45; symbol 1 and then the end has 0.55 * 0.7 = 0.385.
    step = chain([0.0, 0.55, 0.45], [0.3, 0.0, 0.7], [1.0, 0.0, 0.0])

    def best(alpha):
        beams = beam_search(step, jnp.zeros((1, 0)), start=0, end=2, max_length=5, beam_size=2, alpha=alpha)
        return beams.symbols[0, 0, : beams.lengths[0, 0]].tolist()

    assert best(0.0) == []
    assert best(2.0) == [1]


def test_the_search_goes_on_while_a_longer_sequence_could_win():
    # The longer the better: a steep penalty outweighs the fall of the probability by 0.9 a step.
    step = chain([0.0, 0.55, 0.45], [0.0, 0.9, 0.1], [1.0, 0.0, 0.0])
    beams = beam_search(step, jnp.zeros((1, 0)), start=0, end=2, max_length=8, beam_size=1, alpha=6.0)
    assert beams.symbols[0, 0].tolist() == [1] * 8


def test_the_search_stops_when_nothing_better_can_come():
    steps = []

    def step(state, symbols):
        jax.debug.callback(lambda t: steps.append(int(t)), state[0])
        return state + 1, jnp.log(jnp.broadcast_to(jnp.array([0.05, 0.05, 0.9]), (len(symbols), 3)))

    beams = beam_search(step, jnp.zeros(1, jnp.int32), start=0, end=2, max_length=1000, beam_size=2, alpha=0.0)
    jax.effects_barrier()
    assert beams.lengths.tolist() == [[0, 1]]
    assert sorted(steps) == [0, 1]


def test_where_fewer_sequences_exist_the_rest_scores_nothing():
    writer = draw_writer(V, 0)
    beams = search(writer, max_length=1, beam_size=5)
    assert np.isfinite(beams.scores).sum(axis=1).tolist() == [3, 3, 3]
    assert np.isfinite(beams.scores[:, :3]).all()


def test_no_rows_have_no_beams():
    step = chain([0.0, 0.55, 0.45], [0.3, 0.0, 0.7], [1.0, 0.0, 0.0])
    beams = beam_search(step, jnp.zeros((0, 2)), start=0, end=2, max_length=5, beam_size=3)
    assert [leaf.shape for leaf in beams] == [(0, 3, 5), (0, 3), (0, 3), (0, 3)]


def test_bad_arguments_are_named():
    writer = draw_writer(V, 0)
    for options, message in (
        ({"beam_size": 0}, "beam_size: expected at least 1, got 0"),
        ({"alpha": -0.1}, "alpha: expected 0 or more, got -0.1"),
        ({"end": 3}, "end: expected 0 to 2, a symbol that has a logit, got 3"),
        ({"max_length": 0}, "max_length: expected at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            search(writer, **options)
    with pytest.raises(ValueError, match=r"step: expected logits of at least 2 symbols"):
        beam_search(lambda state, symbols: (state, state), jnp.zeros((2, 1)), start=0, end=0, max_length=2)
