"""`python -m benchmarks.latency`: microseconds of one step of one stream, as a server takes them.

One sequence, a call for each step, the result waited for, inputs in the library's own arrays:

    jaxlstm       `jaxlstm.streaming.stepper`
    flax-linen    `nn.OptimizedLSTMCell` under `jax.jit`
    keras         `keras.layers.LSTMCell` on JAX, `stateless_call` under `jax.jit`
    torch         `torch.nn.LSTMCell` under `torch.inference_mode`

All start from the same weights and must give the same state after the first steps. In every round each library
has a turn of CALLS calls, in an order drawn anew, of which the first ones warm up; every call after them is timed
by itself, and the percentiles are over the calls of all rounds.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.command import call, check_names, check_positive
from benchmarks.machine import cores, installed
from benchmarks.programs import DTYPE, relative_difference, tolerance
from benchmarks.report import add_columns, console, digits, new_table, say, show_machine
from benchmarks.results import new_results, save
from benchmarks.timing import rounded
from jaxlstm import LSTMParams, LSTMState, init_lstm
from jaxlstm.errors import UserError
from jaxlstm.interop import to_flax, to_keras, torch_arrays
from jaxlstm.streaming import stepper

INPUTS = 16  # inputs that take turns
CALLS, WARM_UP = 250, 50
CHECKED_STEPS = 5


class Serving(NamedTuple):
    """A library's step for one stream."""

    step: Callable[[Any, Any], Any]  # (state, x) -> state, which is there
    state: Any  # of zeros
    inputs: Callable[[np.ndarray], Any]  # x [D] in the library's own form
    outputs: Callable[[Any], LSTMState]  # of a state: h and c [H]


@dataclass(frozen=True)
class Options:
    """Times one step of one stream; the results go to OUT as JSON."""

    sizes: tuple[int, ...] = (25, 128, 256, 512)
    """numbers of units, which is that of inputs as well"""
    libraries: tuple[str, ...] = ("flax-linen", "keras", "torch")
    """beside jaxlstm"""
    rounds: int = 20
    """how often each has its turn"""
    out: Path = Path("benchmarks/out/latency.json")
    """the file for the results"""


def ours(params: LSTMParams) -> Serving:
    """jaxlstm."""
    step, state = stepper(params)

    def run(state, x):
        return jax.block_until_ready(step(state, x))[0]

    return Serving(run, state, jnp.asarray, lambda state: state)


def flax_linen(params: LSTMParams) -> Serving:
    """Flax."""
    from flax import linen as nn

    hidden = params.w_h.shape[0]
    cell, variables = nn.OptimizedLSTMCell(hidden), {"params": to_flax(params)}
    step = jax.jit(lambda carry, x: cell.apply(variables, carry, x))

    def run(carry, x):
        return jax.block_until_ready(step(carry, x))[0]

    return Serving(run, (jnp.zeros(hidden), jnp.zeros(hidden)), jnp.asarray, lambda carry: LSTMState(*carry[::-1]))


def keras(params: LSTMParams) -> Serving:
    """Keras 3 on JAX, whose cell wants a batch."""
    os.environ["KERAS_BACKEND"] = "jax"  # read once, when keras is imported
    import keras

    hidden = params.w_h.shape[0]
    cell = keras.layers.LSTMCell(hidden)
    cell.build((1, params.w_x.shape[0]))
    weights, others = to_keras(params), [variable.value for variable in cell.non_trainable_variables]

    @jax.jit
    def step(states, x):
        (_, states), _ = cell.stateless_call(weights, others, x, states)
        return states

    def run(states, x):
        return jax.block_until_ready(step(states, x))

    zeros = [jnp.zeros((1, hidden)), jnp.zeros((1, hidden))]
    return Serving(run, zeros, lambda x: jnp.asarray(x)[None], lambda states: LSTMState(*(leaf[0] for leaf in states)))


