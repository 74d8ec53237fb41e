"""Language identification: two character LSTMs, one taught on English and one on French.

A string belongs to the language whose model gives it the higher probability:

    score = log P(string | English) - log P(string | French)

The original cut 5-character windows from the Universal Declaration of Human Rights, asked for the
character after each, but never filled in its targets: AUC 0.651. Here every position of a window is
a target, the first one predicted from a start symbol, as its own formula for P(string) demands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from sklearn.metrics import roc_auc_score

from experiments.bilingual import LANGUAGES, Parts, as_typeset, load_corpora, split
from experiments.checks import require_at_least, require_positive, require_share
from experiments.contrast import train_together
from experiments.identifiers import ask_identifiers
from experiments.judges import LSTM, by_judge
from experiments.langid_figures import plot_characters, plot_scores, show_character_probabilities
from experiments.language_models import (
    deployed,
    init,
    joined,
    log_p_of,
    predictor,
    reader,
    score,
    score_of,
    shapes,
    windows_of,
)
from experiments.learning import draw_learning
from experiments.ngram import window_log_p
from experiments.presets import Settings, named
from experiments.session import Options, batch_size_for, begin, follow, hold_to, run_to_ask
from jaxlstm import models
from jaxlstm.batches import batches_of
from jaxlstm.data.text import UNKNOWN, Alphabet, alphabet_of
from jaxlstm.errors import UserError
from jaxlstm.files import write_json
from jaxlstm.reporting import console, show_parameters, show_result, show_unknown
from jaxlstm.runs import Run
from jaxlstm.training import Fitted, fit

ORIGINAL = {"auc": 0.6514, "accuracy": 0.60}


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

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate")
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
    if asked := run_to_ask("langid", config, options, predict, from_):
        identify(*asked)
        return
    corpora = None
    if options.resume is None:  # before there is a folder that an error would leave empty
        corpora = load_corpora(options.data_dir, config.genesis)
        check_window(split(corpora, config.train_fraction), config)
    run = begin("langid", config, options)
    config = run.config
    corpora = corpora or load_corpora(options.data_dir, config.genesis)
    hold_to(run, corpora.name, [*corpora.declaration.values(), *corpora.genesis.values()])
    parts = split(corpora, config.train_fraction)
    for name, part in parts.items():
        console.print(f"{name}: {len(part.train):,} characters to learn from, {len(part.held_out):,} held out")
    alphabet = alphabet_of(*(text for part in parts.values() for text in (part.train, part.genesis)))
    write_json(run.folder / "alphabet.json", alphabet.characters)
    show_parameters("langid", shapes(alphabet, config))

    short = train_apart(run, options, parts, alphabet, config.short_epochs, "short-") if config.short_epochs else {}
    if config.contrast:
        together = train_together(run, options, parts, alphabet)
        params, learnt = together.params, {"together": together}
    else:
        learnt = train_apart(run, options, parts, alphabet, config.epochs)
        params = params_of(learnt)
    run.save_parameters(params)

    ids, is_english = joined([windows_of(part.held_out, alphabet, config.window) for part in parts.values()])
    scores = scores_by_judge(params, params_of(short), parts, alphabet, ids, config)
    aucs = {judge: float(roc_auc_score(is_english, of_judge)) for judge, of_judge in scores.items()}
    accuracy = float(np.mean((scores[LSTM] > 0) == is_english))

    read = reader(deployed(run), alphabet, config.window)
    show_character_probabilities(read, ["the ", "le d", "natio"])
    for name, model in learnt.items():
        draw_learning(run, model.rows, model=name, name=f"learning_{name}")
    plot_scores(run, scores, aucs, is_english)
    plot_characters(run, read, parts["french"].held_out[:40])
    seconds = sum(model.seconds for model in [*learnt.values(), *short.values()])
    console.print(f"text: {corpora.name}; {len(ids):,} held-out windows of {config.window} characters")
    show_result(
        run.finish({**by_judge("auc", aucs), "accuracy": accuracy}, ORIGINAL, params, seconds, text=corpora.name)
    )


def check_window(parts: Mapping[str, Parts], config: Config) -> None:
    """Raises a UserError unless each part of the texts holds a window."""
    shortest = min(len(text) for part in parts.values() for text in (part.train, part.held_out))
    if config.window > shortest:
        expected = f"at most {shortest}, the characters of the shortest text"
        raise UserError(f"--window: expected {expected}, got {config.window}")


def train_apart(
    run: Run, options: Options, parts: Mapping[str, Parts], alphabet: Alphabet, epochs: int, stage: str = ""
) -> dict[str, Fitted]:
    """Trains each language's model by itself."""
    config = run.config

    def loss(params: models.TaggerParams, ids: jax.Array, key: jax.Array):
        return -jnp.mean(log_p_of(params, ids)), {}

    learnt = {}
    for number, name in enumerate(LANGUAGES):
        key_params, key_training = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), number))
        ids = windows_of(parts[name].train, alphabet, config.window)
        batches = batches_of(ids, batch_size_for(len(ids), config, options))
        schedule = optax.cosine_decay_schedule(config.learning_rate, epochs * batches.steps)
        with follow(run, epochs, f"{stage}{name}") as on_epochs:
            learnt[name] = fit(
                loss,
                init(key_params, alphabet, config),
                optax.rmsprop(schedule),
                batches,
                epochs=epochs,
                key=key_training,
                checkpoints=run.checkpoints(f"{stage}{name}"),
                checkpoint_every=config.checkpoint_every,
                on_epochs=on_epochs,
                mesh=options.mesh,
            )
    return learnt


