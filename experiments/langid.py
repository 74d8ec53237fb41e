"""Language identification: two character LSTMs, one taught on English and one on French.

A string belongs to the language whose model gives it the higher probability:

    score = log P(string | English) - log P(string | French)

The original cut 5-character windows from the Universal Declaration of Human Rights, asked for the
character after each, but never filled in its targets: AUC 0.651. Here every position of a window is
a target, the first one predicted from a start symbol, as its own formula for P(string) demands.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from matplotlib.figure import Figure
from rich.table import Table
from sklearn.metrics import roc_auc_score, roc_curve

from experiments.checks import require_at_least, require_share, require_texts
from experiments.contrast import Windows, log_p_of, score_of, train_together
from experiments.identifiers import ask_identifiers
from experiments.ngram import window_log_p
from experiments.presets import Settings, named
from experiments.session import Options, batch_size_for, begin, follow, run_to_ask
from jaxlstm import models, plots
from jaxlstm.batches import batches_of
from jaxlstm.data.fetch import UnreachableError
from jaxlstm.data.genesis import load_genesis
from jaxlstm.data.sample import load_sample
from jaxlstm.data.text import START, Alphabet, alphabet_of, split_words, windows
from jaxlstm.data.udhr import load_udhr
from jaxlstm.deploy.model import Input, Model
from jaxlstm.deploy.predictor import Predictor
from jaxlstm.errors import UserError
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run, write_json
from jaxlstm.training import Fitted, fit

ORIGINAL = {"auc": 0.6514, "accuracy": 0.60}
TRANSLATIONS = {"english": "english-web", "french": "french"}  # of Genesis
LANGUAGES = {"english": "eng", "french": "fra"}  # name and code in the Declaration's corpus


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the langid system."""

    window: int = 5
    """Characters in a window."""
    hidden_size: int = 128
    """Units of each LSTM."""
    train_fraction: float = 0.8
    """Share of the words, from the first on, to learn from; the rest is held out."""
    learning_rate: float = 0.01
    """Of RMSprop, at the start; it falls to zero along a cosine."""
    batch_size: int = 128
    """Windows in a step."""
    epochs: int = 20
    """Epochs, as the original's text proposes."""
    short_epochs: int = 5
    """Epochs of the original's run, reported beside."""
    genesis: bool = False
    """Learn from the book of Genesis as well; needs --contrast."""
    near_share: float = 0.5
    """Share of the Declaration's windows in each step, where Genesis is the rest."""
    contrast: float = 0.0
    """Weight of telling the languages apart, beside predicting characters; 0 teaches each model alone."""
    dropout: float = 0.0
    """Share dropped of what the models' heads read; needs --contrast."""
    validation_fraction: float = 0.0
    """Share of the words to learn from, the last ones, kept to choose settings and the epoch on; needs --contrast."""
    patience: int = 10
    """Epochs without a better validation AUC after which training stops."""
    ngram: int = 0
    """Order of n-gram models counted on the same text, whose score joins the LSTMs' in the figures; 0 for none."""
    genesis_weight: float = 0.1
    """How much a character of Genesis counts for in them, beside one of the Declaration."""
    identifiers: bool = False
    """Ask Lingua, py3langid and fastText about the same windows."""
    checkpoint_every: int = 10
    """Epochs between checkpoints."""
    seed: int = 0
    """Source of all randomness."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "window", "hidden_size", "batch_size", "epochs", "checkpoint_every", "patience")
        require_at_least(self, 0, "short_epochs", "contrast", "ngram", "genesis_weight")
        require_share(self, "train_fraction", "near_share")
        require_share(self, "dropout", "validation_fraction", zero=True)
        if not self.contrast and (self.genesis or self.dropout or self.validation_fraction):
            raise UserError(
                "--contrast: expected more than 0 for --genesis, --dropout and --validation-fraction, got 0"
            )


PRESETS = named(
    original=Config(),
    best=Config(
        hidden_size=64,
        learning_rate=0.003,
        epochs=46,
        short_epochs=0,
        genesis=True,
        contrast=1.5,
        dropout=0.3,
        ngram=5,
        identifiers=True,
    ),
)


def main(
    config: Config = Config(),
    options: Options = Options(),
    predict: str | None = None,
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
) -> None:
    """Langid: English or French, from the probabilities of its characters.

    Args:
        config: What is learnt.
        options: Where it goes.
        predict: A text to identify with the models of a finished run, named by --from; nothing is trained.
        from_: The folder of that run.
    """
    if asked := run_to_ask("langid", Config, predict, from_):
        identify(*asked)
        return
    corpora = None
    if options.resume is None:  # before there is a folder that a missing file would leave empty
        corpora = load_corpora(options.data_dir, config.genesis)
    run = begin("langid", config, options)
    config = run.config
    texts, genesis, corpus = corpora or load_corpora(options.data_dir, config.genesis)
    train, held_out = {}, {}
    for name, text in texts.items():
        train[name], held_out[name] = split_words(text.lower(), config.train_fraction)
        console.print(f"{name}: {len(train[name]):,} characters to learn from, {len(held_out[name]):,} held out")
    alphabet = alphabet_of(*train.values(), *genesis.values())
    write_json(run.folder / "alphabet.json", alphabet.characters)
    show_parameters("langid", _shapes(alphabet, config))

    def encode(text: str) -> np.ndarray:
        return windows(alphabet.encode(text), config.window)

    def train_all(epochs: int, stage: str = "") -> dict[str, Fitted]:
        return {
            name: train_model(run, options, name, f"{stage}{name}", encode(text), alphabet, epochs)
            for name, text in train.items()
        }

    strings = [encode(held_out[name]) for name in LANGUAGES]
    is_english = np.repeat([1, 0], [len(ids) for ids in strings])
    ids = np.concatenate(strings)

    short = train_all(config.short_epochs, "short-") if config.short_epochs else {}
    if config.contrast:
        together = contrast(run, options, train, genesis, alphabet)
        params, learnt = together.params, {"together": together}
    else:
        learnt = train_all(config.epochs)
        params = _params_of(learnt)
    run.save_parameters(params)
    scores = {"auc": score_of(params, ids)}
    if short:
        scores[f"auc_after_{config.short_epochs}_epochs"] = score_of(_params_of(short), ids)
    if config.ngram:
        scores["auc_ngram"] = ngram_score(train, genesis, alphabet, ids, config)
        scores["auc_with_ngram"] = scores["auc"] + scores["auc_ngram"]
    if config.identifiers:
        scores |= {f"auc_{name}": score for name, score in identifier_scores(held_out, config.window).items()}
    metrics = {name: float(roc_auc_score(is_english, score)) for name, score in scores.items()}
    metrics["accuracy"] = float(np.mean((scores["auc"] > 0) == is_english))

    ask = _predictors(_models(params), config.window)
    show_character_probabilities(ask, alphabet, config.window, ["the ", "le d", "natio"])
    for name, model in learnt.items():
        plots.save(plots.learning_curves(model.rows, []), run.folder / f"learning_{name}.png")
    plot_scores(run, scores, metrics, is_english)
    characters = _plot_characters(ask, alphabet, held_out["french"][:40], config.window)
    plots.save(characters, run.folder / "characters.png")
    seconds = sum(model.seconds for model in [*learnt.values(), *short.values()])
    console.print(f"text: {corpus}; {len(ids):,} held-out windows of {config.window} characters")
    show_result(run.finish(metrics, ORIGINAL, params, seconds))


class Corpora(NamedTuple):
    """The texts by language."""

    declaration: dict[str, str]
    genesis: dict[str, str]  # empty without it
    name: str  # what they are


def load_corpora(data_dir: Path | None, with_genesis: bool) -> Corpora:
    """The Declaration, and Genesis if wanted; or offline the sample that comes with the package."""
    try:
        texts = {name: load_udhr(code, data_dir) for name, code in LANGUAGES.items()}
    except UnreachableError as error:
        console.print(f"[yellow]{error}[/yellow]")
        console.print("[yellow]Using the small bilingual sample that comes with jaxlstm instead.[/yellow]")
        return Corpora({name: load_sample(name) for name in LANGUAGES}, {}, "the bilingual sample")
    declaration = "the Universal Declaration of Human Rights"
    if not with_genesis:
        return Corpora(texts, {}, declaration)
    genesis = {name: as_typeset(load_genesis(code, data_dir)) for name, code in TRANSLATIONS.items()}
    return Corpora(texts, genesis, f"{declaration}, and Genesis to learn from")


def as_typeset(text: str) -> str:
    """Genesis as the Declaration is set: lowercased, one space between words, typographic apostrophes."""
    return " ".join(text.lower().replace("'", "\N{RIGHT SINGLE QUOTATION MARK}").split())


def contrast(
    run: Run, options: Options, train: Mapping[str, str], genesis: Mapping[str, str], alphabet: Alphabet
) -> Fitted:
    """Both models, taught together; settings and epoch are chosen on the last words, if some are kept for that."""
    config, found = run.config, {}

    def encode(text: str) -> np.ndarray:
        return windows(alphabet.encode(text), config.window)

    for name, text in train.items():
        kept = None
        if config.validation_fraction:
            text, last = split_words(text, 1 - config.validation_fraction)
            kept = encode(last)
        found[name] = Windows(encode(text), encode(genesis[name]) if genesis else None, kept)
    key_params, key_training = jax.random.split(jax.random.key(config.seed))
    params = {
        name: models.init_language_model(key, alphabet.size, config.hidden_size)
        for name, key in zip(LANGUAGES, jax.random.split(key_params), strict=True)
    }
    return train_together(run, options, found, params, key_training)


def ngram_score(
    train: Mapping[str, str], genesis: Mapping[str, str], alphabet: Alphabet, ids: np.ndarray, config: Config
) -> np.ndarray:
    """Windows [N, T] -> the score of n-gram models of both languages [N]; RNNs and n-grams: Mikolov et al. 2010."""
    log_p = []
    for name in LANGUAGES:
        texts = [(alphabet.encode(train[name]), 1.0)]
        if genesis and config.genesis_weight:
            texts.append((alphabet.encode(genesis[name]), config.genesis_weight))
        log_p.append(window_log_p(texts, ids, config.ngram, alphabet.size).sum(axis=1))
    english, french = log_p
    return english - french


def identifier_scores(held_out: Mapping[str, str], window: int) -> dict[str, np.ndarray]:
    """The score [N] of each installed identifier for every whole window of the held-out texts."""
    spans = [text[at : at + window] for text in held_out.values() for at in range(len(text) - window + 1)]
    return {name: found[:, 0] - found[:, 1] for name, found in ask_identifiers(spans, ["en", "fr"]).items()}


def plot_scores(
    run: Run, scores: Mapping[str, np.ndarray], metrics: Mapping[str, float], is_english: np.ndarray
) -> None:
    """The ROC of each judge, and how far apart the scores of the LSTMs are."""
    curves = {
        name.removeprefix("auc").strip("_").replace("_", " ") or "LSTMs": (
            *roc_curve(is_english, score)[:2],
            metrics[name],
        )
        for name, score in scores.items()
    }
    plots.save(plots.roc(curves), run.folder / "roc.png")
    by_class = {"English": scores["auc"][is_english == 1], "French": scores["auc"][is_english == 0]}
    plots.save(plots.score_histogram(by_class), run.folder / "scores.png")


def train_model(
    run: Run, options: Options, name: str, stage: str, ids: np.ndarray, alphabet: Alphabet, epochs: int
) -> Fitted:
    """One language's model, taught on windows [N, T]."""
    config = run.config
    key_params, key_training = jax.random.split(
        jax.random.fold_in(jax.random.key(config.seed), list(LANGUAGES).index(name))
    )
    params = models.init_language_model(key_params, alphabet.size, config.hidden_size)

    def loss(params: models.TaggerParams, ids: jax.Array, key: jax.Array):
        return -jnp.mean(models.log_probabilities(params, ids, START)), {}

    batches = batches_of(ids, batch_size_for(len(ids), config, options))
    schedule = optax.cosine_decay_schedule(config.learning_rate, epochs * batches.steps)
    with follow(run, epochs, stage) as on_epochs:
        return fit(
            loss,
            params,
            optax.rmsprop(schedule),
            batches,
            epochs=epochs,
            key=key_training,
            checkpoints=run.checkpoints(stage),
            checkpoint_every=config.checkpoint_every,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )


