"""The models of langid, one of characters for each language: what they say of windows, and of texts of any length."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.bilingual import LANGUAGES, as_typeset
from experiments.checks import texts_in
from jaxlstm import models
from jaxlstm.batches import map_batches
from jaxlstm.data.text import START, Alphabet, windows
from jaxlstm.deploy.model import Input, Model
from jaxlstm.deploy.predictor import Predictor
from jaxlstm.runs import Run

# A text -> log P of each of its characters under each language's model, a dict of [n].
Reader = Callable[[str], dict[str, np.ndarray]]


def init(key: jax.Array, alphabet: Alphabet, config: Any) -> models.TaggerParams:
    """The parameters of one language's model."""
    return models.init_language_model(key, alphabet.size, config.hidden_size)


def shapes(alphabet: Alphabet, config: Any) -> dict[str, models.TaggerParams]:
    """The parameters of both models, without their values."""
    return dict.fromkeys(LANGUAGES, jax.eval_shape(lambda key: init(key, alphabet, config), jax.random.key(0)))


def log_p_of(params: models.TaggerParams, ids: jax.Array) -> jax.Array:
    """Characters [B, T] -> log P of each, given those before it [B, T]."""
    return models.log_probabilities(params, ids, START)


def score(log_p: Mapping[str, Any]) -> Any:
    """log P under each language's model -> the score, log P under the first one's - log P under the second one's."""
    first, second = LANGUAGES
    return log_p[first] - log_p[second]


def score_of(params: Mapping[str, models.TaggerParams], ids: np.ndarray) -> np.ndarray:
    """Windows [N, T] -> the score of each [N]."""
    return score({name: map_batches(log_p_of, params[name], ids, 1024).sum(axis=1) for name in LANGUAGES})


def windows_of(text: str, alphabet: Alphabet, size: int) -> np.ndarray:
    """All windows of a text, as integers [N, size]."""
    return windows(alphabet.encode(text), size)


def joined(windows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the first language and of the second -> those of both [N, T], and 1 for the first, 0 else [N]."""
    return np.concatenate(windows), np.repeat([1, 0], list(map(len, windows)))


def deployed(run: Run) -> dict[str, Model]:
    """The trained models: characters [B, T], a window at most -> log P [B, T] of each, given those before it."""
    params = run.load_parameters(shapes(Alphabet(run.read_json("alphabet.json")), run.config))

    def graph(graph, params: models.TaggerParams, characters: str) -> str:
        from jaxlstm.deploy import onnx

        return onnx.log_probabilities(graph, params, characters, START)

    inputs = {"characters": Input(("batch", "time"), np.int32)}
    return {name: Model(log_p_of, params[name], inputs, ("log_p",), graph) for name in LANGUAGES}


def reader(models: Mapping[str, Model], alphabet: Alphabet, window: int) -> Reader:
    """What reads texts of any length with deployed models, a character given at most the window - 1 before it.

    The models have learnt from windows; what they would say further from the start symbol means nothing.
    """
    ask = {name: Predictor(model, [window]) for name, model in models.items()}

    def read(text: str) -> dict[str, np.ndarray]:
        parts = windows_of(text, alphabet, min(window, len(text)))
        log_p = {name: predict(parts) for name, predict in ask.items()}
        return {name: np.concatenate([values[0, : len(text)], values[1:, -1]]) for name, values in log_p.items()}

    return read


def predictor(run: Run) -> Callable[[Sequence[str]], dict[str, np.ndarray]]:
    """N texts -> log P of each under each language's model, a dict of [N]."""
    alphabet = Alphabet(run.read_json("alphabet.json"))
    read = reader(deployed(run), alphabet, run.config.window)

    def predict(texts: Sequence[str]) -> dict[str, np.ndarray]:
        texts = texts_in(texts)
        log_p = [read(as_typeset(text, alphabet.characters)) for text in texts]
        return {name: np.array([values[name].sum() for values in log_p]) for name in LANGUAGES}

    return predict