def params_of(learnt: Mapping[str, Fitted]) -> dict[str, models.TaggerParams]:
    """What models that were taught apart have learnt."""
    return {name: model.params for name, model in learnt.items()}


def scores_by_judge(
    params: Mapping[str, models.TaggerParams],
    short: Mapping[str, models.TaggerParams],
    parts: Mapping[str, Parts],
    alphabet: Alphabet,
    ids: np.ndarray,
    config: Config,
) -> dict[str, np.ndarray]:
    """Held-out windows [N, T] -> the score [N] by the LSTMs and by each judge that the settings ask for."""
    scores = {LSTM: score_of(params, ids)}
    if short:
        scores[f"after_{config.short_epochs}_epochs"] = score_of(short, ids)
    if config.ngram:
        scores["ngram"] = ngram_score(parts, alphabet, ids, config)
        scores["with_ngram"] = scores[LSTM] + scores["ngram"]
    if config.identifiers:
        scores |= identifier_scores(parts, config.window)
    return scores


def ngram_score(parts: Mapping[str, Parts], alphabet: Alphabet, ids: np.ndarray, config: Config) -> np.ndarray:
    """Windows [N, T] -> the score of n-gram models of both languages [N]; RNNs and n-grams: Mikolov et al. 2010."""
    log_p = {}
    for name, part in parts.items():
        texts = [(alphabet.encode(part.train), 1.0)]
        if part.genesis and config.genesis_weight:
            texts.append((alphabet.encode(part.genesis), config.genesis_weight))
        log_p[name] = window_log_p(texts, ids, config.ngram, alphabet.size).sum(axis=1)
    return score(log_p)


def identifier_scores(parts: Mapping[str, Parts], window: int) -> dict[str, np.ndarray]:
    """The score [N] of each installed identifier for every whole window of the held-out texts."""
    texts = [part.held_out for part in parts.values()]
    spans = [text[at : at + window] for text in texts for at in range(len(text) - window + 1)]
    return {name: found[:, 0] - found[:, 1] for name, found in ask_identifiers(spans, ["en", "fr"]).items()}


def identify(run: Run, text: str) -> None:
    """Prints which language a text is in, by the models of a run, and how many of its characters they do not know."""
    log_p = {name: float(values[0]) for name, values in predictor(run)([text]).items()}
    found = score(log_p)
    first, second = LANGUAGES
    log_ps = ", ".join(f"{name} {log_p[name]:.2f}" for name in LANGUAGES)
    console.print(f"{first if found > 0 else second}   score {found:+.2f}   log P: {log_ps}")
    alphabet = Alphabet(run.read_json("alphabet.json"))
    show_unknown(alphabet.encode(as_typeset(text, alphabet.characters)) == UNKNOWN, "characters")
