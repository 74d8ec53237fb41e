"""`python -m benchmarks.int8 --langid RUN --sentiment RUN`: what eight-bit weights do for serving on a CPU.

Two trained runs, each served in five ways:

    float32               as trained, in JAX
    int8, widened once    eight bits on disk; in memory and in use as before
    int8, in memory       widened at every call
    onnx float32          exported, in onnxruntime
    onnx int8             the same, after onnxruntime's own dynamic quantisation: eight-bit products

Size is that of all weights, or of the ONNX file. Time is one call, in turns. Accuracy is on the test
reviews of sentiment, and on the held-out windows of langid.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.command import call, check_names, check_positive
from benchmarks.machine import installed
from benchmarks.report import add_columns, console, new_table, say, show_machine
from benchmarks.results import new_results, save
from benchmarks.timing import in_turns, rounded, spread
from experiments.bilingual import load_corpora, split
from experiments.language_models import joined, windows_of
from experiments.systems import open_finished
from jaxlstm.data import imdb, word_ids
from jaxlstm.data.text import Alphabet
from jaxlstm.deploy.int8 import dequantise, quantise, size_in_bytes
from jaxlstm.deploy.model import Model
from jaxlstm.errors import UserError
from jaxlstm.runs import Run

PARTS = ("speed", "accuracy")
BATCHES = (1, 32)
EVALUATION_BATCH = 512
MOST_SECONDS = 6.0  # of timing for a system at a batch size


@dataclass(frozen=True)
class Options:
    """Size, speed and accuracy of eight-bit weights; the results go to OUT as JSON."""

    langid: Path
    """the folder of a finished run"""
    sentiment: Path
    """the folder of a finished run"""
    parts: tuple[str, ...] = PARTS
    """what to measure beside the size"""
    data_dir: Path | None = None
    """file or folder with the data sets; by default JAXLSTM_DATA, else they are downloaded"""
    rounds: int = 30
    """how often each has its turn"""
    out: Path = Path("benchmarks/out")
    """the folder for int8.json"""


@dataclass
class Way:
    """One way to serve one model: a function of a batch of ids."""

    name: str
    bytes: int
    ask: Callable[[np.ndarray], np.ndarray]
    seconds: dict[int, float] = field(default_factory=dict)  # by the size of the batch
    accuracy: float | None = None


def ways_of(model: Model, folder: Path) -> list[Way]:
    """The five, or without onnxruntime the first three."""
    quantised = quantise(model.params)
    plain = jax.jit(model.apply)
    narrow = jax.jit(lambda params, ids: model.apply(dequantise(params), ids))
    in_jax = {
        "float32": (plain, model.params, model.params),
        "int8, widened once": (plain, dequantise(quantised), quantised),
        "int8, in memory": (narrow, quantised, quantised),
    }

    def ask(function: Callable[..., jax.Array], params: Any, ids: np.ndarray) -> np.ndarray:
        return np.asarray(function(params, ids))

    ways = [
        Way(name, size_in_bytes(stored), partial(ask, function, params))
        for name, (function, params, stored) in in_jax.items()
    ]
    return ways + (onnx_ways(model, folder) if installed("onnxruntime") and installed("onnx") else [])


def onnx_ways(model: Model, folder: Path) -> list[Way]:
    """The exported model in onnxruntime, as it is and with eight-bit weights."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from jaxlstm.deploy import onnx

    paths = {"onnx float32": folder / "float32.onnx", "onnx int8": folder / "int8.onnx"}
    onnx.save(paths["onnx float32"], model)
    # Seven bits of the eight: on processors without VNNI sums of products of full bytes saturate.
    quantize_dynamic(*paths.values(), per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    (name,) = model.inputs

    def ask(session: Any, ids: np.ndarray) -> np.ndarray:
        return session.run(None, {name: ids})[0]

    sessions = onnxruntime.SessionOptions()
    # A session's idle threads would keep the cores busy while another session has its turn.
    sessions.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return [
        Way(label, path.stat().st_size, partial(ask, onnxruntime.InferenceSession(path, sessions)))
        for label, path in paths.items()
    ]


def by_batch(ask: Callable[[np.ndarray], np.ndarray], ids: np.ndarray) -> np.ndarray:
    """The answers to all ids [N, T], in batches of one size but for the last."""
    parts = range(0, len(ids), EVALUATION_BATCH)
    return np.concatenate([ask(ids[start : start + EVALUATION_BATCH]) for start in parts])


def sentiment_ids(run: Run, data_dir: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """The test reviews [N, T] and their labels."""
    reviews = imdb.load_imdb(data_dir)
    return word_ids.encode(reviews.test, run.config.num_words, run.config.length), reviews.test.labels == 1


def langid_ids(run: Run, data_dir: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """The held-out windows [N, T] and 1 for each that is English, 0 else."""
    alphabet = Alphabet(run.read_json("alphabet.json"))
    parts = split(load_corpora(data_dir, with_genesis=False), run.config.train_fraction)
    return joined([windows_of(part.held_out, alphabet, run.config.window) for part in parts.values()])


def measure(system: str, folder: Path, options: Options, scratch: Path) -> list[Way]:
    """The ways to serve one run; of langid, both models in each call."""
    module, run = open_finished(folder)
    if run.system != system:
        raise UserError(f"{folder}: expected a run of {system}, this is one of {run.system}")
    ids, labels = (sentiment_ids if system == "sentiment" else langid_ids)(run, options.data_dir)
    models = module.deployed(run)
    both = []
    for name, model in models.items():
        (scratch / name).mkdir(parents=True)
        both.append(ways_of(model, scratch / name))
    ways = both[0] if len(both) == 1 else [difference(*pair) for pair in zip(*both, strict=True)]
    if "speed" in options.parts:
        for batch in BATCHES:
            programs: dict[str, Callable[[], Any]] = {way.name: partial(way.ask, ids[:batch]) for way in ways}
            for way, seconds in zip(ways, in_turns(programs, options.rounds, MOST_SECONDS).values(), strict=True):
                way.seconds[batch] = spread(seconds).median
    if "accuracy" in options.parts:
        for way in ways:
            with console.status(f"{system}: accuracy, {way.name}"):
                answers = by_batch(way.ask, ids)
            way.accuracy = float(np.mean((answers > (0.5 if system == "sentiment" else 0)) == labels))
    return ways


def difference(english: Way, french: Way) -> Way:
    """Both models of langid: the score of a window, positive where English is likelier."""

    def ask(ids: np.ndarray) -> np.ndarray:
        return (english.ask(ids) - french.ask(ids)).sum(axis=1)

    return Way(english.name, english.bytes + french.bytes, ask)


def show(rows: list[dict[str, Any]]) -> None:
    """The table."""
    table = new_table("system, served as")
    add_columns(table, "bytes", *(f"ms, batch {batch}" for batch in BATCHES), "accuracy", "lost")
    for row in rows:
        times = (row["milliseconds"].get(batch) for batch in BATCHES)
        cells = [f"{row['bytes']:,}", *("" if time is None else f"{time:.3g}" for time in times)]
        cells += ["", ""] if row["accuracy"] is None else [f"{row['accuracy']:.4f}", f"{row['lost']:+.4f}"]
        table.add_row(f"{row['system']}, {row['served']}", *cells)
    console.print(table)


def run(options: Options) -> None:
    """Measures, and writes the file.

    Raises:
      UserError: an option that cannot be used, or a run that is not one of the system.
    """
    check_names(options, "parts", PARTS)
    check_positive(options, "rounds")
    path = options.out / "int8.json"
    results = new_results(path)
    show_machine(results)
    with tempfile.TemporaryDirectory() as scratch:
        for system in ("langid", "sentiment"):
            ways = measure(system, getattr(options, system), options, Path(scratch) / system)
            results["rows"] += [
                {
                    "system": system,
                    "served": way.name,
                    "bytes": way.bytes,
                    "milliseconds": {batch: rounded(seconds * 1e3) for batch, seconds in way.seconds.items()},
                    "accuracy": way.accuracy,
                    "lost": None if way.accuracy is None else (ways[0].accuracy or 0.0) - way.accuracy,
                }
                for way in ways
            ]
    show(results["rows"])
    save(results, path)
    say(f"written: {path}")


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.int8"))
