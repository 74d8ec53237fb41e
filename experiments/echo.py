"""Echo: a sequence of one-hot symbols goes in, the symbol at one position must come out.

The network has to hold one symbol out of a hundred over all the steps that follow it. The original
trained on 10 sequences and answered 0 of 100 right. The model is the same here; it sees fresh
sequences, made on the device, and starts with a forget gate that stays open about as long as a
sequence lasts (the chrono initialisation of Tallec & Ollivier 2018).
"""

from dataclasses import dataclass

import jax
import numpy as np
import optax

from experiments.presets import Settings, named
from experiments.session import Options, begin, follow, require_at_least
from jaxlstm import losses, models, plots
from jaxlstm.batches import generated, map_batches
from jaxlstm.deploy.model import Input, Model
from jaxlstm.deploy.predictor import Predictor
from jaxlstm.errors import UserError
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run
from jaxlstm.trace import trace
from jaxlstm.training import fit

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
    chrono: bool = True
    """Start with forget gates for dependencies as long as the sequence, not with a bias of 1."""
    learning_rate: float = 0.03
    """Of Adam, at the start; it falls to zero along a cosine."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    batch_size: int = 64
    """Sequences in a step."""
    epochs: int = 30
    """Epochs of `steps_per_epoch` steps."""
    steps_per_epoch: int = 100
    """Steps in an epoch; every batch is new."""
    test_size: int = 10_000
    """Unseen sequences to be measured on."""
    checkpoint_every: int = 10
    """Epochs between checkpoints."""
    seed: int = 0
    """Source of all randomness."""

    def __post_init__(self) -> None:
        require_at_least(
            self, 1, "num_symbols", "hidden_size", "batch_size", "epochs", "steps_per_epoch", "test_size",
            "checkpoint_every",
        )  # fmt: skip
        require_at_least(self, 3, "length")
        if not 0 <= self.position < self.length:
            raise UserError(f"--position: expected 0 to {self.length - 1}, a step of the sequence, got {self.position}")


PRESETS = named(original=Config())


def main(config: Config = Config(), options: Options = Options()) -> None:
    """Echo: hold one symbol of a sequence to its end."""
    run = begin("echo", config, options)
    config = run.config
    key_params, key_training, key_test = jax.random.split(jax.random.key(config.seed), 3)

    def draw(key: jax.Array, size: int = config.batch_size) -> jax.Array:
        return jax.random.randint(key, (size, config.length), 0, config.num_symbols)

    def logits_of(params: models.ClassifierParams, symbols: jax.Array) -> jax.Array:
        return models.classify(params, jax.nn.one_hot(symbols, config.num_symbols))

    params = init(key_params, config)
    show_parameters("echo", params)

    def loss(params: models.ClassifierParams, symbols: jax.Array, key: jax.Array):
        logits, labels = logits_of(params, symbols), symbols[:, config.position]
        return losses.cross_entropy(logits, labels), {"accuracy": losses.accuracy(logits, labels)}

    schedule = optax.cosine_decay_schedule(config.learning_rate, config.epochs * config.steps_per_epoch)
    with follow(run, config.epochs) as on_epochs:
        fitted = fit(
            loss,
            params,
            optax.chain(optax.clip_by_global_norm(config.clip), optax.adam(schedule)),
            generated(draw, config.steps_per_epoch),
            epochs=config.epochs,
            key=key_training,
            checkpoints=run.checkpoints(),
            checkpoint_every=config.checkpoint_every,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )
    run.save_parameters(fitted.params)

    symbols = np.asarray(draw(key_test, config.test_size))
    logits = map_batches(logits_of, fitted.params, symbols, 1000)
    answers = logits.argmax(axis=-1)
    accuracy = float(np.mean(answers == symbols[:, config.position]))

    console.print(f"sequence  {' '.join(map(str, symbols[0]))}")
    console.print(f"expected  {symbols[0, config.position]}    answered  {answers[0]}")
    plots.save(plots.learning_curves(fitted.rows, ["accuracy"]), run.folder / "learning.png")
    inside = jax.tree.map(np.asarray, trace(fitted.params.lstm, jax.nn.one_hot(symbols[0], config.num_symbols)))
    plots.save(plots.gates(inside, symbols[0], mark=config.position), run.folder / "gates.png")
    show_result(run.finish({"accuracy": accuracy}, ORIGINAL, fitted.params, fitted.seconds))


def init(key: jax.Array, config: Config) -> models.ClassifierParams:
    """LSTM and a dense head over one-hot symbols."""
    chrono = config.length if config.chrono else None
    return models.init_classifier(key, config.num_symbols, config.hidden_size, config.num_symbols, chrono=chrono)


def deployed(run: Run) -> dict[str, Model]:
    """The trained model: symbols [B, T] -> the probability [B, symbols] of each at the position."""
    size = run.config.num_symbols
    params = run.load_parameters(jax.eval_shape(lambda key: init(key, run.config), jax.random.key(0)))

    def apply(params: models.ClassifierParams, symbols: jax.Array) -> jax.Array:
        return jax.nn.softmax(models.classify(params, jax.nn.one_hot(symbols, size)))

    def graph(graph, params: models.ClassifierParams, symbols: str) -> str:
        from jaxlstm.deploy import onnx

        logits = onnx.classify(graph, params, onnx.one_hot(graph, symbols, size))
        return graph.add("Softmax", logits, axis=-1)

    inputs = {"symbols": Input(("batch", "time"), np.int32)}
    return {"echo": Model(apply, params, inputs, ("probabilities",), graph)}


def predictor(run: Run) -> Predictor:
    """Symbols [N, length] -> the probability [N, symbols] of each at the position."""
    return Predictor(deployed(run)["echo"], [run.config.length])
