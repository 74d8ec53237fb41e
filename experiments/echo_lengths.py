"""Echo at many lengths: after how many training steps is it learnt, by what the forget gate starts with?

The task and the model of `echo`. Each network trains on fresh sequences of one length, without a curriculum and at a
constant learning rate, until it answers as many of an epoch's sequences as it should, or runs out of steps. The
forget gate starts with a bias of 0, 1 (Jozefowicz et al. 2015) or 5, or with biases drawn for the length of the
sequence, and an input gate to match (the chrono initialisation of Tallec & Ollivier 2018).
"""

from dataclasses import dataclass
from typing import Any

import jax
import optax
from rich.table import Table

from experiments.checks import require_at_least, require_positive
from experiments.echo import draw, loss_at
from experiments.presets import Settings, named
from experiments.session import Options, begin, follow
from jaxlstm import models, plots
from jaxlstm.batches import generated
from jaxlstm.errors import UserError
from jaxlstm.reporting import console
from jaxlstm.runs import Run
from jaxlstm.training import EarlyStopping, Fitted, fit


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the echo_lengths system."""

    lengths: tuple[int, ...] = (12, 25, 50, 100, 200)
    """Steps in a sequence."""
    forget_biases: tuple[float, ...] = (0.0, 1.0, 5.0)
    """What the forget gates start with; the chrono initialisation is tried beside them."""
    num_symbols: int = 100
    """Different symbols."""
    position: int = 2
    """The step whose symbol is asked for, counted from 0."""
    hidden_size: int = 25
    """Units of the LSTM."""
    learning_rate: float = 0.01
    """Of Adam."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    batch_size: int = 64
    """Sequences in a step."""
    steps_per_epoch: int = 50
    """Steps in an epoch; every batch is new."""
    epochs: int = 40
    """Most epochs at a length."""
    learnt: float = 0.99
    """Share of right answers in an epoch at which the task counts as learnt."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate", "clip")
        require_at_least(self, 1, "num_symbols", "hidden_size", "batch_size", "steps_per_epoch", "epochs")
        if not self.lengths or not 0 <= self.position < min(self.lengths) or min(self.lengths) < 3:
            raise UserError(
                f"--lengths: expected some of at least 3 steps, with a step {self.position}, got {self.lengths}"
            )
        biases = [f"{bias:g}" for bias in self.forget_biases]
        for name, values in (("lengths", self.lengths), ("forget-biases", biases)):
            if len(set(values)) < len(values):
                raise UserError(f"--{name}: expected each of them once, got {' '.join(map(str, values))}")
        if not 0 < self.learnt <= 1:
            raise UserError(f"--learnt: expected a share above 0 and up to 1, got {self.learnt}")


PRESETS = named(original=Config())


def main(config: Config = Config(), options: Options = Options()) -> None:
    """Echo at many lengths: how the start of the forget gate decides after how many steps it is learnt."""
    run = begin("echo_lengths", config, options)
    config = run.config
    starts: dict[str, dict[str, Any]] = {
        f"forget bias {bias:g}": {"forget_bias": bias} for bias in config.forget_biases
    }
    steps: dict[str, dict[int, float | None]] = {name: {} for name in (*starts, "chrono")}
    seconds = 0.0
    metrics: dict[str, float] = {}
    table = Table("start", *map(str, config.lengths), title="steps until learnt")
    for name, by_length in steps.items():
        for length in config.lengths:
            fitted = _train(run, name, length, starts.get(name, {"chrono": length}), options)
            seconds += fitted.seconds
            at_the_end = fitted.rows[-1]["accuracy"]
            key = f"{name.replace(' ', '_')}_at_{length}"
            metrics[f"accuracy_{key}"] = at_the_end
            by_length[length] = None
            if at_the_end >= config.learnt:
                by_length[length] = metrics[f"steps_{key}"] = float(len(fitted.rows) * config.steps_per_epoch)
        table.add_row(name, *(f"{count:,.0f}" if count is not None else "not learnt" for count in by_length.values()))
    console.print(table)
    plots.save(plots.steps_to_learn(steps, config.epochs * config.steps_per_epoch), run.folder / "lengths.png")
    run.finish(metrics, {}, fitted.params, seconds)


def _train(run: Run, name: str, length: int, start: dict[str, Any], options: Options) -> Fitted:
    config: Config = run.config
    key_params, key_training = jax.random.split(jax.random.key(config.seed))
    params = models.init_classifier(key_params, config.num_symbols, config.hidden_size, config.num_symbols, **start)

    def batch(key: jax.Array) -> jax.Array:
        return draw(key, config.batch_size, length, config.num_symbols)

    model = f"{name}, length {length}"
    with follow(run, config.epochs, model) as on_epochs:
        return fit(
            loss_at(config.position),
            params,
            optax.chain(optax.clip_by_global_norm(config.clip), optax.adam(config.learning_rate)),
            generated(batch, config.steps_per_epoch),
            epochs=config.epochs,
            key=key_training,
            stopping=EarlyStopping("accuracy", config.epochs, maximise=True, target=config.learnt),
            checkpoints=run.checkpoints(model.replace(", ", "-").replace(" ", "-")),
            checkpoint_every=10,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )
