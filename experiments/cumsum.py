"""Cumulative sum: at every step, has the sum of the inputs so far passed a quarter of the sequence's length?

Inputs are uniform on [0, 1). The label at a step is 1 once the running sum has reached T / 4. The
original trained on 1,000 sequences, one at a time, and ended at 0.9 to 1.0 of the steps. The model is
the same here; the sequences, made on the device, are more, and the learning rate falls as it learns.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.presets import Settings, named
from experiments.session import Options, begin, follow, require_at_least
from jaxlstm import losses, models, plots
from jaxlstm.batches import generated, map_batches
from jaxlstm.deploy.model import Input, Model
from jaxlstm.deploy.predictor import Predictor
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run
from jaxlstm.training import fit

# The mean over the last 23 sequences that the original's training log shows, 0.9 to 1.0 each.
ORIGINAL = {"step_accuracy": 0.952}


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the cumsum system."""

    length: int = 10
    """Steps in a sequence, T."""
    hidden_size: int = 20
    """Units of the LSTM."""
    learning_rate: float = 0.01
    """Of Adam, at the start; it falls to zero along a cosine."""
    batch_size: int = 64
    """Sequences in a step."""
    epochs: int = 30
    """Epochs of `steps_per_epoch` steps."""
    steps_per_epoch: int = 500
    """Steps in an epoch; every batch is new."""
    test_size: int = 10_000
    """Unseen sequences to be measured on."""
    checkpoint_every: int = 10
    """Epochs between checkpoints."""
    seed: int = 0
    """Source of all randomness."""

    def __post_init__(self) -> None:
        require_at_least(
            self, 1, "length", "hidden_size", "batch_size", "epochs", "steps_per_epoch", "test_size", "checkpoint_every"
        )


PRESETS = named(original=Config())


def main(config: Config = Config(), options: Options = Options()) -> None:
    """Cumsum: say at every step whether the running sum has passed a threshold."""
    run = begin("cumsum", config, options)
    config = run.config
    key_params, key_training, key_test = jax.random.split(jax.random.key(config.seed), 3)

    def draw(key: jax.Array, size: int = config.batch_size) -> tuple[jax.Array, jax.Array]:
        xs = jax.random.uniform(key, (size, config.length))
        return xs, (jnp.cumsum(xs, axis=1) >= config.length / 4).astype(jnp.float32)

    params = init(key_params, config)
    show_parameters("cumsum", params)

    def loss(params: models.TaggerParams, batch: tuple[jax.Array, jax.Array], key: jax.Array):
        xs, labels = batch
        logits = logits_of(params, xs)
        return losses.binary_cross_entropy(logits, labels), {"accuracy": losses.binary_accuracy(logits, labels)}

    schedule = optax.cosine_decay_schedule(config.learning_rate, config.epochs * config.steps_per_epoch)
    with follow(run, config.epochs) as on_epochs:
        fitted = fit(
            loss,
            params,
            optax.adam(schedule),
            generated(draw, config.steps_per_epoch),
            epochs=config.epochs,
            key=key_training,
            checkpoints=run.checkpoints(),
            checkpoint_every=config.checkpoint_every,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )
    run.save_parameters(fitted.params)

    xs, labels = jax.tree.map(np.asarray, draw(key_test, config.test_size))
    logits = map_batches(logits_of, fitted.params, xs, 1000)
    right = (logits > 0) == (labels > 0)
    metrics = {"step_accuracy": float(right.mean()), "sequence_accuracy": float(right.all(axis=1).mean())}

    probabilities = np.asarray(jax.nn.sigmoid(logits))
    for label, probability in zip(labels[0], probabilities[0], strict=True):
        console.print(f"expected {label:.0f}   predicted {probability:.4f}")
    plots.save(plots.learning_curves(fitted.rows, ["accuracy"]), run.folder / "learning.png")
    plots.save(plots.crossing(xs[:4], probabilities[:4], labels[:4]), run.folder / "crossing.png")
    show_result(run.finish(metrics, ORIGINAL, fitted.params, fitted.seconds))


def init(key: jax.Array, config: Config) -> models.TaggerParams:
    """LSTM and one logit at every step."""
    return models.init_tagger(key, 1, config.hidden_size, 1)


def logits_of(params: models.TaggerParams, xs: jax.Array) -> jax.Array:
    """Numbers [B, T] -> the logit [B, T] that the threshold has been passed."""
    return models.tag(params, xs[..., None])[..., 0]


def deployed(run: Run) -> dict[str, Model]:
    """The trained model: numbers [B, T] -> the probability [B, T] that the threshold has been passed."""
    params = run.load_parameters(jax.eval_shape(lambda key: init(key, run.config), jax.random.key(0)))

    def apply(params: models.TaggerParams, xs: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(logits_of(params, xs))

    def graph(graph, params: models.TaggerParams, xs: str) -> str:
        from jaxlstm.deploy import onnx

        last = graph.constant([-1], np.int64)
        logits = onnx.tag(graph, params, graph.add("Unsqueeze", xs, last))
        return graph.add("Sigmoid", graph.add("Squeeze", logits, last))

    inputs = {"xs": Input(("batch", "time"), np.float32)}
    return {"cumsum": Model(apply, params, inputs, ("probability",), graph)}


def predictor(run: Run) -> Predictor:
    """Numbers [N, length] -> the probability [N, length] that the threshold has been passed."""
    return Predictor(deployed(run)["cumsum"], [run.config.length])
