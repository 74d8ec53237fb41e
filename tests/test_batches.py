"""Batches: every example once, by length with little padding, and a function over all of them."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlstm.batches import batches_by_length, batches_of, generated, in_order, map_batches

XS = np.random.default_rng(0).standard_normal((23, 3)).astype(np.float32)
YS = XS.sum(axis=1)
KEY = jax.random.key(7)


def test_an_epoch_takes_every_example_once():
    batches = batches_of(np.arange(20), 5)
    for seed in (0, 1):
        plan = batches.plan(batches.data, jax.random.key(seed))
        taken = np.concatenate([batches.take(batches.data, plan, step) for step in range(batches.steps)])
        np.testing.assert_array_equal(np.sort(taken), np.arange(20))
    assert not np.array_equal(taken, np.arange(20))


def test_generated_batches_are_all_different():
    batches = generated(lambda key: jax.random.uniform(key, (4,)), steps=3)
    drawn = [
        batches.take(batches.data, batches.plan(batches.data, jax.random.key(k)), s) for k in (0, 1) for s in range(3)
    ]
    assert len(np.unique(np.stack(drawn))) == 24


@pytest.mark.parametrize("batch_size", [0, 24])
def test_batch_sizes_out_of_range(batch_size):
    with pytest.raises(ValueError, match=f"batch_size: expected 1 to 23, the number of examples, got {batch_size}"):
        batches_of((XS, YS), batch_size)


LENGTHS = np.random.default_rng(3).integers(1, 9, 47)


def by_length(**settings):
    """Rows that hold their own number once for each step."""
    rows = np.where(np.arange(8) < LENGTHS[:, None], np.arange(1, 48)[:, None], 0)
    arguments = {"batch_size": 5, "widths": (2, 5, 8), "cut": lambda batch, width: batch[:, :width], "pool": 4}
    return batches_by_length(rows, LENGTHS, **(arguments | settings))


def test_batches_by_length_want_a_length_for_each_example():
    with pytest.raises(ValueError, match=r"expected one length for every leading axis, got \[46, 47\]"):
        batches_by_length(np.zeros((46, 8)), LENGTHS, 5, (8,), lambda batch, width: batch)


def test_batches_by_length_lose_no_step_and_take_every_example_once():
    batches = by_length()
    first, second = (list(batches.epoch(jax.random.key(seed))) for seed in (0, 1))
    assert batches.steps == len(first) == 9
    taken = np.concatenate([batch[:, 0] for batch in first])
    assert len(set(taken)) == 45
    for batch in first:
        np.testing.assert_array_equal((batch > 0).sum(1), LENGTHS[batch[:, 0] - 1])
        longest = LENGTHS[batch[:, 0] - 1].max()
        assert batch.shape == (5, min(width for width in (2, 5, 8) if width >= longest))
    assert not np.array_equal(taken, np.concatenate([batch[:, 0] for batch in second]))


def test_batches_by_length_waste_less_than_batches_of_any():
    def steps(batches):
        return sum(batch.shape[1] for batch in batches.epoch(KEY))

    assert steps(by_length(pool=9)) < 0.85 * steps(by_length(pool=1))


def test_batches_by_length_come_in_no_order_of_length():
    widths = [batch.shape[1] for batch in by_length(pool=9).epoch(KEY)]
    assert widths != sorted(widths)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 48}, r"batch_size: expected 1 to 47, the number of examples, got 48"),
        ({"widths": (2, 7)}, r"widths: expected ascending numbers up to 8 or more, got \[2, 7\]"),
        ({"widths": (5, 2, 8)}, r"widths: expected ascending numbers up to 8 or more, got \[5, 2, 8\]"),
    ],
)
def test_batches_by_length_name_what_is_wrong(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        by_length(**settings)


def test_arrays_of_different_lengths():
    for make in (in_order, partial(batches_of, batch_size=5)):
        with pytest.raises(ValueError, match=r"expected one length for every leading axis, got \[22, 23\]"):
            make((XS, YS[1:]))


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_map_batches_is_the_function_on_the_whole(batch_size):
    np.testing.assert_allclose(
        map_batches(lambda scale, xs: scale * xs.sum(axis=1), 2.0, XS, batch_size), 2 * XS.sum(axis=1), rtol=1e-6
    )


def test_map_batches_over_nothing_has_the_shapes_of_no_rows():
    outputs = map_batches(lambda scale, xs: {"sums": scale * xs[0].sum(axis=1), "xs": xs}, 2.0, (XS[:0], YS[:0]), 5)
    assert jax.tree.map(lambda leaf: leaf.shape, outputs) == {"sums": (0,), "xs": ((0, 3), (0,))}


def test_map_batches_names_a_batch_size_out_of_range():
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        map_batches(lambda scale, xs: xs, 2.0, XS, 0)


def test_map_batches_compiles_once_for_all_parameters():
    @chex.assert_max_traces(n=1)
    def function(scale, xs):
        return scale * xs

    for scale in (1.0, 2.0):
        np.testing.assert_array_equal(map_batches(function, jnp.asarray(scale), XS, 5), np.float32(scale) * XS)
