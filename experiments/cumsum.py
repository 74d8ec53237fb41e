"""Cumulative sum: at every step, has the sum of the inputs so far passed a quarter of the sequence's length?

Inputs are uniform on [0, 1). The label at a step is 1 once the running sum has reached T / 4. The
original trained on 1,000 sequences, one at a time, and ended at 0.9 to 1.0 of the steps. The model is
the same here; the sequences, made on the device, are more, and the learning rate falls as it learns.

A network that knows only its own length's threshold is lost at any other. `--preset longer` gives it the
inputs in units of the threshold, x_t / (T / 4), which is then 1 at every length. It still learns from T = 10
alone, and has to keep a sum over 20, 50 and 100 steps with neither leak nor drift. At T = 10 small ones
cannot be seen, so the epoch is chosen on other sequences of the largest length.
"""

from dataclasses import dataclass
from itertools import pairwise

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
from jaxlstm.errors import UserError
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run
from jaxlstm.training import EarlyStopping, fit

# The mean over the last 23 sequences that the original's training log shows, 0.9 to 1.0 each.
ORIGINAL = {"step_accuracy": 0.952}


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the cumsum system."""

    length: int = 10
    """Steps in a sequence, T."""
    scaled: bool = False
    """Inputs in units of the threshold, so that it is 1 whatever the length."""
    longer: tuple[int, ...] = ()
    """Further lengths to be measured on; the epoch is then chosen on validation sequences of the last of them."""
    validation_size: int = 1000
    """Sequences of the last of the further lengths to choose the epoch on."""
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
            self, 1, "length", "hidden_size", "batch_size", "epochs", "steps_per_epoch", "test_size",
            "checkpoint_every", "validation_size",
        )  # fmt: skip
        object.__setattr__(self, "longer", tuple(self.longer))  # a list where it was read from JSON
        if self.longer and not self.scaled:
            raise UserError("--longer: expected --scaled too, without it the threshold of another length is unknown")
        if any(before >= after for before, after in pairwise((self.length, *self.longer))):
            raise UserError(f"--longer: expected ever larger lengths above {self.length}, got {self.longer}")


PRESETS = named(
    original=Config(),
    longer=Config(scaled=True, longer=(20, 50, 100), epochs=60, steps_per_epoch=250),
)


def main(config: Config = Config(), options: Options = Options()) -> None:
    """Cumsum: say at every step whether the running sum has passed a threshold."""
    run = begin("cumsum", config, options)
    config = run.config
    key_params, key_training, key_test = jax.random.split(jax.random.key(config.seed), 3)

    def batch(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return draw(key, config.batch_size, config.length, config.scaled)

    params = init(key_params, config)
    show_parameters("cumsum", params)

    def loss(params: models.TaggerParams, batch: tuple[jax.Array, jax.Array], key: jax.Array):
        xs, labels = batch
        logits = logits_of(params, xs)
        return losses.binary_cross_entropy(logits, labels), {"accuracy": losses.binary_accuracy(logits, labels)}

    validate, stopping = None, None
    if config.longer:
        validation = draw(jax.random.fold_in(key_test, 0), config.validation_size, config.longer[-1], config.scaled)
        measure = jax.jit(lambda params: losses.binary_accuracy(logits_of(params, validation[0]), validation[1]))
        stopping = EarlyStopping("validation_accuracy", config.epochs, maximise=True)

        def validate(params: models.TaggerParams) -> dict[str, float]:
            return {"accuracy": float(measure(params))}

    schedule = optax.cosine_decay_schedule(config.learning_rate, config.epochs * config.steps_per_epoch)
    with follow(run, config.epochs) as on_epochs:
        fitted = fit(
            loss,
            params,
            optax.adam(schedule),
            generated(batch, config.steps_per_epoch),
            epochs=config.epochs,
            key=key_training,
            validate=validate,
            stopping=stopping,
            checkpoints=run.checkpoints(),
            checkpoint_every=config.checkpoint_every,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )
    run.save_parameters(fitted.params)

    metrics: dict[str, float] = {}
    by_length: dict[int, float] = {}
    for length in (*reversed(config.longer), config.length):
        xs, labels = jax.tree.map(np.asarray, draw(key_test, config.test_size, length, config.scaled))
        logits = map_batches(logits_of, fitted.params, xs, 1000)
        right = (logits > 0) == (labels > 0)
        suffix = f"_at_{length}" if length != config.length else ""
        by_length[length] = float(right.mean())
        metrics |= {
            f"step_accuracy{suffix}": float(right.mean()),
            f"sequence_accuracy{suffix}": float(right.all(axis=1).mean()),
        }

    probabilities = np.asarray(jax.nn.sigmoid(logits))
    for label, probability in zip(labels[0], probabilities[0], strict=True):
        console.print(f"expected {label:.0f}   predicted {probability:.4f}")
    plots.save(plots.learning_curves(fitted.rows, ["accuracy"]), run.folder / "learning.png")
    sums = xs * config.length / 4 if config.scaled else xs
    if config.longer:
        shares = {f"trained at {config.length}": by_length}
        plots.save(plots.accuracy_by_length(shares, trained_at=config.length), run.folder / "lengths.png")
    plots.save(plots.crossing(sums[:4], probabilities[:4], labels[:4]), run.folder / "crossing.png")
    show_result(run.finish(metrics, ORIGINAL, fitted.params, fitted.seconds))


def draw(key: jax.Array, size: int, length: int, scaled: bool) -> tuple[jax.Array, jax.Array]:
    """Numbers [size, length], in units of the threshold if `scaled`, and at each step whether the sum has passed it."""
    xs = jax.random.uniform(key, (size, length))
    passed = jnp.cumsum(xs, axis=1) >= length / 4
    return xs * 4 / length if scaled else xs, passed.astype(jnp.float32)


def init(key: jax.Array, config: Config) -> models.TaggerParams:
    """LSTM and one logit at every step."""
    return models.init_tagger(key, 1, config.hidden_size, 1)


def logits_of(params: models.TaggerParams, xs: jax.Array) -> jax.Array:
    """Numbers [B, T] -> the logit [B, T] that the threshold has been passed."""
    return models.tag(params, xs[..., None])[..., 0]


def deployed(run: Run) -> dict[str, Model]:
    """The trained model: numbers [B, T] -> the probability [B, T] that the threshold has been passed.

    The numbers of a run with --scaled are in units of the threshold.
    """
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
    return Predictor(deployed(run)["cumsum"], [run.config.length, *run.config.longer])
