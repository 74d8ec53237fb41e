"""`python -m benchmarks.end_to_end`: whole training, jaxlstm on optax beside Keras 3 on JAX.

    sentiment    seconds for an epoch over 25,000 random reviews of length 80 at the original settings:
                 Embedding(2000, 128), LSTM(128, dropout 0.2, recurrent dropout 0.2), Dense(1, sigmoid),
                 Adam, batch 32. Keras runs `fit`; ours is one compiled scan over the epoch.
    cumsum       seconds for 1,000 updates of batch 1: LSTM(20), Dense(1, sigmoid) at each of 10 steps,
                 Adam. Keras runs `fit` once for each sequence, as the original did; ours is one
                 compiled scan.

Both start from the weights that Keras draws. Before any timing both make the same few updates, without
dropout and with plain gradient descent (the two Adams place their epsilon differently), and must have
moved their weights alike.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.command import call, check_names, check_positive
from benchmarks.machine import installed
from benchmarks.report import add_columns, console, new_table, say, show_machine
from benchmarks.results import new_results, save
from benchmarks.timing import quartiles, rounded, seconds_of, spread
from benchmarks.training import ADAM, DROPOUT, TASKS, epoch
from jaxlstm.errors import UserError

TOLERANCE = 2e-4  # of the largest movement of a weight, which is small beside the weight and its rounding


@dataclass(frozen=True)
class Options:
    """Times whole training beside Keras 3 on JAX; the results go to OUT as JSON."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """which of the two"""
    rounds: int = 3
    """how often each has its turn"""
    reviews: int = 25_000
    """reviews in an epoch of sentiment"""
    updates: int = 1_000
    """updates of cumsum"""
    out: Path = Path("benchmarks/out")
    """the folder for end_to_end.json"""


def measure(name: str, samples: int, rounds: int) -> dict[str, Any]:
    """Both in turns; returns the row of the results.

    Raises:
      UserError: the two do not learn the same.
    """
    # Imported once it is known that Keras is installed.
    from benchmarks.keras_training import MODELS, check_equal, keras_epoch, weights_of

    task = TASKS[name]
    difference = check_equal(name)
    if not difference <= TOLERANCE:
        raise UserError(f"{name}: not timed, its updates differ from those of keras by {difference:.1g}")
    data = task.data(samples)
    model = MODELS[name](DROPOUT)
    model.compile(loss="binary_crossentropy", optimizer="adam")
    params = weights_of(model, name)
    arguments = params, ADAM.init(params), jax.device_put(data), jax.random.key(0)
    compiled = epoch(task, ADAM, DROPOUT, shuffle=not task.one_fit_per_batch).lower(*arguments).compile()
    # The smallest data that have every batch size of the epoch: what Keras compiles, it compiles here.
    small = min(samples, task.batch + samples % task.batch)
    keras_epoch(model, task, task.data(small), shuffle=True)

    systems = {
        "jaxlstm": lambda: jax.block_until_ready(compiled(*arguments)),
        "keras": lambda: keras_epoch(model, task, data, shuffle=True),
    }
    seconds: dict[str, list[float]] = {system: [] for system in systems}
    for number in range(rounds):
        order = list(systems.items())
        for system, run in order if number % 2 == 0 else reversed(order):
            with console.status(f"{name}: round {number + 1} of {rounds}, {system}"):
                seconds[system].append(seconds_of(run, 1))
    ours, theirs = (np.array(seconds[system]) for system in systems)
    return {
        "task": name,
        "rival": "keras",
        "samples": samples,
        "batch": task.batch,
        "seconds": rounded(spread(ours).median),
        "rival_seconds": rounded(spread(theirs).median),
        **quartiles("ratio", theirs / ours),
    }


def run(options: Options) -> None:
    """Measures what the options ask for.

    Raises:
      UserError: an option that cannot be used, no Keras, or one that learns something else.
    """
    check_names(options, "tasks", TASKS)
    check_positive(options, "rounds", "reviews", "updates")
    if not installed("keras"):
        raise UserError("keras: not installed, and there is nothing else to compare with; the extra bench brings it")
    path = options.out / "end_to_end.json"
    results = new_results(path)
    show_machine(results)
    table = new_table("task")
    add_columns(table, "samples", "jaxlstm s", "keras s", "ratio", "quartiles")
    for name in dict.fromkeys(options.tasks):
        row = measure(name, options.reviews if name == "sentiment" else options.updates, options.rounds)
        results["rows"].append(row)
        save(results, path)
        between = f"{row['ratio_low']:.3g}-{row['ratio_high']:.3g}"
        times = f"{row['seconds']:.3g}", f"{row['rival_seconds']:.3g}"
        table.add_row(name, f"{row['samples']:,}", *times, f"{row['ratio']:.3g}", between)
    console.print(table)
    say(f"written: {path}")


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.end_to_end"))
