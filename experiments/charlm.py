"""Charlm: a language model of characters that learns from a text file, and then writes.

The text to learn from is cut into rows that are read side by side, one window of characters after the
other. The LSTM's state goes on from window to window, while gradients end with the window (truncated
back-propagation through time, Williams & Peng 1990), so that a character is predicted from much more than
a window. The last tenth of the text is for the final test and is looked at once; on the tenth before it the
epoch is chosen. Beside the LSTM's bits per character stand those of an n-gram model and of the compressor xz.
"""

import lzma
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments.checks import require_at_least, require_positive, require_share
from experiments.ngram import ngram_log_p
from experiments.optimisers import cosine_adam
from experiments.presets import Settings, named
from experiments.session import Options, batch_size_for, begin, check_not_resumed, check_settings, follow, hold_to
from experiments.writing import Writing, check_characters, show, write
from jaxlstm import LSTMState, losses, models, plots, zero_state
from jaxlstm.batches import in_order
from jaxlstm.data.text import Alphabet, Streams, alphabet_of, joined, streams
from jaxlstm.errors import DataError, UserError
from jaxlstm.files import write_json
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run
from jaxlstm.training import EarlyStopping, Fitted, fit

# Characters in a row of held-out text, at least. More rows would be faster, but each is scored as if nothing came
# before it.
HELD_OUT_ROW = 2048


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the charlm system."""

    text: str = ""
    """File to learn from, UTF-8 text."""
    hidden_size: int = 256
    """Units of the LSTM."""
    dropout: float = 0.4
    """Share of the LSTM's outputs dropped."""
    recurrent_dropout: float = 0.25
    """Share of h_{t-1} dropped, the same at every step of a window."""
    batch_size: int = 8
    """Rows of the text that are read side by side."""
    window: int = 64
    """Characters in a window, through which gradients flow back."""
    learning_rate: float = 0.004
    """Of Adam, at the start; it falls to zero along a cosine."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    epochs: int = 15
    """Epochs at the most."""
    patience: int = 2
    """Epochs without better bits per character on the validation text after which training stops."""
    validation_fraction: float = 0.1
    """Share of the text on which the epoch is chosen, before the test text."""
    test_fraction: float = 0.1
    """Share of the text for the final test, at its end."""
    ngram: int = 6
    """Characters in an n-gram of the model to compare with, at the most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate", "clip")
        require_at_least(self, 1, "hidden_size", "batch_size", "window", "epochs", "patience", "ngram")
        require_share(self, "validation_fraction", "test_fraction", below=0.5)
        require_share(self, "dropout", "recurrent_dropout", zero=True)


PRESETS = named(original=Config())


class Parts(NamedTuple):
    """The text in three parts, one after the other."""

    train: str
    validation: str
    test: str


def main(
    config: Config = Config(),
    writing: Writing = Writing(),
    options: Options = Options(),
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
) -> None:
    """Charlm: learn a text character by character, then write.

    Args:
        config: What is learnt.
        writing: What is written.
        options: Where it goes.
        from_: The folder of a finished run: its model writes, and nothing is trained.
    """
    if from_ is not None:
        check_not_resumed(options)
        run = Run.open(from_, "charlm", Config)
        check_settings("--from", replace(config, seed=Config().seed), run)  # but for the seed: of what is written
        write_again(run, writing, config.seed)
        return
    if options.resume is None:
        config = replace(config, text=str(Path(config.text).absolute()) if config.text else "")
        check_characters(writing, alphabet_of(load_parts(config).train))  # before there is a folder to leave empty
    run = begin("charlm", config, options)
    config = run.config
    parts = load_parts(config)
    alphabet = alphabet_of(parts.train)
    check_characters(writing, alphabet)
    hold_to(run, config.text, parts)
    write_json(run.folder / "alphabet.json", alphabet.characters)
    console.print(
        f"{len(parts.train):,} characters to learn from, {len(parts.validation):,} to choose the epoch on, "
        f"{len(parts.test):,} for the test, {len(alphabet.characters)} different ones"
    )
    params = init(alphabet, config)
    show_parameters("charlm", params)
    fitted = train_model(run, params, alphabet.encode(parts.train), alphabet.encode(parts.validation), options)
    run.save_parameters(fitted.params)
    console.print(f"parameters of epoch {fitted.best_epoch}, the best on the validation text")

    metrics = measure(run, fitted, parts, alphabet)
    written = write(fitted.params, alphabet, writing, config.seed)
    (run.folder / "sample.txt").write_text(written, encoding="utf-8")
    show(written)
    show_result(run.finish(metrics, {}, fitted.params, fitted.seconds))


