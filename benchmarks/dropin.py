"""`python -m benchmarks.dropin`: a Flax model with its own RNN, and with the one of jaxlstm in its place.

The model: tokens -> Embed(1,000, D) -> RNN(OptimizedLSTMCell(H)) -> Dense(10) on the last state, over sequences of
random lengths. `train` is the loss, the gradients of all parameters and an update of Adam, as a user's program
has them; `forward` the logits. Both start from the same parameters and must give the same. `ratio` is above 1
where jaxlstm is faster.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import nnx

import jaxlstm.linen
import jaxlstm.nnx
from benchmarks.command import call, check_names, check_positive
from benchmarks.memory import temporary_bytes
from benchmarks.programs import DTYPE, PASSES, relative_difference, tolerance
from benchmarks.report import add_columns, console, digits, new_table, say, show_machine, times
from benchmarks.results import new_results, save
from benchmarks.shapes import SHAPES, Shape
from benchmarks.timing import in_turns, quartiles, rounded, spread
from jaxlstm.errors import UserError

VOCABULARY, LABELS = 1000, 10
ADAM = optax.adam(1e-3)


@dataclass(frozen=True)
class Options:
    """Times a Flax model with each RNN; the results go to OUT as JSON."""

    shapes: tuple[str, ...] = ("single", "langid", "sentiment", "medium")
    """named shapes"""
    libraries: tuple[str, ...] = ("flax-linen", "flax-nnx")
    """whose RNN is replaced"""
    rounds: int = 20
    """how often each has its turn"""
    seconds: float = 6.0
    """for a pass at a shape at the most, five rounds at the least"""
    out: Path = Path("benchmarks/out/dropin.json")
    """the file for the results"""


class LinenModel(nn.Module):
    """In linen."""

    rnn: Any
    shape: Shape

    @nn.compact
    def __call__(self, tokens, lengths):
        """Logits [B, LABELS]."""
        x = nn.Embed(VOCABULARY, self.shape.inputs)(tokens)
        rnn = self.rnn(nn.OptimizedLSTMCell(self.shape.hidden), return_carry=True)
        (_, h), _ = rnn(x, seq_lengths=lengths)
        return nn.Dense(LABELS)(h)


class NNXModel(nnx.Module):
    """In NNX."""

    def __init__(self, rnn: Any, shape: Shape):
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(VOCABULARY, shape.inputs, rngs=rngs)
        self.rnn = rnn(nnx.OptimizedLSTMCell(shape.inputs, shape.hidden, rngs=rngs), return_carry=True, rngs=rngs)
        self.head = nnx.Linear(shape.hidden, LABELS, rngs=rngs)

    def __call__(self, tokens, lengths):
        """Logits [B, LABELS]."""
        (_, h), _ = self.rnn(self.embed(tokens), seq_lengths=lengths)
        return self.head(h)


Apply = Callable[..., Any]  # parameters, tokens, lengths -> logits


def linen(rnn: Any, shape: Shape, tokens: Any, lengths: Any) -> tuple[Apply, Any]:
    """The function of a linen model, and its parameters."""
    model = LinenModel(rnn, shape)
    return model.apply, jax.jit(model.init)(jax.random.key(0), tokens, lengths)


def nnx_functional(rnn: Any, shape: Shape, tokens: Any, lengths: Any) -> tuple[Apply, Any]:
    """The function of an NNX model, and its parameters; split as in NNX's own guide to performance."""
    graph, params, *rest = nnx.split(NNXModel(rnn, shape), nnx.Param, ...)
    return lambda params, tokens, lengths: nnx.merge(graph, params, *rest, copy=True)(tokens, lengths), params


class Swap(NamedTuple):
    """A library's model, and the two classes of RNN that go into it."""

    build: Callable[[Any, Shape, Any, Any], tuple[Apply, Any]]
    ours: Any
    theirs: Any


SWAPS = {
    "flax-linen": Swap(linen, jaxlstm.linen.RNN, nn.RNN),
    "flax-nnx": Swap(nnx_functional, jaxlstm.nnx.RNN, nnx.RNN),
}