def show_character_probabilities(
    ask: Mapping[str, Predictor], alphabet: Alphabet, window: int, strings: list[str]
) -> None:
    """The table of P(character | prefix) under both models, and the score of the string so far."""
    table = Table("prefix", "next", *(f"P, {name}" for name in ask), "score so far", title="P(character | prefix)")
    for string in strings:
        log_p = _character_log_p(ask, alphabet, string, window)
        running = np.cumsum(log_p["english"] - log_p["french"])
        for index, character in enumerate(string):
            probabilities = (f"{np.exp(log_p[name][index]):.4f}" for name in ask)
            table.add_row(repr(string[:index]), repr(character), *probabilities, f"{running[index]:+.2f}")
        table.add_section()
    console.print(table)


def deployed(run: Run) -> dict[str, Model]:
    """The trained models: characters [B, T], a window at most -> log P [B, T] of each, given those before it."""
    alphabet = Alphabet(run.read_json("alphabet.json"))
    return _models(run.load_parameters(_shapes(alphabet, run.config)))


def predictor(run: Run) -> Callable[[Sequence[str]], dict[str, np.ndarray]]:
    """N texts -> log P of each under each language's model, a dict of [N]."""
    alphabet, ask = Alphabet(run.read_json("alphabet.json")), _predictors(deployed(run), run.config.window)

    def predict(texts: Sequence[str]) -> dict[str, np.ndarray]:
        require_texts(texts)
        log_p = [_character_log_p(ask, alphabet, text.lower(), run.config.window) for text in texts]
        return {name: np.array([values[name].sum() for values in log_p]) for name in LANGUAGES}

    return predict


