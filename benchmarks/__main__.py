"""`python -m benchmarks`: jaxlstm beside the libraries that a user would pick instead, in one run."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro
from jax.sharding import Mesh

from benchmarks import compare, plots, results
from benchmarks.measure import measure
from benchmarks.memory import DoesNotFitError
from benchmarks.ours import Setting
from benchmarks.programs import PASSES
from benchmarks.report import console, say, show_changes, show_machine, show_shape, show_summary, show_sweeps
from benchmarks.rivals import RIVALS, load
from benchmarks.shapes import FULL, FULL_SWEEPS, GPU_ONLY, QUICK, QUICK_SWEEPS, SHAPES, Shape, sweep_shapes
from jaxlstm import parallel

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


class BadOptionError(Exception):
    """Something to put right on the command line; its text is one line."""


@dataclass(frozen=True)
class Job:
    """One shape and how it is measured."""

    name: str
    shape: Shape
    passes: tuple[str, ...]
    rivals: tuple[str, ...]
    most_seconds: float


def jobs(options: Options) -> list[Job]:
    """What the options ask for, in order.

    Raises:
      BadOptionError: a name that is not known.
    """
    for given, known, what in ((options.shapes, SHAPES, "--shapes"), (options.rivals, RIVALS, "--rivals")):
        for name in given:
            if name not in known:
                raise BadOptionError(f"{what}: expected some of {', '.join(known)}, got {name}")
    if options.rounds is not None and options.rounds < 1:
        raise BadOptionError(f"--rounds: expected at least 1, got {options.rounds}")
    names = options.shapes or (FULL if options.full else QUICK)
    if not options.shapes and options.full and jax.default_backend() == "gpu":
        names += GPU_ONLY
    hurry = not options.full and options.rounds is None
    asked = [
        Job(name, SHAPES[name], PASSES, options.rivals, QUICK_SECONDS if hurry else math.inf)
        for name in dict.fromkeys(names)
    ]
    if not options.shapes:
        sweeps = sweep_shapes(FULL_SWEEPS if options.full else QUICK_SWEEPS)
        rivals = tuple(name for name in options.rivals if options.full or name in QUICK_SWEEP_RIVALS)
        seconds = QUICK_SWEEP_SECONDS if hurry else math.inf
        asked += [Job(name, shape, ("train",), rivals, seconds) for name, shape in sweeps.items()]
    return asked


def mesh_of(options: Options) -> Mesh | None:
    """The devices for jaxlstm; made here, before JAX is first used. None for a single one.

    Raises:
      BadOptionError: fewer than one, or more than there are.
    """
    try:
        return None if options.devices == 1 else parallel.make_mesh(options.devices)
    except ValueError as error:
        raise BadOptionError(f"--{error}") from None


def use_device(device: str | None) -> None:
    """Has JAX compute on the kind of device that is asked for.

    Raises:
      BadOptionError: JAX finds no GPU.
    """
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif device == "gpu" and jax.default_backend() != "gpu":
        raise BadOptionError(f"--device gpu: JAX finds no GPU, its device is {jax.devices()[0].device_kind}")


def run(options: Options) -> int:
    """Measures; returns the exit code: 1 if a library computed something else than jaxlstm.

    Raises:
      BadOptionError: an option that cannot be used.
      results.ResultsError: the older results cannot be read.
    """
    use_device(options.device)
    # A compile time is the time that compiling takes, not that of finding a compiled program.
    jax.config.update("jax_enable_compilation_cache", False)
    asked = jobs(options)
    setting = Setting(options.implementation, mesh_of(options))
    old = None if options.compare is None else results.load(options.compare)
    new = results.new_results()
    if old is not None and (difference := compare.other_machine(old["machine"], new["machine"])):
        line = f"{options.compare} is from another machine: {difference}"
        if not options.force:
            raise BadOptionError(f"--compare: {line}; --force compares all the same")
        say(f"warning: {line}")
    rivals, missing = load(tuple(dict.fromkeys(options.rivals)))
    for line in missing:
        say(line)
    show_machine(new)
    for job in [job for job in asked if job.shape.batch % options.devices]:
        say(f"{job.name}: left out, {options.devices} devices do not divide its batch of {job.shape.batch}")
        asked.remove(job)
    path = options.out / "results.json"
    unequal: list[str] = []
    measured: list[str] = []
    code = 0
    try:
        for number, job in enumerate(asked, 1):
            for which in job.passes:
                try:
                    with console.status(f"{job.name}, {which} ({number} of {len(asked)})"):
                        unequal += measure(
                            new,
                            job.name,
                            job.shape,
                            which,
                            {name: prepare for name, prepare in rivals.items() if name in job.rivals},
                            rounds=options.rounds or ROUNDS,
                            most_seconds=job.most_seconds,
                            setting=setting,
                            say=say,
                        )
                except DoesNotFitError as error:
                    say(f"{job.name}, {which}: skipped, {error}")
                    break
                results.save(new, path)
                measured.append(job.name)
            if job.name in SHAPES and job.name in measured:
                show_shape(new, job.name)
    except KeyboardInterrupt:
        say(f"interrupted: the {len(new['rows'])} rows measured so far are kept")
        code = 130
    if sweeps := tuple(name for name in measured if name not in SHAPES):
        show_sweeps(new, sweeps)
    if named := tuple(name for name in SHAPES if name in measured):
        show_summary(new, named)
    if measured:
        for file in (path, *plots.draw(new, options.out)):
            say(f"written: {file}")
    if old is not None:
        show_changes(compare.changes(old, new))
    return code or (1 if unequal else 0)


def main() -> int:
    """The command line."""
    options = tyro.cli(Annotated[Options, tyro.conf.FlagCreatePairsOff], prog="python -m benchmarks")
    try:
        return run(options)
    except (BadOptionError, results.ResultsError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