def load_parts(config: Config) -> Parts:
    """The text file, cut into its parts."""
    if not config.text:
        raise UserError("--text: expected a text file to learn from, got none")
    try:
        text = Path(config.text).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"--text: expected a text file, {config.text}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"--text: expected UTF-8 text, {config.text} is not at byte {error.start}") from None
    validation, test = (round(share * len(text)) for share in (config.validation_fraction, config.test_fraction))
    if min(validation, test) < config.window:
        needed = math.ceil(config.window / min(config.validation_fraction, config.test_fraction)) + 1
        raise DataError(
            f"--text: expected at least {needed:,} characters, a window of {config.window} for each part, "
            f"{config.text} has {len(text):,}"
        )
    cut = len(text) - validation - test
    return Parts(text[:cut], text[cut : cut + validation], text[cut + validation :])


def init(alphabet: Alphabet, config: Config) -> models.TaggerParams:
    """Fresh parameters: one LSTM over one-hot characters, and a dense head."""
    key_params, _ = jax.random.split(jax.random.key(config.seed))
    return models.init_language_model(key_params, alphabet.size, config.hidden_size)


def train_model(
    run: Run, params: models.TaggerParams, train: np.ndarray, validation: np.ndarray, options: Options
) -> Fitted:
    """Trains on windows in their order, the state carried from one to the next."""
    config = run.config
    _, key_training = jax.random.split(jax.random.key(config.seed))
    rows = streams(train, batch_size_for(len(train) // config.window, config, options), config.window)
    dropout = {"dropout": config.dropout, "recurrent_dropout": config.recurrent_dropout}

    def loss(params: models.TaggerParams, state: LSTMState, batch: Streams, key: jax.Array):
        state = jax.tree.map(lambda leaf: jnp.where(batch.is_first, 0, leaf), state)
        state, logits = models.read_symbols(params, state, batch.inputs, key=key, **dropout)
        loss = losses.cross_entropy(logits, batch.targets, batch.mask)
        return loss, (state, {"bits": loss / math.log(2)})

    batches = in_order(rows)
    with follow(run, config.epochs) as on_epochs:
        return fit(
            loss,
            params,
            cosine_adam(config.learning_rate, config.epochs * batches.steps, clip=config.clip),
            batches,
            epochs=config.epochs,
            key=key_training,
            carry=zero_state(rows.inputs.shape[1:2], config.hidden_size),
            validate=lambda params: {"bits": bits(log_p_of(params, validation, config))},
            stopping=EarlyStopping("validation_bits", config.patience),
            checkpoints=run.checkpoints(),
            on_epochs=on_epochs,
            mesh=options.mesh,
        )


def log_p_of(params: models.TaggerParams, ids: np.ndarray, config: Config) -> np.ndarray:
    """log P of each character of a held-out text [n], from START on."""
    rows = streams(ids, min(config.batch_size, max(1, len(ids) // HELD_OUT_ROW)), config.window)
    return joined(np.asarray(_log_p(params, rows)), rows)


@jax.jit
def _log_p(params: models.TaggerParams, rows: Streams) -> jax.Array:
    def read(state: LSTMState, window: Streams):
        state, logits = models.read_symbols(params, state, window.inputs)
        return state, -optax.softmax_cross_entropy_with_integer_labels(logits, window.targets)

    state = zero_state(rows.inputs.shape[1:2], params.lstm.w_h.shape[0])
    return jax.lax.scan(read, state, rows)[1]


def measure(run: Run, fitted: Fitted, parts: Parts, alphabet: Alphabet) -> dict[str, float]:
    """Bits per character of the test text, beside those of the n-gram model and of xz, and the pictures."""
    config = run.config
    train, validation, test = (alphabet.encode(part) for part in parts)
    log_p = log_p_of(fitted.params, test, config)
    log_p_ngram = ngram_log_p(train, test, config.ngram, alphabet.size)
    names = ("LSTM", f"{config.ngram}-gram")
    figure = plots.character_scores(parts.test[:80], log_p[:80], log_p_ngram[:80], names)
    plots.save(figure, run.folder / "characters.png")
    if plots.has_curve(fitted.rows):
        levels = {
            f"{config.ngram}-gram": bits(ngram_log_p(train, validation, config.ngram, alphabet.size)),
            "xz": bits_xz(parts.train, parts.validation),
        }
        plots.save(plots.against_baselines(fitted.rows, "bits", levels), run.folder / "learning.png")
    return {
        "bits_per_character": bits(log_p),
        "bits_per_character_ngram": bits(log_p_ngram),
        "bits_per_character_xz": bits_xz(parts.train, parts.test),
    }


def bits(log_p: np.ndarray) -> float:
    """Bits per character, from the log-probability of each."""
    return float(-np.mean(log_p) / np.log(2))


def bits_xz(train: str, text: str) -> float:
    """What the text adds to the size of the compressed training text, in bits per character."""
    sizes = [len(lzma.compress(part.encode(), preset=9)) for part in (train, train + text)]
    return 8 * (sizes[1] - sizes[0]) / len(text)


def write_again(run: Run, writing: Writing, seed: int) -> None:
    """Writes with the model of a finished run."""
    alphabet = Alphabet(run.read_json("alphabet.json"))
    check_characters(writing, alphabet)
    params = run.load_parameters(jax.eval_shape(lambda: init(alphabet, run.config)))
    show(write(params, alphabet, writing, seed))