def identify(run: Run, text: str) -> None:
    """Prints which language a text is in, by the models of a run."""
    log_p = {name: float(values[0]) for name, values in predictor(run)([text]).items()}
    score = log_p["english"] - log_p["french"]
    console.print(
        f"{'english' if score > 0 else 'french'}   score {score:+.2f} = {log_p['english']:.2f} - {log_p['french']:.2f}"
    )


def _params_of(learnt: Mapping[str, Fitted]) -> dict[str, models.TaggerParams]:
    return {name: model.params for name, model in learnt.items()}


def _shapes(alphabet: Alphabet, config: Config) -> dict[str, models.TaggerParams]:
    """Both models' parameters, without their values."""
    size = config.hidden_size
    one = jax.eval_shape(lambda key: models.init_language_model(key, alphabet.size, size), jax.random.key(0))
    return dict.fromkeys(LANGUAGES, one)


def _models(params: Mapping[str, models.TaggerParams]) -> dict[str, Model]:
    def graph(graph, params: models.TaggerParams, characters: str) -> str:
        from jaxlstm.deploy import onnx

        return onnx.log_probabilities(graph, params, characters, START)

    inputs = {"characters": Input(("batch", "time"), np.int32)}
    return {name: Model(log_p_of, model, inputs, ("log_p",), graph) for name, model in params.items()}


def _predictors(models: Mapping[str, Model], window: int) -> dict[str, Predictor]:
    return {name: Predictor(model, [window]) for name, model in models.items()}


def _character_log_p(ask: Mapping[str, Predictor], alphabet: Alphabet, text: str, window: int) -> dict[str, np.ndarray]:
    """log P of each character of a text of any length, given at most the window - 1 characters before it.

    The models have learnt from windows; what they would say further from the start symbol means nothing.
    """
    ids = alphabet.encode(text)
    parts = windows(ids, min(window, len(ids)))
    log_p = {name: predict(parts) for name, predict in ask.items()}
    return {name: np.concatenate([values[0, : len(ids)], values[1:, -1]]) for name, values in log_p.items()}


def _plot_characters(ask: Mapping[str, Predictor], alphabet: Alphabet, text: str, window: int) -> Figure:
    log_p = _character_log_p(ask, alphabet, text, window)
    return plots.character_scores(text, log_p["english"], log_p["french"], ("English", "French"))
