"""`python -m benchmarks.gpu_compile`: what a GPU would be asked to do, found by compiling for an H100 without one.

For each pass that `gpu_check` times, the launches in a turn of each loop over time: a loop whose steps are small takes
about as long as they do, whatever they compute. "product" is a kernel with a matrix product, "kernel" any other, "copy"
one that moves memory alone; the "counter" of the loop is a kernel as well and is counted in. The condition is listed
apart: where it is known how often a loop turns, the device need not be asked. Beside them the launches of a whole call
and its temporary bytes, and for a kernel of Pallas what ptxas says of each: registers and spilled bytes. The shared
memory of such a kernel is reserved when it is launched, and ptxas does not know it.

It needs JAX's CUDA plugin, ptxas and libdevice, but neither a driver nor the libraries of CUDA:

    pip install --no-deps jax-cuda13-plugin==VERSION jax-cuda13-pjrt==VERSION     with the VERSION of jax
    pip install nvidia-cuda-nvcc nvidia-nvvm                                      or --cuda DIR, a toolkit that is there

It is no measurement. Nothing is tuned without a device, and cuBLAS cannot be asked: every product is a kernel of
Triton's with a default tiling, one that splits a long sum is followed by a kernel that adds the parts. On a GPU XLA may
choose otherwise.
"""

import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from benchmarks.command import call, check_names
from benchmarks.gpu_hlo import Loop, read
from benchmarks.gpu_programs import Case, program
from benchmarks.machine import describe, installed, versions
from benchmarks.memory import temporary_bytes
from benchmarks.programs import PASSES
from benchmarks.results import place, save
from benchmarks.shapes import SHAPES, TINY, Shape
from jaxlstm.errors import UserError
from jaxlstm.implementations import deciding_for

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84929347584
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 13 minor: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclass(frozen=True)
class Options:
    """What a GPU would be asked to do, by compiling for an H100 without one; the results go to OUT as JSON."""

    shapes: tuple[str, ...] = ("sentiment", "medium", "long", "large")
    """named shapes"""
    tiny: bool = False
    """a size that takes no time, in place of the shapes"""
    only: str = ""
    """what has this in its name, such as 'pallas' or 'train jaxlstm'"""
    cuda: Path | None = None
    """the folder of a CUDA toolkit, for ptxas and libdevice"""
    out: Path = Path("benchmarks/out/gpu_compile.json")
    """the file for the results"""


class Kernel(NamedTuple):
    """What ptxas says of one kernel."""

    registers: int  # of a thread
    spilled_bytes: int


def cases(shapes: dict[str, Shape]) -> Iterator[Case]:
    """Every implementation that can be compiled without a GPU, and Flax where it is installed."""
    for name, shape in shapes.items():
        for which in PASSES:
            case = partial(Case, name, shape, which)
            yield case("jaxlstm", "scan", "float32")
            yield case("jaxlstm", "scan", "bfloat16")
            yield case("jaxlstm", "pallas", "bfloat16")
            if installed("flax"):
                yield case("flax", "nn.RNN", "float32")


@cache
def h100() -> Any:
    """A device that is not there."""
    jax.devices("cpu")  # finds the plugins
    return topologies.get_topology_desc("h100", platform="cuda", topology="1x1x1", target_config=H100).devices[0]


def compiled_for_h100(function: Callable[..., Any], arguments: Any, cuda: Path | None = None) -> Any:
    """What becomes of a function of arrays of these shapes and dtypes."""
    options: dict[str, Any] = {"xla_gpu_autotune_level": 0}
    if cuda is not None:
        options["xla_gpu_cuda_data_dir"] = str(cuda)
    sharding = SingleDeviceSharding(h100())
    described = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), arguments)
    return jax.jit(function).lower(*described).compile(compiler_options=options)