class Data(NamedTuple):
    """One batch."""

    tokens: jax.Array  # [B, T]
    lengths: jax.Array  # [B], from half of T to T
    labels: jax.Array  # [B]


def draw(shape: Shape) -> Data:
    """A random batch of tokens, lengths and labels."""
    rng = np.random.default_rng(0)
    lengths = rng.integers((shape.steps + 1) // 2, shape.steps + 1, size=shape.batch)
    drawn = rng.integers(VOCABULARY, size=shape[:2]), lengths, rng.integers(LABELS, size=shape.batch)
    return Data(*map(jnp.asarray, drawn))


def compiled(apply: Apply, params: Any, which: str, data: Data) -> tuple[Callable[[], Any], int | None]:
    """One pass, and its temporary memory in bytes."""

    def train(params, state, tokens, lengths, labels):
        def loss(params):
            logits = apply(params, tokens, lengths)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value_and_gradient = jax.value_and_grad(loss)(params)
        updates, state = ADAM.update(value_and_gradient[1], state, params)
        return value_and_gradient, (optax.apply_updates(params, updates), state)

    arguments = (params, *data[:2]) if which == "forward" else (params, ADAM.init(params), *data)
    program = jax.jit(apply if which == "forward" else train).lower(*arguments).compile()
    return lambda: jax.block_until_ready(program(*arguments)), temporary_bytes(program)


def measure(name: str, library: str, which: str, options: Options) -> dict[str, Any]:
    """One row.

    Raises:
      UserError: the two models do not give the same.
    """
    shape, swap = SHAPES[name], SWAPS[library]
    data = draw(shape)
    programs, memory = {}, {}
    for key, rnn in (("jaxlstm", swap.ours), (library, swap.theirs)):
        programs[key], memory[key] = compiled(*swap.build(rnn, shape, *data[:2]), which, data)
    # Of a training step, the loss and the gradients: Adam's first update is the sign of a gradient, however small.
    ours, theirs = (program() if which == "forward" else program()[0] for program in programs.values())
    difference = relative_difference(ours, theirs)
    if not difference <= tolerance():
        raise UserError(f"{name}, {which}: the model differs from that of {library} by {difference:.1g}")
    seconds = in_turns(programs, options.rounds, options.seconds)
    return {
        "shape": name,
        **shape._asdict(),
        "rival": library,
        "pass": which,
        "implementation": "drop-in",
        "dtype": DTYPE.name,
        "milliseconds": rounded(spread(seconds["jaxlstm"] * 1e3).median),
        "rival_milliseconds": rounded(spread(seconds[library] * 1e3).median),
        **quartiles("ratio", seconds[library] / seconds["jaxlstm"]),
        "temporary_bytes": memory["jaxlstm"],
        "rival_temporary_bytes": memory[library],
    }


def run(options: Options) -> None:
    """Measures, and writes the file after each row.

    Raises:
      UserError: an option that cannot be used, or models that do not agree.
    """
    check_names(options, "shapes", SHAPES)
    check_names(options, "libraries", SWAPS)
    check_positive(options, "rounds")
    results = new_results(options.out)
    show_machine(results)
    table = new_table("shape, RNN of")
    add_columns(table, "pass", "jaxlstm ms", "Flax ms", "ratio", "quartiles", "MB", "Flax MB")
    for name in options.shapes:
        for library in options.libraries:
            for which in PASSES:
                row = measure(name, library, which, options)
                results["rows"].append(row)
                save(results, options.out)
                spent = digits(row["milliseconds"]), digits(row["rival_milliseconds"]), times(row["ratio"])
                between = f"{times(row['ratio_low'])}-{times(row['ratio_high'])}"
                megabytes = (digits(row[key] / 1e6) for key in ("temporary_bytes", "rival_temporary_bytes"))
                table.add_row(f"{name}, {library}", which, *spent, between, *megabytes)
    console.print(table)
    say(f"written: {options.out}")


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.dropin"))
