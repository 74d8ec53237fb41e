"""The encoder-decoder: values against the oracle, and strings of digits learnt backwards."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest
from compare import assert_close
from jax.tree_util import Partial
from problem import draw_like

from jaxlstm import losses, models
from jaxlstm.batches import generated
from jaxlstm.beam_search import beam_search
from jaxlstm.decoding import decode, previous_symbols, scheduled_sampling, teacher_forcing
from jaxlstm.training import fit

LONGEST, START, END = 5, 10, 11
SOURCE = np.array([[3, 1, 4, 0], [2, 0, 0, 0], [0, 0, 0, 0]])
LENGTHS = np.array([4, 1, 0])
TARGET = np.array([[4, 1, 3], [2, 5, 5], [5, 5, 5]])


def draw_params():
    """Weights of standard deviation 0.7, where each symbol matters."""
    fresh = models.init_seq2seq(jax.random.key(0), 5, 6, embedding_size=3, hidden_size=4)
    return draw_like(fresh, seed=0, scale=0.7)


def test_values_and_the_handover_of_the_state():
    params = draw_params()
    embedded, targets = (np.asarray(table) for table in (params.source_embedding, params.target_embedding))
    state, _ = oracle.lstm(params.encoder, embedded[SOURCE], lengths=LENGTHS)
    _, ys = oracle.lstm(params.decoder.lstm, targets[TARGET], state)
    expected = ys @ np.asarray(params.decoder.head.w) + np.asarray(params.decoder.head.b)

    encoded = models.encode_source(params, SOURCE, lengths=LENGTHS)
    assert_close((encoded.h, encoded.c), state, 2e-6)
    assert_close(models.target_logits(params, encoded, TARGET), expected, 2e-6)
    stepwise = teacher_forcing(Partial(models.next_target, params), encoded, TARGET)[1]
    assert_close(stepwise, expected, 2e-6)


def test_the_padding_of_a_source_changes_nothing():
    params = draw_params()
    by_lengths = models.encode_source(params, SOURCE, lengths=LENGTHS)
    padded = np.where(np.arange(4) < LENGTHS[:, None], SOURCE, 4)
    assert_close(models.encode_source(params, padded, lengths=LENGTHS), by_lengths, 0)
    left = np.array([[3, 1, 4, 0], [4, 4, 4, 2], [4, 4, 4, 4]])
    is_valid = np.arange(4) >= 4 - LENGTHS[:, None]
    assert_close(models.encode_source(params, left, mask=is_valid), by_lengths, 0)


def draw_strings(key, size):
    """Strings of 1 to LONGEST digits, and the same backwards with the end symbol."""
    key_digits, key_lengths = jax.random.split(key)
    source = jax.random.randint(key_digits, (size, LONGEST), 0, 10)
    lengths = jax.random.randint(key_lengths, (size,), 1, LONGEST + 1)
    steps = jnp.arange(LONGEST + 1)
    backwards = jnp.take_along_axis(source, jnp.maximum(lengths[:, None] - 1 - steps, 0), axis=1)
    return source, lengths, jnp.where(steps < lengths[:, None], backwards, END)


def forced(params, state, inputs, key):
    return models.target_logits(params, state, inputs)


def scheduled(params, state, inputs, key):
    return scheduled_sampling(Partial(models.next_target, params), state, inputs, 0.25, key)[1]


@pytest.mark.parametrize("logits_of", [forced, scheduled])
def test_it_learns_to_reverse_digits(logits_of):
    def loss(params, batch, key):
        source, lengths, target = batch
        state = models.encode_source(params, source, lengths=lengths)
        logits = logits_of(params, state, previous_symbols(target, START), key)
        return losses.cross_entropy(logits, target, jnp.arange(LONGEST + 1) <= lengths[:, None]), {}

    fitted = fit(
        loss,
        models.init_seq2seq(jax.random.key(0), 10, 12, embedding_size=16, hidden_size=64),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(0.02, 800))),
        generated(partial(draw_strings, size=64), steps=800),
        epochs=1,
        key=jax.random.key(1),
    )
    source, lengths, target = draw_strings(jax.random.key(2), 2000)
    state = models.encode_source(fitted.params, source, lengths=lengths)
    options = {"start": START, "end": END, "max_length": LONGEST + 1}
    _, decoded = decode(Partial(models.next_target, fitted.params), state, **options)
    assert np.mean((decoded.symbols == target).all(axis=1)) >= 0.99
    assert np.mean(decoded.lengths == lengths) >= 0.99
    beams = beam_search(Partial(models.next_target, fitted.params), state, **options, beam_size=3)
    assert np.mean((beams.symbols[:, 0] == target).all(axis=1)) >= 0.99
