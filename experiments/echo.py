"""Echo: a sequence of one-hot symbols goes in, the symbol at one position must come out.

The network has to hold one symbol out of a hundred over all the steps that follow it. The original
trained on 10 sequences and answered 0 of 100 right. The model is the same here; it sees fresh
sequences, made on the device, and starts with a forget gate that stays open about as long as a
sequence lasts (the chrono initialisation of Tallec & Ollivier 2018). Where a sequence is so long that
nothing is learnt from it at first, shorter ones come before it: a curriculum (Bengio et al. 2009).
"""

from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.checks import require_at_least, require_positive
from experiments.learning import draw_learning
from experiments.presets import Settings, named
from experiments.session import Options, begin, follow
from jaxlstm import losses, models, plots
from jaxlstm.batches import generated, map_batches
from jaxlstm.deploy.model import Input, Model
from jaxlstm.deploy.predictor import Predictor
from jaxlstm.errors import UserError
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run
from jaxlstm.trace import trace
from jaxlstm.training import Fitted, Loss, Row, fit

ORIGINAL = {"accuracy": 0.0}


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the echo system."""

    length: int = 50
    """Steps in a sequence."""
    num_symbols: int = 100
    """Different symbols."""
    position: int = 2
    """The step whose symbol is asked for, counted from 0."""
    hidden_size: int = 25
    """Units of the LSTM."""
    curriculum: tuple[int, ...] = ()
    """Shorter lengths to learn first, one after the other, each for as many epochs."""
    chrono: bool = True
    """Start with forget gates for dependencies as long as the sequence, not with a bias of 1."""
    learning_rate: float = 0.02
    """Of Adam, at the start; it falls to zero along a cosine."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    batch_size: int = 64
    """Sequences in a step."""
    epochs: int = 40
    """Epochs of `steps_per_epoch` steps, at each length."""
    steps_per_epoch: int = 100
    """Steps in an epoch; every batch is new."""
    test_size: int = 10_000
    """Unseen sequences to be measured on."""
    checkpoint_every: int = 10
    """Epochs between checkpoints."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate", "clip")
        require_at_least(
            self, 1, "num_symbols", "hidden_size", "batch_size", "epochs", "steps_per_epoch", "test_size",
            "checkpoint_every",
        )  # fmt: skip
        require_at_least(self, 3, "length")
        if any(before >= after for before, after in pairwise(self.lengths)):
            raise UserError(f"--curriculum: expected ever larger lengths below {self.length}, got {self.curriculum}")
        if not 0 <= self.position < min(self.lengths):
            raise UserError(
                f"--position: expected 0 to {min(self.lengths) - 1}, a step of every sequence, got {self.position}"
            )

    @property
    def lengths(self) -> tuple[int, ...]:
        """All lengths, in the order in which they are learnt."""
        return (*self.curriculum, self.length)


PRESETS = named(
    original=Config(),
    length200=Config(length=200, curriculum=(12, 50), learning_rate=0.03, epochs=10),
    length1000=Config(length=1000, curriculum=(12, 50, 200), learning_rate=0.03, epochs=10),
)


def main(config: Config = Config(), options: Options = Options()) -> None:
    """Echo: hold one symbol of a sequence to its end."""
    run = begin("echo", config, options)
    config = run.config
    key_params, key_training, key_test = jax.random.split(jax.random.key(config.seed), 3)

    params = init(key_params, config)
    show_parameters("echo", params)

    rows: list[Row] = []
    seconds = 0.0
    for length in config.lengths:
        fitted = _train(run, length, params, key_training, options)
        params, seconds = fitted.params, seconds + fitted.seconds
        rows += [{**row, "epoch": len(rows) + row["epoch"]} for row in fitted.rows]
    run.save_parameters(params)

    symbols = np.asarray(draw(key_test, config.test_size, config.length, config.num_symbols))
    logits = map_batches(logits_of, params, symbols, 1000)
    answers = logits.argmax(axis=-1)
    accuracy = float(np.mean(answers == symbols[:, config.position]))

    console.print(f"sequence  {' '.join(map(str, symbols[0]))}")
    console.print(f"expected  {symbols[0, config.position]}    answered  {answers[0]}")
    draw_learning(run, rows, ["accuracy"])
    inside = jax.tree.map(np.asarray, trace(params.lstm, one_hot(symbols[0], config.num_symbols)))
    plots.save(plots.gates(inside, symbols[0], mark=config.position), run.folder / "gates.png")
    show_result(run.finish({"accuracy": accuracy}, ORIGINAL, params, seconds))


def _train(run: Run, length: int, params: models.ClassifierParams, key: jax.Array, options: Options) -> Fitted:
    """One length of the curriculum; the learning rate falls over all of them as if they were one."""
    config: Config = run.config
    steps = config.epochs * config.steps_per_epoch
    done = config.lengths.index(length) * steps
    schedule = optax.cosine_decay_schedule(config.learning_rate, len(config.lengths) * steps)

    def batch(key: jax.Array) -> jax.Array:
        return draw(key, config.batch_size, length, config.num_symbols)

    model = f"length-{length}" if config.curriculum else ""
    with follow(run, config.epochs, model) as on_epochs:
        return fit(
            loss_at(config.position),
            params,
            optax.chain(optax.clip_by_global_norm(config.clip), optax.adam(lambda step: schedule(done + step))),
            generated(batch, config.steps_per_epoch),
            epochs=config.epochs,
            key=key,
            checkpoints=run.checkpoints(model),
            checkpoint_every=config.checkpoint_every,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )


def draw(key: jax.Array, size: int, length: int, num_symbols: int) -> jax.Array:
    """Sequences of symbols [size, length]."""
    return jax.random.randint(key, (size, length), 0, num_symbols)


def one_hot(symbols: jax.Array, num_symbols: int) -> jax.Array:
    """Symbols [...] -> [..., symbols], in the dtype of the parameters."""
    return jax.nn.one_hot(symbols, num_symbols, dtype=jnp.float32)


def logits_of(params: models.ClassifierParams, symbols: jax.Array) -> jax.Array:
    """Symbols [B, T] -> a logit for each symbol [B, symbols]."""
    return models.classify(params, one_hot(symbols, params.lstm.w_x.shape[0]))


def loss_at(position: int) -> Loss:
    """The loss, for `fit`, where the symbol at `position` is asked for."""

    def loss(params: models.ClassifierParams, symbols: jax.Array, key: jax.Array):
        logits, labels = logits_of(params, symbols), symbols[:, position]
        return losses.cross_entropy(logits, labels), {"accuracy": losses.accuracy(logits, labels)}

    return loss


def init(key: jax.Array, config: Config) -> models.ClassifierParams:
    """LSTM and a dense head over one-hot symbols."""
    chrono = config.length if config.chrono else None
    return models.init_classifier(key, config.num_symbols, config.hidden_size, config.num_symbols, chrono=chrono)


def deployed(run: Run) -> dict[str, Model]:
    """The trained model: symbols [B, T] -> the probability [B, symbols] of each at the position."""
    params = run.load_parameters(jax.eval_shape(lambda key: init(key, run.config), jax.random.key(0)))

    def apply(params: models.ClassifierParams, symbols: jax.Array) -> jax.Array:
        return jax.nn.softmax(logits_of(params, symbols))

    def graph(graph, params: models.ClassifierParams, symbols: str) -> str:
        from jaxlstm.deploy import onnx

        logits = onnx.classify(graph, params, onnx.one_hot(graph, symbols, run.config.num_symbols))
        return graph.add("Softmax", logits, axis=-1)

    inputs = {"symbols": Input(("batch", "time"), np.int32)}
    return {"echo": Model(apply, params, inputs, ("probabilities",), graph)}


def predictor(run: Run) -> Predictor:
    """Symbols [N, length] -> the probability [N, symbols] of each at the position."""
    return Predictor(deployed(run)["echo"], [run.config.length], pads=False)
