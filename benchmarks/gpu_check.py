"""`python -m benchmarks.gpu_check --out DIR`: everything worth knowing on a GPU, in one short visit.

It needs jax, numpy and jaxlstm alone; torch and flax are measured where they are installed, and training where
optax is. First every implementation is compared with the scan in float64 on the CPU, then all are timed, the
important shapes first. Each result goes to DIR/gpu_check.json as it comes, an error in its place, so that what was
measured is there when the time is up. Our kernels run in processes of their own, one each, until they have shown that
they neither hang nor fault.

Times are the device's: many calls are started and the last is waited for, or CUDA events are set around them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch and a second process want memory too

import jax

from benchmarks.command import exit_code
from benchmarks.gpu_agreement import agree, agreements
from benchmarks.gpu_programs import Case
from benchmarks.gpu_times import cases, epoch_of_sentiment, measure
from benchmarks.machine import describe, use_device, versions
from benchmarks.programs import PASSES
from benchmarks.results import place, save
from benchmarks.shapes import Shape
from jaxlstm.errors import UserError

MINUTES = 9.0
BATCHES, HIDDEN, STEPS = (1, 8, 32, 128, 512, 2048), (32, 128, 512), 64  # of --cpu-vs-gpu
REVIEWS, TINY_REVIEWS = 25_000, 40
KERNELS = ("correct pallas one_block", "correct pallas cluster")
KERNEL_SECONDS = 120  # of each
TURN_SECONDS = 0.05
TINY_TURN_SECONDS = 0.001


class Item(NamedTuple):
    """One thing to find out."""

    name: str  # what `--only` looks into
    about: dict[str, Any]  # goes into the result
    find: Callable[[], dict[str, Any]]


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


def find(item: Item) -> dict[str, Any]:
    """The result of an item, or its error in one line."""
    start = time.perf_counter()
    try:
        found = item.find()
    except Exception as error:  # whatever one library does here must not cost the rest of the visit
        lines = str(error).strip().splitlines() or [""]
        found = {"error": f"{type(error).__name__}: {lines[0][:500]}"}
    return {"name": item.name} | item.about | found | {"took_seconds": round(time.perf_counter() - start, 2)}


def driver() -> dict[str, Any]:
    """What the figures of a GPU depend on beside the machine and the versions; without one nvidia_smi is None."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    try:
        smi: str | None = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        smi = None
    return {
        "platform": jax.default_backend(),
        "platform_version": jax.devices()[0].client.platform_version,
        "nvidia_smi": smi,
    }


def try_kernel(kernel: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What a kernel's own process found; the last entry is an error where it hung, or died without a word."""
    out = options.out / kernel.replace(" ", "_")
    path = out / "gpu_check.json"
    path.unlink(missing_ok=True)  # of an earlier call
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--only", kernel, "--out", str(out)]
    command += ["--device", options.device] + (["--tiny"] if options.tiny else [])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=KERNEL_SECONDS)
        died = done.returncode not in (0, 1)  # 1: it has found something wrong, and says so in its results
        error = f"exit code {done.returncode}: {done.stderr.strip()[-2000:]}" if died else None
    except subprocess.TimeoutExpired as late:
        said = late.stderr.decode(errors="replace").strip()[-2000:] if isinstance(late.stderr, bytes) else ""
        error = f"did not end within {KERNEL_SECONDS} seconds: {said}"
    found = json.loads(path.read_text())["results"] if path.exists() else []
    return found + ([{"name": kernel, "kind": "correct", "error": error}] if error else [])


def right_near(about: dict[str, Any], tried: list[dict[str, Any]]) -> bool:
    """Whether the kernels were right at the smallest hidden size compared that is as large, in the same precision.

    These decide which kernel runs; one that hangs or faults at a size leaves no result there.
    """
    single = about["dtype"] == "float32"
    alike = [result for result in tried if "shape" in result and (result["dtype"] == "float32") == single]
    larger = [result for result in alike if result["shape"][-1] >= about["hidden"]]
    nearest = min((result["shape"][-1] for result in larger), default=None)
    return any(result.get("close") for result in larger if result["shape"][-1] == nearest)


def selected(options: argparse.Namespace, tried: list[dict[str, Any]]) -> Iterator[Item]:
    """The items asked for; without `--only` our kernels, compared in `tried`, are timed where they were right."""
    for item in items(options):
        ours = item.about.get("implementation") == "pallas"
        if options.only is not None:
            if any(part in item.name for part in options.only):
                yield item
        elif not ours or (item.about["kind"] == "time" and right_near(item.about, tried)):
            yield item


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; argparse, because tyro need not be installed here."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder for gpu_check.json")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after these nothing new is begun")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help="cpu to try the script itself")
    parser.add_argument("--tiny", action="store_true", help="sizes that take no time")
    parser.add_argument("--only", nargs="+", help="what has one of these in its name: 'correct' 'pallas' 'time long'")
    parser.add_argument(
        "--cpu-vs-gpu",
        action="store_true",
        help="instead: sequences per second on both; `benchmarks.throughput` draws them",
    )
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """The exit code: 1 if something computed the wrong thing.

    Raises:
      UserError: there is no GPU, nothing has the name asked for, or nothing can be written.
    """
    start = time.perf_counter()
    use_device(options.device)
    names = [item.name for item in items(options)]
    for part in options.only or ():
        if not any(part in name for name in names):
            raise UserError(f"--only: expected a part of the name of a result, got {part!r}")
    path = options.out / "gpu_check.json"
    place(path)
    found: list[dict[str, Any]] = []
    report = {
        "machine": describe() | driver(),
        "versions": versions(),
        "options": {**vars(options), "out": str(options.out)},
        "results": found,
    }

    def keep(*results: dict[str, Any]) -> None:
        found.extend(results)
        save(report, path)
        for result in results:
            print(line_of(result), flush=True)

    keep()
    print(json.dumps({name: report[name] for name in ("machine", "versions")}), flush=True)
    everything = options.only is None and not options.cpu_vs_gpu
    tried: list[dict[str, Any]] = []
    kernels = [kernel for kernel in KERNELS if everything and any(kernel in name for name in names)]
    with ThreadPoolExecutor() as pool:  # at once: they compile for longer than they compute
        for results in pool.map(partial(try_kernel, options=options), kernels):
            keep(*results)
            tried += results
    for item in selected(options, tried):
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
        judged = "ok" if result["close"] else "WRONG" if result["steady"] else "WRONG, each time another result"
        return f"{result['name']}: values {result['values']:.1e}, gradients {result['gradients']:.1e}, {judged}"
    if result["kind"] == "epoch":
        return f"{result['name']}: {result['seconds']:.4g} s"
    return f"{result['name']}: {result['milliseconds']:.4g} ms, {result['microseconds_per_step']:.3g} us per step"


if __name__ == "__main__":
    sys.exit(exit_code(run, parse()))