def torch(params: LSTMParams) -> Serving:
    """PyTorch."""
    import torch

    torch.set_num_threads(cores())
    hidden = params.w_h.shape[0]
    cell = torch.nn.LSTMCell(params.w_x.shape[0], hidden)
    arrays = {
        name.removesuffix("_l0"): torch.from_numpy(np.array(leaf)) for name, leaf in torch_arrays((params,)).items()
    }
    cell.load_state_dict(arrays)

    def run(state, x):
        with torch.inference_mode():
            return cell(x, state)

    def outputs(state):
        return LSTMState(*(leaf[0].numpy() for leaf in state))

    return Serving(run, (torch.zeros(1, hidden),) * 2, lambda x: torch.from_numpy(x)[None], outputs)


LIBRARIES = {"flax-linen": (flax_linen, "flax"), "keras": (keras, "keras"), "torch": (torch, "torch")}


def first_states(serving: Serving, xs: np.ndarray) -> LSTMState:
    """h and c after the first steps."""
    state = serving.state
    for x in xs[:CHECKED_STEPS]:
        state = serving.step(state, serving.inputs(x))
    return serving.outputs(state)


def turn(serving: Serving, xs: list[Any]) -> np.ndarray:
    """Seconds of every call of one turn but the warm-up."""
    seconds = np.empty(CALLS)
    state = serving.state
    for number in range(CALLS):
        x = xs[number % INPUTS]
        start = time.perf_counter()
        state = serving.step(state, x)
        seconds[number] = time.perf_counter() - start
    return seconds[WARM_UP:]


def measure(size: int, libraries: tuple[str, ...], rounds: int) -> list[dict[str, Any]]:
    """A row for each library.

    Raises:
      UserError: one gives other states than jaxlstm.
    """
    params = init_lstm(jax.random.key(0), size, size, dtype=DTYPE)
    xs = np.random.default_rng(0).standard_normal((INPUTS, size)).astype(DTYPE)
    servings = {"jaxlstm": ours(params)} | {name: LIBRARIES[name][0](params) for name in libraries}
    expected = first_states(servings["jaxlstm"], xs)
    for name in libraries:
        difference = relative_difference(first_states(servings[name], xs), expected)
        if not difference <= tolerance():
            raise UserError(f"{name}: its states differ from those of jaxlstm by {difference:.1g}")
    inputs = {name: list(map(serving.inputs, xs)) for name, serving in servings.items()}
    rng = np.random.default_rng(0)
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in servings}
    for _ in range(rounds):
        for name in rng.permutation(list(servings)):
            seconds[name].append(turn(servings[name], inputs[name]))
    rows = []
    for name, turns in seconds.items():
        median, high = np.quantile(np.concatenate(turns) * 1e6, [0.5, 0.99])
        row = {"library": name, "batch": 1, "inputs": size, "hidden": size, "calls": rounds * (CALLS - WARM_UP)}
        rows.append(row | {"microseconds": rounded(median), "microseconds_99th_percentile": rounded(high)})
    return rows


def run(options: Options) -> None:
    """Measures, and writes the file after each size.

    Raises:
      UserError: an option that cannot be used, or libraries that do not agree.
    """
    check_names(options, "libraries", LIBRARIES)
    check_positive(options, "rounds", "sizes")
    there = tuple(name for name in options.libraries if installed(LIBRARIES[name][1]))
    for name in set(options.libraries) - set(there):
        say(f"{name}: left out, the package {LIBRARIES[name][1]} is not installed")
    results = new_results(options.out)
    show_machine(results)
    for size in options.sizes:
        results["rows"] += measure(size, there, options.rounds)
        save(results, options.out)
    table = new_table("units")
    add_columns(table, "library", "median, microseconds", "99th percentile")
    for row in results["rows"]:
        times = (digits(row[name]) for name in ("microseconds", "microseconds_99th_percentile"))
        table.add_row(str(row["hidden"]), row["library"], *times)
    console.print(table)
    say(f"written: {options.out}")


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.latency"))
