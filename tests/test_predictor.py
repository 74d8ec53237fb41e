"""Serving a model: ragged sequences in one call, a program for each bucket, and calls from several threads."""

import threading

import jax
import numpy as np
import pytest

from jaxlstm import init_lstm, lstm
from jaxlstm.deploy.model import Input, Model
from jaxlstm.deploy.predictor import Predictor


def counted(with_lengths=False):
    """A model that notes each time it is traced."""
    traces = []

    def apply(params, xs, lengths=None):
        traces.append(xs.shape)
        return lstm(params, xs, lengths=lengths)[0].h

    inputs = {"xs": Input(("batch", "time", 2), np.float32)}
    if with_lengths:
        inputs["lengths"] = Input(("batch",), np.int32)
    return Model(apply, init_lstm(jax.random.key(0), 2, 3), inputs, ("h",)), traces


def sequences_of(*lengths):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((length, 2)).astype(np.float32) for length in lengths]


def test_ragged_sequences_in_one_call():
    model, _ = counted(with_lengths=True)
    sequences = sequences_of(3, 0, 11)
    got = Predictor(model)(sequences)
    for row, sequence in zip(got, sequences, strict=True):
        np.testing.assert_allclose(row, lstm(model.params, sequence)[0].h, rtol=0, atol=1e-6)


def test_each_bucket_is_compiled_once():
    model, traces = counted(with_lengths=True)
    predict = Predictor(model)
    for lengths in ((1,), (8,), (2, 5), (9,), (3,), (16, 16), (1, 7)):
        predict(sequences_of(*lengths))
    assert sorted(shape[:2] for shape in traces) == [(1, 8), (1, 16), (2, 8), (2, 16)] == predict.compiled


def test_threads_that_come_together_compile_once(monkeypatch):
    model, _ = counted(with_lengths=True)
    compiled, jit = [], jax.jit
    predict, sequences = Predictor(model), sequences_of(5, 7)
    expected = lstm(model.params, sequences[1])[0].h
    start, results = threading.Barrier(8), {}

    def ask(number):
        start.wait()
        for _ in range(5):
            results[number] = predict(sequences[1:] if number % 2 else sequences)

    # A trace is kept by JAX, so that a second compilation would not trace again; this counts them all.
    monkeypatch.setattr(jax, "jit", lambda function: compiled.append(function) or jit(function))
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert predict.compiled == [(1, 8), (2, 8)]
    assert len(compiled) == 2
    assert results.keys() == set(range(8))
    for result in results.values():
        np.testing.assert_allclose(result[-1], expected, rtol=0, atol=1e-6)


def test_nothing_is_padded_where_padding_would_be_read():
    model, _ = counted()
    ask = Predictor(model, [3, 5], pads=False)
    for length in (3, 5):
        sequences = sequences_of(length, length)
        np.testing.assert_allclose(ask(sequences), [lstm(model.params, xs)[0].h for xs in sequences], rtol=0, atol=1e-6)
    for lengths, number, steps, got in (((2,), 0, 3, 2), ((3, 4), 0, 5, 3), ((5, 3), 1, 5, 3)):
        expected = rf"^sequences\[{number}\]: expected {steps} steps, as it is not padded, got {got}$"
        with pytest.raises(ValueError, match=expected):
            ask(sequences_of(*lengths))


def test_predictor_errors():
    model, _ = counted()
    predict = Predictor(model, [4, 2])
    for sequences, message in (
        (sequences_of(5), "sequences: expected at most 4 steps, got 5"),
        ([np.zeros((2, 3), np.float32)], r"sequences\[0\]: expected shape \[time, 2\], got \[2, 3\]"),
        ([np.zeros((2, 2), np.float32), np.float32(1)], r"sequences\[1\]: expected shape \[time, 2\], got \[\]"),
        ([np.zeros((2, 2), np.complex64)], r"sequences\[0\]: expected float32, got complex64"),
    ):
        with pytest.raises(ValueError, match="^" + message):
            predict(sequences)
    with pytest.raises(ValueError, match=r"^model\.inputs: expected \[batch, time, \.\.\.\] and perhaps lengths, got"):
        Predictor(model._replace(inputs={"xs": Input(("time", "batch", 2), np.float32)}))
