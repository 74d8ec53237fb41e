"""`python -m benchmarks`: jaxlstm beside the libraries that a user would pick instead, in one run."""

import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax

from benchmarks import compare, plots, results
from benchmarks.command import call, check_names, check_positive
from benchmarks.machine import describe, use_device
from benchmarks.measure import Job, measure
from benchmarks.memory import DoesNotFitError
from benchmarks.ours import Setting, mesh_of
from benchmarks.programs import PASSES
from benchmarks.report import console, say, show_changes, show_machine, show_shape, show_summary, show_sweeps
from benchmarks.rivals import RIVALS, Prepare, load
from benchmarks.shapes import FULL, FULL_SWEEPS, GPU_ONLY, QUICK, QUICK_SWEEPS, SHAPES, sweep_shapes
from jaxlstm.errors import UserError

ROUNDS = 30
QUICK_SECONDS = 2.0  # of timing for a pass at a shape, where --rounds does not say how many
QUICK_SWEEP_SECONDS = 0.5
QUICK_SWEEP_RIVALS = ("flax-linen", "torch", "floor")


@dataclass(frozen=True)
class Options:
    """Times jaxlstm beside other libraries; the results go to OUT as JSON and pictures."""

    full: bool = False
    """every shape, every round and wider sweeps, instead of what fits into three minutes on two cores"""
    shapes: tuple[str, ...] = ()
    """named shapes only, without the sweeps over T, B and H"""
    rivals: tuple[str, ...] = tuple(RIVALS)
    """which to measure, of those that are installed"""
    rounds: int | None = None
    """how often each has its turn; 30 by default, fewer where a quick run would take too long"""
    out: Path = Path("benchmarks/out")
    """the folder for results.json and the pictures"""
    compare: Path | None = None
    """an older results.json: prints what got slower since by more than its own spread"""
    force: bool = False
    """compare even with results from another machine"""
    implementation: str | None = None
    """of jaxlstm.lstm; its own choice by default"""
    device: Literal["cpu", "gpu"] | None = None
    """to run on; JAX's own choice by default"""
    devices: int = 1
    """over which jaxlstm splits each batch; CPU devices are made, and share the cores; the rivals run as they are"""


def jobs(options: Options) -> list[Job]:
    """What the options ask for, in order."""
    names = options.shapes or (FULL if options.full else QUICK)
    if not options.shapes and options.full and jax.default_backend() == "gpu":
        names += GPU_ONLY
    rounds = options.rounds or ROUNDS
    hurry = not options.full and options.rounds is None
    seconds = QUICK_SECONDS if hurry else math.inf
    asked = [Job(name, SHAPES[name], PASSES, options.rivals, rounds, seconds) for name in dict.fromkeys(names)]
    if not options.shapes:
        sweeps = sweep_shapes(FULL_SWEEPS if options.full else QUICK_SWEEPS)
        rivals = tuple(name for name in options.rivals if options.full or name in QUICK_SWEEP_RIVALS)
        seconds = QUICK_SWEEP_SECONDS if hurry else math.inf
        asked += [Job(name, shape, ("train",), rivals, rounds, seconds) for name, shape in sweeps.items()]
    return asked


def possible(asked: list[Job], rivals: dict[str, Prepare], devices: int) -> list[Job]:
    """The jobs with the rivals that are there; without those whose batch the devices do not divide, with a line."""
    found = []
    for job in asked:
        if job.shape.batch % devices:
            say(f"{job.name}: left out, {devices} devices do not divide its batch of {job.shape.batch}")
        else:
            found.append(replace(job, rivals=tuple(name for name in rivals if name in job.rivals)))
    return found


def older(path: Path, machine: dict[str, Any], force: bool) -> results.Results:
    """The results to compare with.

    Raises:
      UserError: they cannot be read, or are from another machine and that is not forced.
    """
    old = results.load(path)
    if difference := compare.other_machine(old["machine"], machine):
        line = f"{path} is from another machine: {difference}"
        if not force:
            raise UserError(f"--compare: {line}; --force compares all the same")
        say(f"warning: {line}")
    return old


def measure_all(
    asked: list[Job], rivals: dict[str, Prepare], setting: Setting, found: results.Results, path: Path
) -> list[str]:
    """Adds to `found` and writes it after each pass; returns the libraries that computed something else."""
    unequal: list[str] = []
    for number, job in enumerate(asked, 1):
        for which in job.passes:
            try:
                with console.status(f"{job.name}, {which} ({number} of {len(asked)})"):
                    unequal += measure(found, job, which, rivals, setting, say)
            except DoesNotFitError as error:
                say(f"{job.name}, {which}: skipped, {error}")
                break
            results.save(found, path)
        if job.name in SHAPES and job.name in measured(found):
            show_shape(found, job.name)
    return unequal


def measured(found: results.Results) -> list[str]:
    """The names of the shapes that the results hold."""
    return list(dict.fromkeys(program["shape"] for program in found["programs"]))


def show(found: results.Results, path: Path) -> None:
    """The tables over all shapes, and the pictures, which go beside the results."""
    names = measured(found)
    if sweeps := tuple(name for name in names if name not in SHAPES):
        show_sweeps(found, sweeps)
    if named := tuple(name for name in SHAPES if name in names):
        show_summary(found, named)
    for file in (path, *plots.draw(found, path.parent)):
        say(f"written: {file}")


def run(options: Options) -> int:
    """Measures; returns the exit code: 1 if a library computed something else than jaxlstm.

    Raises:
      UserError: an option that cannot be used, or results that cannot be read or written.
    """
    check_names(options, "shapes", SHAPES)
    check_names(options, "rivals", RIVALS)
    if options.rounds is not None:
        check_positive(options, "rounds")
    use_device(options.device)
    setting = Setting(options.implementation, mesh_of(options.devices))
    old = older(options.compare, describe(), options.force) if options.compare else None
    path = options.out / "results.json"
    new = results.new_results(path, "programs")
    rivals, missing = load(tuple(dict.fromkeys(options.rivals)))
    for line in missing:
        say(line)
    show_machine(new)
    asked = possible(jobs(options), rivals, options.devices)
    # A compile time is the time that compiling takes, not that of finding a compiled program.
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        code = 1 if measure_all(asked, rivals, setting, new, path) else 0
    except KeyboardInterrupt:
        say(f"interrupted: the {len(new['rows'])} rows measured so far are kept")
        code = 130
    if measured(new):
        show(new, path)
    if old is not None:
        show_changes(compare.changes(old, new))
    return code


if __name__ == "__main__":
    sys.exit(call(run, Options, "benchmarks"))
