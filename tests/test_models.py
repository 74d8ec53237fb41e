"""The models: sizes of the originals, values against the cell, probabilities that sum to one."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from cases import LEFT_PADDED
from compare import assert_close

from jaxlstm import lstm, models
from jaxlstm.layers import DenseParams, dense, dropout_scale
from jaxlstm.runs import count_parameters

KEY = jax.random.key(0)


def uniform(*shape):
    return jax.random.uniform(jax.random.key(1), shape, minval=-1.0)


def test_sizes_are_those_of_the_originals():
    echo = models.init_classifier(KEY, 100, 25, 100)
    assert (count_parameters(echo.lstm), count_parameters(echo.head)) == (12_600, 2_600)
    sentiment = models.init_classifier(KEY, 128, 128, 1, vocabulary_size=2000)
    assert count_parameters(sentiment) == 2000 * 128 + 131_584 + 129
    assert count_parameters(models.init_language_model(KEY, 44, 128)) == 88_576 + 5_676
    autoencoder = models.init_autoencoder(KEY, 1, 100)
    assert [count_parameters(part) for part in autoencoder] == [40_800, 80_400 + 101]


def test_a_classifier_reads_the_last_valid_hidden_state():
    params = models.init_classifier(KEY, 3, 4, 2)
    xs, lengths = uniform(2, 5, 3), np.array([5, 2])
    for row in range(2):
        state, _ = oracle_state(params.lstm, xs[row : row + 1, : lengths[row]])
        expected = state @ np.asarray(params.head.w) + np.asarray(params.head.b)
        assert_close(models.classify(params, xs, lengths=lengths)[row], expected[0], 2e-6)


def oracle_state(params, xs):
    (h, _), ys = oracle.lstm(params, xs)
    return h, ys


def test_a_tagger_labels_every_step():
    params = models.init_tagger(KEY, 3, 4, 2)
    xs = uniform(2, 5, 3)
    _, ys = oracle_state(params.lstm, xs)
    assert_close(models.tag(params, xs), ys @ np.asarray(params.head.w) + np.asarray(params.head.b), 2e-6)


def test_padding_ids_change_nothing_under_a_mask():
    params = models.init_classifier(KEY, 4, 5, 1, vocabulary_size=9)
    padded = jnp.array([[0, 0, 3, 8]])
    np.testing.assert_allclose(
        models.classify(params, padded, mask=padded != 0), models.classify(params, padded[:, 2:]), rtol=1e-6
    )


def test_dropout_needs_a_key_and_is_the_same_at_every_step():
    params = models.init_classifier(KEY, 4, 5, 1)
    xs = uniform(64, 6, 4)
    plain = models.classify(params, xs, dropout=0.5, recurrent_dropout=0.5)
    np.testing.assert_array_equal(plain, models.classify(params, xs))
    key_input, key_recurrent = jax.random.split(KEY)
    scaled = xs * dropout_scale(key_input, 0.5, (64, 1, 4))
    state, _ = lstm(params.lstm, scaled, h_scale=dropout_scale(key_recurrent, 0.5, (64, 5)))
    dropped = models.classify(params, xs, key=KEY, dropout=0.5, recurrent_dropout=0.5)
    np.testing.assert_allclose(dropped, dense(params.head, state.h), rtol=1e-5)
    assert not np.allclose(dropped, plain)


def test_dropout_of_the_last_hidden_state():
    params, xs = models.init_classifier(KEY, 4, 64, 64), uniform(8, 6, 4)
    params = params._replace(head=DenseParams(jnp.eye(64), jnp.zeros(64)))
    h, dropped = models.classify(params, xs), models.classify(params, xs, key=KEY, output_dropout=0.25)
    assert 0.15 < np.mean(dropped == 0) < 0.35
    np.testing.assert_allclose(dropped, jnp.where(dropped == 0, 0, h / 0.75), rtol=1e-6)


def pooled(ids, mask, **settings):
    """A pooled classifier whose head shows the pools: the largest outputs, their means, the means of the vectors."""
    params = models.init_pooled_classifier(KEY, 9, 4, 5, 24)._replace(head=DenseParams(jnp.eye(24), jnp.zeros(24)))
    return params, models.classify_pooled(params, ids, mask, **settings)


def test_pools_are_those_of_the_valid_steps_in_both_directions():
    ids = jax.random.randint(KEY, (3, 7), 0, 9)
    mask = np.array(LEFT_PADDED)
    params, pools = pooled(ids, mask)
    for row in range(3):
        xs = np.asarray(params.embeddings[0])[ids[row][mask[row]]][None]
        _, forward = oracle_state(params.forward, xs)
        _, backward = oracle_state(params.backward, xs[:, ::-1])
        ys = np.concatenate([forward, backward[:, ::-1]], axis=-1)[0]
        assert_close(pools[row], np.concatenate([ys.max(0), ys.mean(0), xs[0].mean(0)]), 2e-6)


def test_the_vectors_of_a_steps_symbols_stand_beside_each_other():
    ids, mask = jax.random.randint(KEY, (3, 7, 2), 0, 9), jnp.array(LEFT_PADDED)
    params = models.init_pooled_classifier(KEY, (9, 12), (4, 2), 5, 3)
    assert [embedding.shape for embedding in params.embeddings] == [(9, 4), (12, 2)]
    # One embedding of all pairs of symbols says the same.
    words, others = np.divmod(np.arange(9 * 12), 12)
    joined = jnp.concatenate([params.embeddings[0][words], params.embeddings[1][others]], axis=-1)
    together = models.classify_pooled(params._replace(embeddings=(joined,)), ids[..., 0] * 12 + ids[..., 1], mask)
    np.testing.assert_allclose(models.classify_pooled(params, ids, mask), together, rtol=1e-6)
    with pytest.raises(ValueError, match=r"^embedding_size: expected 2, one for each vocabulary, got 1$"):
        models.init_pooled_classifier(KEY, (9, 12), 4, 5, 3)


def test_pools_of_nothing_are_zeros_and_pass_no_nan():
    ids, mask = jnp.zeros((1, 3), int), jnp.zeros((1, 3), bool)
    params, pools = pooled(ids, mask)
    np.testing.assert_array_equal(pools, np.zeros((1, 24)))
    grads = jax.grad(lambda params: models.classify_pooled(params, ids, mask).sum())(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_dropout_of_a_pooled_classifier():
    ids = jax.random.randint(KEY, (64, 7), 0, 9)
    mask = jnp.ones(ids.shape, bool)
    _, pools = pooled(ids, mask)
    rates = {"dropout": 0.3, "recurrent_dropout": 0.3, "output_dropout": 0.3}
    np.testing.assert_array_equal(pooled(ids, mask, **rates)[1], pools)
    for name, rate in rates.items():
        dropped = pooled(ids, mask, key=KEY, **{name: rate})[1]
        assert not np.allclose(dropped, pools)
        assert (0.2 < np.mean(dropped == 0) < 0.4) == (name == "output_dropout")


def test_prefixes_are_classified_as_if_they_were_all_there_is():
    params = models.init_classifier(KEY, 4, 5, 3, vocabulary_size=7)
    ids = jax.random.randint(KEY, (6, 5), 0, 7)
    logits = models.classify_prefixes(params, ids)
    for length in (1, 3, 5):
        np.testing.assert_allclose(
            logits[:, length - 1], models.classify(params, ids[:, :length]), rtol=1e-5, atol=1e-6
        )
    dropout = {"key": KEY, "dropout": 0.5, "recurrent_dropout": 0.5}
    dropped = models.classify_prefixes(params, ids, **dropout)
    np.testing.assert_allclose(dropped[:, -1], models.classify(params, ids, **dropout), rtol=1e-5, atol=1e-6)
    assert not np.allclose(dropped, logits)


def test_the_probabilities_of_all_strings_sum_to_one():
    params = models.init_language_model(KEY, 4, 5)
    strings = jnp.array(list(itertools.product(range(4), repeat=3)))
    log_p = models.log_probabilities(params, strings, 0)
    assert log_p.shape == (64, 3)
    assert float(jnp.exp(log_p.sum(axis=1)).sum()) == pytest.approx(1, abs=1e-5)


def test_dropout_of_log_probabilities_is_that_of_reading():
    params = models.init_language_model(KEY, 6, 5)
    symbols = jax.random.randint(KEY, (3, 4), 1, 6)
    dropout = {"key": KEY, "dropout": 0.5, "recurrent_dropout": 0.5}
    log_p = models.log_probabilities(params, symbols, 0, **dropout)
    inputs = jnp.concatenate([jnp.zeros((3, 1), int), symbols[:, :-1]], axis=1)
    expected = jax.nn.log_softmax(models.read_symbols(params, None, inputs, **dropout)[1])
    np.testing.assert_allclose(log_p, jnp.take_along_axis(expected, symbols[..., None], -1)[..., 0], rtol=1e-6)
    assert not np.allclose(log_p, models.log_probabilities(params, symbols, 0))


def test_a_characters_probability_depends_on_those_before_it_alone():
    params = models.init_language_model(KEY, 6, 5)
    one = models.log_probabilities(params, jnp.array([1, 2, 3, 4]), 0)
    other = models.log_probabilities(params, jnp.array([1, 2, 3, 5]), 0)
    np.testing.assert_allclose(one[:3], other[:3], rtol=1e-6)
    logits = models.next_symbol_logits(params, jnp.array([0, 1]))
    assert float(one[1]) == pytest.approx(float(jax.nn.log_softmax(logits[1])[2]), rel=1e-5)


@pytest.mark.parametrize("cuts", [[3], [1, 4], [0, 6]])
def test_a_text_read_in_parts_is_the_text_read_at_once(cuts):
    params = models.init_language_model(KEY, 6, 5)
    symbols = jax.random.randint(KEY, (2, 6), 0, 6)
    state, logits = models.read_symbols(params, None, symbols)
    part_state, parts = None, []
    for part in jnp.split(symbols, cuts, axis=1):
        part_state, part_logits = models.read_symbols(params, part_state, part)
        parts.append(part_logits)
    assert_close(jnp.concatenate(parts, axis=1), logits, 1e-6)
    assert_close(part_state, state, 1e-6)
    np.testing.assert_array_equal(logits, models.next_symbol_logits(params, symbols))


def test_dropout_of_what_the_head_reads_and_of_the_recurrence():
    params = models.init_language_model(KEY, 6, 5)
    symbols = jax.random.randint(KEY, (2, 6), 0, 6)
    key_output, key_recurrent = jax.random.split(KEY)
    h_scale = dropout_scale(key_recurrent, 0.4, (2, 5))
    state, ys = lstm(params.lstm, jax.nn.one_hot(symbols, 6), h_scale=h_scale)
    read_state, logits = models.read_symbols(params, None, symbols, key=KEY, dropout=0.5, recurrent_dropout=0.4)
    np.testing.assert_allclose(logits, dense(params.head, ys * dropout_scale(key_output, 0.5, ys.shape)), rtol=1e-5)
    assert_close(read_state, state, 1e-6)
    plain = models.read_symbols(params, None, symbols, dropout=0.5, recurrent_dropout=0.4)[1]
    np.testing.assert_array_equal(plain, models.next_symbol_logits(params, symbols))


def test_ids_and_mask_of_other_shapes_are_named():
    params = models.init_pooled_classifier(KEY, 9, 4, 4, 2)
    with pytest.raises(ValueError, match=r"^mask: expected shape \[4, 5\], got \[5, 4\]$"):
        models.classify_pooled(params, jnp.zeros((4, 5), jnp.int32), jnp.ones((5, 4), bool))
    with pytest.raises(ValueError, match=r"^ids: expected shape \[4, 5, 1\], got \[4, 5, 2\]$"):
        models.classify_pooled(params, jnp.zeros((4, 5, 2), jnp.int32), jnp.ones((4, 5), bool))


def test_a_rate_of_zero_draws_nothing():
    language_model = models.init_language_model(KEY, 5, 4)
    pooled = models.init_pooled_classifier(KEY, 9, 4, 4, 2)
    symbols, mask = jnp.zeros((2, 3), jnp.int32), jnp.ones((2, 3), bool)
    for run in (
        lambda **rates: models.read_symbols(language_model, None, symbols, key=KEY, **rates),
        lambda **rates: models.classify_pooled(pooled, symbols, mask, key=KEY, **rates),
    ):
        drawn = [str(jax.make_jaxpr(partial(run, **rates))()).count("random_bits") for rates in ({}, {"dropout": 0.5})]
        assert drawn == [0, 1]


def test_autoencoder_heads_decode_the_encoders_code():
    params = models.init_composite(KEY, 2, 6)
    xs = uniform(3, 5, 2)
    code, _ = oracle.lstm(params.encoder, xs, activation=oracle.relu)
    assert_close(models.encode(params.encoder, xs, activation=jax.nn.relu), code[0], 2e-6)
    rebuilt, predicted = models.reconstruct_and_predict(params, xs, activation=jax.nn.relu)
    assert (rebuilt.shape, predicted.shape) == ((3, 5, 2), (3, 4, 2))
    for decoder, steps, outputs in ((params.reconstruction, 5, rebuilt), (params.prediction, 4, predicted)):
        repeated = np.repeat(np.asarray(code[0])[:, None], steps, axis=1)
        _, ys = oracle.lstm(decoder.lstm, repeated, activation=oracle.relu)
        assert_close(outputs, ys @ np.asarray(decoder.head.w) + np.asarray(decoder.head.b), 3e-6)
    alone = models.AutoencoderParams(params.encoder, params.reconstruction)
    np.testing.assert_allclose(models.reconstruct(alone, xs, activation=jax.nn.relu), rebuilt, rtol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_conditional_decoder_reads_its_last_output(reverse):
    params = models.init_composite(KEY, 2, 6, conditional=True)
    xs = uniform(3, 5, 2)
    code, _ = oracle.lstm(params.encoder, xs)
    results = models.reconstruct_and_predict(params, xs, reverse=reverse)
    for decoder, steps, outputs in zip((params.reconstruction, params.prediction), (5, 4), results, strict=True):
        w, b = (np.asarray(leaf) for leaf in decoder.head)
        for row in range(3):
            h, c, output, expected = np.zeros(6), np.zeros(6), np.zeros(2), []
            for _ in range(steps):
                h, c = oracle.lstm_step(map(np.asarray, decoder.lstm), h, c, np.append(code[0][row], output))
                output = h @ w + b
                expected.append(output)
            if reverse and steps == 5:  # the prediction goes forward as ever
                expected.reverse()
            assert_close(outputs[row], np.stack(expected), 3e-6)


def test_a_reversed_decoder_writes_the_last_output_first():
    params = models.init_autoencoder(KEY, 2, 6)
    xs = uniform(3, 5, 2)
    forward, backward = (models.reconstruct(params, xs, reverse=reverse) for reverse in (False, True))
    np.testing.assert_array_equal(backward, forward[:, ::-1])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("conditional", [False, True])
def test_padding_changes_no_autoencoder(conditional, reverse):
    params = models.init_composite(KEY, 2, 6, conditional=conditional)
    xs, lengths = jax.random.normal(KEY, (3, 5, 2)), [5, 2, 4]
    padded = jnp.where(jnp.arange(5)[:, None] < jnp.array(lengths)[:, None, None], xs, jnp.nan)
    together = models.reconstruct_and_predict(params, padded, lengths=jnp.array(lengths), reverse=reverse)
    for row, length in enumerate(lengths):
        alone = models.reconstruct_and_predict(params, xs[row, :length], reverse=reverse)
        for got, want in zip(together, alone, strict=True):
            np.testing.assert_allclose(got[row, : len(want)], want, rtol=0, atol=1e-6)
