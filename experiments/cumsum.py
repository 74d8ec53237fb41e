"""Cumulative sum: at every step, has the sum of the inputs so far passed a quarter of the sequence's length?

Inputs are uniform on [0, 1). The label at a step is 1 once the running sum has reached T / 4. The
original trained on 1,000 sequences, one at a time, and ended at 0.9 to 1.0 of the steps. The model is
the same here; the sequences, made on the device, are more, and the learning rate falls as it learns.

A network that knows only its own length's threshold is lost at any other. `--preset longer` gives it the
inputs in units of the threshold, x_t / (T / 4), which is then 1 at every length. It still learns from T = 10
alone, and has to keep a sum over 20, 50 and 100 steps with neither leak nor drift, of inputs that are smaller
the longer the sequence. Three things help: few units whose recurrent weights decay, so that a sum is all that
they can keep; sequences of ten uneven numbers, some of them as small as those of a long sequence; and several
networks, of which the one is taken, at the epoch, that is best on validation sequences of the further lengths.
At T = 10 a small leak cannot be seen.
"""

from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.checks import require_at_least, require_positive
from experiments.keys import keys_for
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
from jaxlstm.training import EarlyStopping, Fitted, fit

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
    """Further lengths to be measured on; network and epoch are then chosen by the worst of them on validation."""
    validation_size: int = 1000
    """Validation sequences of each of the further lengths."""
    uneven: float = 0.0
    """Share of the training sequences that are a few large numbers among small ones, with any sum up to T / 2."""
    networks: int = 1
    """Networks that are trained, each from a start of its own; one is chosen as --longer says."""
    hidden_size: int = 20
    """Units of the LSTM."""
    recurrent_decay: float = 0.0
    """Weight decay of the weights from h_{t-1}, as in AdamW."""
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

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate")
        require_at_least(
            self, 1, "length", "hidden_size", "batch_size", "epochs", "steps_per_epoch", "test_size",
            "checkpoint_every", "validation_size", "networks",
        )  # fmt: skip
        require_at_least(self, 0, "recurrent_decay")
        if not 0 <= self.uneven <= 1:
            raise UserError(f"--uneven: expected a share from 0 to 1, got {self.uneven}")
        if self.networks > 1 and not self.longer:
            raise UserError(f"--networks: expected --longer too, to choose one of {self.networks} on, got none")
        if self.longer and not self.scaled:
            raise UserError("--longer: expected --scaled too, without it the threshold of another length is unknown")
        if any(before >= after for before, after in pairwise((self.length, *self.longer))):
            raise UserError(f"--longer: expected ever larger lengths above {self.length}, got {self.longer}")


PRESETS = named(
    original=Config(),
    longer=Config(
        scaled=True,
        longer=(20, 50, 100),
        uneven=0.5,
        networks=4,
        hidden_size=3,
        recurrent_decay=0.1,
        epochs=60,
        steps_per_epoch=250,
    ),
)


def main(config: Config = Config(), options: Options = Options()) -> None:
    """Cumsum: say at every step whether the running sum has passed a threshold."""
    run = begin("cumsum", config, options)
    config = run.config
    key_params, key_training, key_test, key_validation = jax.random.split(jax.random.key(config.seed), 4)
    starts = [init(key, config) for key in keys_for(config.networks, key_params)]
    show_parameters("cumsum", starts[0])
    keys = keys_for(config.networks, key_training)
    learnt = [
        train(run, options, number, params, key, key_validation)
        for number, (params, key) in enumerate(zip(starts, keys, strict=True), 1)
    ]
    fitted = max(learnt, key=lambda fitted: fitted.rows[fitted.best_epoch - 1].get("validation_accuracy", 0.0))
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
    draw_learning(run, fitted.rows, ["accuracy"])
    sums = xs * config.length / 4 if config.scaled else xs
    if config.longer:
        shares = {f"trained at {config.length}": by_length}
        plots.save(plots.accuracy_by_length(shares, trained_at=config.length), run.folder / "lengths.png")
    plots.save(plots.crossing(sums[:4], probabilities[:4], labels[:4]), run.folder / "crossing.png")
    show_result(run.finish(metrics, ORIGINAL, fitted.params, sum(fitted.seconds for fitted in learnt)))


def train(
    run: Run, options: Options, number: int, params: models.TaggerParams, key: jax.Array, key_validation: jax.Array
) -> Fitted:
    """One network, from its start."""
    config: Config = run.config

    def batch(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return draw(key, config.batch_size, config.length, config.scaled, config.uneven)

    def loss(params: models.TaggerParams, batch: tuple[jax.Array, jax.Array], key: jax.Array):
        xs, labels = batch
        logits = logits_of(params, xs)
        return losses.binary_cross_entropy(logits, labels), {"accuracy": losses.binary_accuracy(logits, labels)}

    validation = [
        draw(key_of_length, config.validation_size, length, config.scaled)
        for length, key_of_length in zip(
            config.longer, jax.random.split(key_validation, len(config.longer)), strict=True
        )
    ]
    measure = jax.jit(lambda params, xs, labels: losses.binary_accuracy(logits_of(params, xs), labels))

    def validate(params: models.TaggerParams) -> dict[str, float]:
        return {"accuracy": min(float(measure(params, *sequences)) for sequences in validation)}

    # From h_{t-1} alone: decay of the forget gate's bias would be a leak.
    recurrent = jax.tree_util.tree_map_with_path(lambda path, _: jax.tree_util.keystr(path).endswith(".w_h"), params)
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.epochs * config.steps_per_epoch)
    model = f"network-{number}" if config.networks > 1 else ""
    with follow(run, config.epochs, model) as on_epochs:
        return fit(
            loss,
            params,
            optax.adamw(schedule, weight_decay=config.recurrent_decay, mask=recurrent),
            generated(batch, config.steps_per_epoch),
            epochs=config.epochs,
            key=key,
            validate=validate if validation else None,
            stopping=EarlyStopping("validation_accuracy", config.epochs, maximise=True) if validation else None,
            checkpoints=run.checkpoints(model),
            checkpoint_every=config.checkpoint_every,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )


def draw(key: jax.Array, size: int, length: int, scaled: bool, uneven: float = 0.0) -> tuple[jax.Array, jax.Array]:
    """Numbers [size, length], in units of the threshold if `scaled`, and at each step whether the sum has passed it.

    A share `uneven` of the sequences are the cubes of such numbers, scaled to a sum drawn from [0, T / 2).
    """
    if uneven:
        key, key_sums, key_which = jax.random.split(key, 3)
    xs = jax.random.uniform(key, (size, length), jnp.float32)
    if uneven:
        sums = jax.random.uniform(key_sums, (size, 1), jnp.float32, maxval=length / 2)
        cubes = xs**3
        which = jax.random.bernoulli(key_which, uneven, (size, 1))
        xs = jnp.where(which, cubes * sums / cubes.sum(axis=1, keepdims=True), xs)
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
    return Predictor(deployed(run)["cumsum"], [run.config.length, *run.config.longer], pads=False)
