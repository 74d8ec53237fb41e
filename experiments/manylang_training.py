"""How manylang trains its judges: Adam along a cosine, and the epoch with the least loss on the validation windows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from experiments.optimisers import cosine_adam
from experiments.session import Options, follow
from jaxlstm.batches import Batches
from jaxlstm.runs import Run
from jaxlstm.training import EarlyStopping, Fitted, Loss, fit

# Windows of each language's validation text; those of all of them are looked at after each epoch.
VALIDATION_WINDOWS = 25


class Task(NamedTuple):
    """What the classifier or the character models learn, from what, and for how long."""

    name: str  # in the run's metrics and checkpoints
    loss: Loss
    params: Any  # at the start
    batches: Batches
    validate: Callable[[Any], dict[str, float]]
    learning_rate: float  # at the start
    epochs: int  # at the most


def train(run: Run, options: Options, task: Task, key: jax.Array) -> Fitted:
    """Trains a judge as its task says."""
    with follow(run, task.epochs, task.name) as on_epochs:
        return fit(
            task.loss,
            task.params,
            cosine_adam(task.learning_rate, task.epochs * task.batches.steps, clip=run.config.clip),
            task.batches,
            epochs=task.epochs,
            key=key,
            validate=task.validate,
            stopping=EarlyStopping("validation_loss", run.config.patience),
            checkpoints=run.checkpoints(task.name),
            on_epochs=on_epochs,
            mesh=options.mesh,
        )