def compiled(case: Case, cuda: Path | None) -> dict[str, Any]:
    """What becomes of a pass, or why it cannot be compiled."""
    try:
        with deciding_for("cuda"), said() as lines:
            executable = compiled_for_h100(*program(case), cuda)
    except Exception as error:  # a refusal, or a library that does not compile: the others go on
        return {"error": f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"}
    launches = read(executable.as_text() or "")
    return {
        "loops": [about(loop) for loop in launches.loops],
        "launches_of_a_call": launches.total,
        "temporary_bytes": temporary_bytes(executable),
        "kernels": [kernel._asdict() for kernel in kernels("".join(lines))],
    }


def about(loop: Loop) -> dict[str, Any]:
    """A loop as the result file describes it."""
    counts = Counter(launch.kind for launch in loop.launches)
    return {
        "direction": "backward" if "transpose" in loop.op_name else "forward",
        "turns": loop.turns,
        "launches": dict(counts),
        "launches_in_a_turn": len(loop.launches),
        "launches_of_the_condition": len(loop.condition),
        "names": [launch.name for launch in loop.launches],
    }


@contextmanager
def said() -> Iterator[list[str]]:
    """What is written to stdout and stderr within, by libraries in C++ too."""
    found: list[str] = []
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as file:
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield found
        finally:
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
            file.seek(0)
            found.append(file.read().decode(errors="replace"))


def kernels(said: str) -> list[Kernel]:
    """From the lines of ptxas about each kernel."""
    blocks = said.split("Compiling entry function")[1:]
    found = []
    for block in blocks:
        registers, spilled = re.search(r"Used (\d+) registers", block), re.search(r"(\d+) bytes spill stores", block)
        if registers and spilled:
            found.append(Kernel(int(registers[1]), int(spilled[1])))
    return found


def line_of(case: Case, result: dict[str, Any]) -> str:
    """A result as a row: launches in a turn, by loop; of a step and of a call; temporary memory; kernels."""
    name = f"{case.shape_name:<10} {case.which:<8} {case.library:<8} {case.implementation:<7} {case.dtype:<9}"
    if "error" in result:
        return f"{name} {result['error'][:120]}"
    loops = "; ".join(
        f"{loop['direction']} {loop['launches_in_a_turn']} in each of {loop['turns']} turns ("
        + ", ".join(f"{count} {kind}" for kind, count in loop["launches"].items())
        + ")"
        for loop in result["loops"]
    )
    total = result["launches_of_a_call"]
    whole = "" if total is None else f"{total / case.shape.steps:6.2f} a step, {total:6} in all,"
    registers = ", ".join(
        f"{kernel['registers']} registers, {kernel['spilled_bytes']} bytes spilled" for kernel in result["kernels"]
    )
    return f"{name} {whole} {(result['temporary_bytes'] or 0) / 1e6:7.1f} MB  {loops or registers}"


def obstacle() -> str | None:
    """Why nothing can be compiled here, and what to install."""
    if any(installed(f"jax-cuda{version}-plugin") and installed(f"jax-cuda{version}-pjrt") for version in (12, 13)):
        return None
    packages = " ".join(f"jax-cuda13-{part}=={jax.__version__}" for part in ("plugin", "pjrt"))
    return f"JAX's CUDA plugin is not installed: pip install --no-deps {packages} nvidia-cuda-nvcc nvidia-nvvm"


def run(options: Options) -> None:
    """Compiles, and writes the file after each pass.

    Raises:
      UserError: an option that cannot be used, or nothing to compile with.
    """
    check_names(options, "shapes", SHAPES)
    if reason := obstacle():
        raise UserError(reason)
    place(options.out)
    os.environ["MOSAIC_GPU_DUMP_PTXAS"] = "1"  # so that ptxas speaks
    jax.config.update("jax_platforms", "cpu")  # else JAX looks for the device
    found: list[dict[str, Any]] = []
    results = {"machine": describe(), "target": "NVIDIA H100", "versions": versions(), "results": found}
    for case in cases({"tiny": TINY} if options.tiny else {name: SHAPES[name] for name in options.shapes}):
        if options.only in case.name:
            result = compiled(case, options.cuda)
            found.append({"name": case.name} | case.about() | result)
            print(line_of(case, result), flush=True)
            save(results, options.out)
    print(f"written: {options.out}")


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks.gpu_compile"))
