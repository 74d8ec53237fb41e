"""`python -m benchmarks.gpu_check --out DIR`: everything worth knowing on a GPU, in one short visit.

It needs jax, numpy and jaxlstm alone; torch and flax are measured where they are installed, and training where
optax is. First every implementation is compared with the scan in float64 on the CPU, then all are timed, the
important shapes first. Each result goes to DIR/gpu_check.json as it comes, an error in its place, so that what was
measured is there when the time is up. The kernel of ours runs in a process of its own until it has shown that it
neither hangs nor faults.

Times are the device's: many calls are started and the last is waited for, or CUDA events are set around them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch and a second process want memory too

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gpu_programs import PASSES, Case, flax_call, jax_call, torch_call
from benchmarks.shapes import SHAPES, Shape
from jaxlstm import LSTMParams, LSTMState, init_lstm, lstm

MINUTES = 9.0
IMPORTANT = ("sentiment", "medium", "long", "flashrnn", "large")
FLOAT32 = {"precision": "highest"}
TF32 = {"precision": "tensorfloat32"}
COMMAND_BUFFERS = {"xla_gpu_enable_command_buffer": "FUSION,CUBLAS,WHILE"}
SCAN_VARIANTS: dict[str, dict[str, Any]] = {
    "no command buffers": {"compiler_options": {"xla_gpu_enable_command_buffer": ""}},
    "command buffers FUSION,WHILE": {"compiler_options": {"xla_gpu_enable_command_buffer": "FUSION,WHILE"}},
    "command buffers FUSION,CUBLAS,WHILE": {"compiler_options": COMMAND_BUFFERS},
    "double buffering": {"compiler_options": {"xla_gpu_enable_while_loop_double_buffering": True}},
    "unroll 2": {"unroll": 2},
    "unroll 4": {"unroll": 4},
    "unroll 8": {"unroll": 8},
    "unroll 8, command buffers": {"unroll": 8, "compiler_options": COMMAND_BUFFERS},
}
TINY = {"sentiment": Shape(3, 5, 4, 8)}
BATCHES, HIDDEN, STEPS = (1, 8, 32, 128, 512, 2048), (32, 128, 512), 64  # of --cpu-vs-gpu
REVIEWS, TINY_REVIEWS = 25_000, 40
KERNEL = "correct pallas"
KERNEL_SECONDS = 150
REPEATS = 5
TURN_SECONDS = 0.1
TINY_TURN_SECONDS = 0.001


class Item(NamedTuple):
    """One thing to find out."""

    name: str  # what `--only` looks into
    about: dict[str, Any]  # goes into the result
    find: Callable[[], dict[str, Any]]


# What is correct


class Agreement(NamedTuple):
    """How one implementation is compared."""

    implementation: str
    dtype: str
    shape: Shape
    masking: str = "none"  # "lengths" (one of them zero), "holes" or "none"
    reverse: bool = False

    @property
    def name(self) -> str:
        """In a word or two."""
        direction = " reverse" if self.reverse else ""
        return f"correct {self.implementation} {self.dtype} H={self.shape.hidden} {self.masking}{direction}"


def agreements(tiny: bool) -> Iterator[Agreement]:
    """What is compared, the kernel first."""
    small, middle = 2 * [TINY["sentiment"]] if tiny else (Shape(20, 50, 32, 128), SHAPES["sentiment"])
    ragged = (("none", False), ("lengths", False), ("holes", False), ("lengths", True), ("holes", True))
    for masking, reverse in ragged:
        yield Agreement("pallas", "bfloat16", small, masking, reverse)
    yield Agreement("pallas", "float16", middle)
    yield Agreement("pallas", "bfloat16", small._replace(hidden=25))
    yield Agreement("pallas", "bfloat16", middle._replace(batch=67, steps=200))
    for masking, reverse in ragged:
        if masking != "holes":
            yield Agreement("cudnn", "float32", small, masking, reverse)
        yield Agreement("scan", "float32", small, masking, reverse)
    yield Agreement("cudnn", "float32", middle)
    yield Agreement("scan", "bfloat16", small, "lengths", True)


TOLERANCES = {"float32": 3e-6, "bfloat16": 2e-2, "float16": 2e-2}  # by norm


def draw(shape: Shape, dtype: str) -> tuple[LSTMParams, jax.Array, LSTMState, Any]:
    """Weights, inputs, a state, and the gradients that arrive at the final state and the outputs."""
    rng = np.random.default_rng(0)
    batch, steps, inputs, hidden = shape

    def normal(*sizes: int, dtype: Any = dtype) -> jax.Array:
        return jnp.asarray(rng.standard_normal(sizes), dtype)

    params = init_lstm(jax.random.key(0), inputs, hidden, dtype=jnp.dtype(dtype))
    params = params._replace(b=params.b + 0.1 * normal(4 * hidden))
    state = LSTMState(normal(batch, hidden), normal(batch, hidden, dtype="float32"))
    d_state = LSTMState(normal(batch, hidden), normal(batch, hidden, dtype="float32"))
    return params, normal(batch, steps, inputs), state, (d_state, normal(batch, steps, hidden))


def agree(agreement: Agreement) -> dict[str, Any]:
    """The largest distance by norm over all outputs, and over all gradients."""
    implementation, dtype, shape, masking, reverse = agreement
    *arrays, cotangents = draw(shape, dtype)
    rng = np.random.default_rng(1)
    options: dict[str, Any] = {"reverse": reverse}
    if masking == "lengths":
        options["lengths"] = np.append(rng.integers(1, shape.steps, shape.batch - 1), 0)
    if masking == "holes":
        options["mask"] = rng.random((shape.batch, shape.steps)) < 0.7

    def both(implementation: str, arrays: Any, cotangents: Any) -> Any:
        run = partial(lstm, implementation=implementation, **options)
        outputs, pull = jax.vjp(run, *arrays)
        return outputs, pull(cotangents)

    with jax.default_matmul_precision("highest"):
        actual = jax.jit(both, static_argnums=0)(implementation, arrays, cotangents)
    actual = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), actual)
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (arrays, cotangents))
        expected = jax.jit(both, static_argnums=0)("scan", *wide)
    values, gradients = (
        max(map(distance, jax.tree.leaves(got), jax.tree.leaves(want)))
        for got, want in zip(actual, expected, strict=True)
    )
    tolerance = TOLERANCES[dtype]
    close = bool(values <= tolerance and gradients <= tolerance)
    return {"values": values, "gradients": gradients, "tolerance": tolerance, "close": close}


def distance(got: Any, want: Any) -> float:
    """Relative to the norm of what is expected."""
    return float(np.linalg.norm(got - np.asarray(want)) / np.linalg.norm(want))


# What is timed


def cases(tiny: bool) -> Iterator[Case]:
    """The important shapes, each with everything that computes it; then the ways to run the scan; then the rest."""
    shapes = TINY if tiny else SHAPES
    important = [name for name in IMPORTANT if name in shapes]
    rest = [name for name in shapes if name not in important]
    for name in important:
        yield from beside_each_other(name, shapes[name])
    for name in important[:3]:
        for variant, options in SCAN_VARIANTS.items():
            for dtype in ("float32",) if tiny else ("float32", "bfloat16"):
                for which in PASSES[:1] if tiny else PASSES:
                    yield Case(name, shapes[name], which, "jaxlstm", "scan", dtype, variant, options)
    for name in rest:
        yield from beside_each_other(name, shapes[name])


def beside_each_other(name: str, shape: Shape) -> Iterator[Case]:
    """Every implementation and library, in every dtype."""
    for which in reversed(PASSES):
        case = partial(Case, name, shape, which)
        yield case("jaxlstm", "scan", "bfloat16")
        yield case("jaxlstm", "pallas", "bfloat16")
        yield case("torch", "cudnn", "bfloat16")
        yield case("jaxlstm", "scan", "float32", "TF32", TF32)
        yield case("jaxlstm", "cudnn", "float32", "TF32", TF32)
        yield case("torch", "cudnn", "float32", "TF32", TF32)
        yield case("jaxlstm", "cudnn", "float32", "float32", FLOAT32)
        yield case("torch", "cudnn", "float32", "float32", FLOAT32)
        yield case("flax", "nn.RNN", "float32", "TF32", TF32)
        yield case("jaxlstm", "scan", "float32", "float32", FLOAT32)
        yield case("torch", "cudnn", "float16")


CALLS = {"jaxlstm": jax_call, "flax": flax_call, "torch": torch_call}


def measure(case: Case, turn_seconds: float, device: jax.Device | None = None) -> dict[str, Any]:
    """Milliseconds of a call on the device: the median of several turns, and its quartiles."""
    start = time.perf_counter()
    with jax.default_device(device):
        call = CALLS[case.library](case)
        call.several(1)
        first = time.perf_counter() - start
        once = call.several(3) / 3
        count = max(1, min(1000, int(turn_seconds / once)))
        seconds = [call.several(count) / count for _ in range(REPEATS)]
    low, median, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return {
        "milliseconds": round(median * 1e3, 5),
        "milliseconds_low": round(low * 1e3, 5),
        "milliseconds_high": round(high * 1e3, 5),
        "microseconds_per_step": round(median * 1e6 / case.shape.steps, 4),
        "sequences_per_second": round(case.shape.batch / median, 1),
        "calls": count * REPEATS,
        "first_call_seconds": round(first, 3),
        "temporary_bytes": call.temporary_bytes,
    }


# The visit


def items(options: argparse.Namespace) -> Iterator[Item]:
    """Everything, in the order of its importance."""
    if options.cpu_vs_gpu:
        yield from throughput(options.tiny)
        return
    for agreement in agreements(options.tiny):
        about = {"kind": "correct"} | agreement._asdict() | {"shape": list(agreement.shape)}
        yield Item(agreement.name, about, partial(agree, agreement))
    for case in cases(options.tiny):
        turn = TINY_TURN_SECONDS if options.tiny else TURN_SECONDS
        yield Item(f"time {case.name}", {"kind": "time"} | case.about(), partial(measure, case, turn))


def throughput(tiny: bool) -> Iterator[Item]:
    """The same programs on the CPU and on the GPU: an epoch of a system, and a layer by batch and hidden size."""
    devices = {"cpu": jax.devices("cpu")[0], jax.default_backend(): jax.devices()[0]}
    for name, device in devices.items():
        epoch = partial(epoch_of_sentiment, TINY_REVIEWS if tiny else REVIEWS, device)
        yield Item(f"epoch sentiment {name}", {"kind": "epoch", "device": name}, epoch)
    sizes = [(2, 4), (3, 4)] if tiny else [(batch, hidden) for batch in BATCHES for hidden in HIDDEN]
    for which in PASSES:
        for batch, hidden in sizes:
            shape = Shape(batch, 3 if tiny else STEPS, hidden, hidden)
            for name, device in devices.items():
                case = Case(f"B={batch} H={hidden}", shape, which, "jaxlstm", "default", "float32", name)
                about = {"kind": "throughput", "device": name} | case.about()
                turn = TINY_TURN_SECONDS if tiny else TURN_SECONDS
                yield Item(f"throughput {case.name}", about, partial(measure, case, turn, device))


def epoch_of_sentiment(reviews: int, device: jax.Device) -> dict[str, Any]:
    """Seconds of an epoch of training at the original settings. It needs optax."""
    from benchmarks.training import ADAM, DROPOUT, TASKS, epoch, fresh_sentiment

    task = TASKS["sentiment"]
    with jax.default_device(device):
        params = fresh_sentiment(jax.random.key(0))
        arguments = jax.device_put((params, ADAM.init(params), task.data(reviews), jax.random.key(1)), device)
        run = epoch(task, ADAM, DROPOUT, shuffle=True).lower(*arguments).compile()
        start = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        return {"seconds": round(time.perf_counter() - start, 4), "reviews": reviews, "batch": task.batch}


def find(item: Item) -> dict[str, Any]:
    """The result of an item, or its error in one line."""
    start = time.perf_counter()
    try:
        found = item.find()
    except Exception as error:  # whatever one library does here must not cost the rest of the visit
        lines = str(error).strip().splitlines() or [""]
        found = {"error": f"{type(error).__name__}: {lines[0][:500]}"}
    return {"name": item.name} | item.about | found | {"took_seconds": round(time.perf_counter() - start, 2)}


def machine() -> dict[str, Any]:
    """The device, its driver and the versions."""
    from importlib import metadata

    device = jax.devices()[0]
    packages = (
        "jax",
        "jaxlib",
        "jax-cuda13-plugin",
        "jax-cuda12-plugin",
        "numpy",
        "torch",
        "flax",
        "nvidia-cudnn-cu13",
    )
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
        smi: str | None = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        smi = None
    return {
        "device": device.device_kind,
        "platform": jax.default_backend(),
        "platform_version": device.client.platform_version,
        "nvidia_smi": smi,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": versions,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def try_kernel(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What the kernel's own process found; one entry with an error where it hung, or died without a word."""
    out = options.out / "pallas"
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--only", KERNEL, "--out", str(out)]
    command += ["--device", options.device] + (["--tiny"] if options.tiny else [])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=KERNEL_SECONDS)
        error = f"exit code {done.returncode}: {done.stderr.strip()[-2000:]}" if done.returncode else None
    except subprocess.TimeoutExpired:
        error = f"did not end within {KERNEL_SECONDS} seconds"
    path = out / "gpu_check.json"
    found = json.loads(path.read_text())["results"] if path.exists() else []
    return found + ([{"name": KERNEL, "kind": "correct", "error": error}] if error else [])


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder for gpu_check.json")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after these nothing new is begun")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help="cpu to try the script itself")
    parser.add_argument("--tiny", action="store_true", help="sizes that take no time")
    parser.add_argument("--only", help="what has this in its name, such as 'correct', 'pallas' or 'time long'")
    parser.add_argument(
        "--cpu-vs-gpu",
        action="store_true",
        help="instead: sequences per second on both; `benchmarks.throughput` draws them",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 if something computed the wrong thing, 2 without a GPU."""
    options = parse(arguments)
    start = time.perf_counter()
    if options.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif jax.default_backend() != "gpu":
        print(f"--device gpu: JAX finds no GPU, its devices are {jax.devices()}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "gpu_check.json"
    found: list[dict[str, Any]] = []
    report = {"machine": machine(), "options": {**vars(options), "out": str(options.out)}, "results": found}

    def keep(*results: dict[str, Any]) -> None:
        found.extend(results)
        partial_path = path.with_name(path.name + ".partial")
        partial_path.write_text(json.dumps(report, indent=1) + "\n")
        partial_path.replace(path)
        for result in results:
            print(line_of(result), flush=True)

    keep()
    print(json.dumps(report["machine"]), flush=True)
    alone = options.only is not None or options.cpu_vs_gpu
    if not alone:
        keep(*try_kernel(options))
    works = alone or any(result.get("close") for result in found)
    for item in items(options):
        if options.only is not None and options.only not in item.name:
            continue
        tried = item.name.startswith(KERNEL) and not alone
        if tried or ("pallas" in item.name and not works):
            continue
        if time.perf_counter() - start > 60 * options.minutes:
            print(f"the time is up before: {item.name}")
            break
        keep(find(item))
    print(f"written: {path}")
    return 1 if any(result.get("close") is False for result in found) else 0


def line_of(result: dict[str, Any]) -> str:
    """A result in one line."""
    if "error" in result:
        return f"{result['name']}: {result['error'][:200]}"
    if result["kind"] == "correct":
        judged = "ok" if result["close"] else "WRONG"
        return f"{result['name']}: values {result['values']:.1e}, gradients {result['gradients']:.1e}, {judged}"
    if result["kind"] == "epoch":
        return f"{result['name']}: {result['seconds']:.4g} s"
    return f"{result['name']}: {result['milliseconds']:.4g} ms, {result['microseconds_per_step']:.3g} us per step"


if __name__ == "__main__":
    sys.exit(main())
