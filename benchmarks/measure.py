"""One pass at one shape: everything compiled, checked equal, then timed in turns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.memory import DoesNotFitError, check_fits, is_out_of_memory, training_bytes
from benchmarks.ours import Setting
from benchmarks.programs import DTYPE, Problem, Program, draw_problem, relative_difference, tolerance
from benchmarks.results import Results
from benchmarks.rivals import Prepare
from benchmarks.shapes import Shape
from benchmarks.timing import in_turns, quartiles, rounded, spread

OURS = "jaxlstm"


@dataclass(frozen=True)
class Job:
    """One shape and how it is measured."""

    name: str
    shape: Shape
    passes: tuple[str, ...]
    rivals: tuple[str, ...]
    rounds: int
    most_seconds: float


def measure(
    results: Results,
    job: Job,
    which: str,
    rivals: dict[str, Prepare],
    setting: Setting,
    say: Callable[[str], None],
) -> list[str]:
    """Adds the rows and programs of one pass at one shape to `results`.

    What cannot be measured is named through `say` and left out.

    Returns:
      The libraries whose outputs were not those of jaxlstm.

    Raises:
      DoesNotFitError: the shape does not fit in memory.
    """
    check_fits(training_bytes(job.shape))
    problem = draw_problem(job.shape)
    program, expected = first_run(setting.prepare, problem, which)
    programs = {OURS: program}
    unequal: list[str] = []
    for library in job.rivals:
        try:
            program, got = first_run(rivals[library], problem, which)
        except DoesNotFitError as error:
            say(f"{job.name}, {which}: {library} left out, {error}")
            continue
        difference = 0.0 if got is None else relative_difference(got, expected)
        if not difference <= tolerance():
            say(f"{job.name}, {which}: {library} left out, its outputs differ from those of {OURS} by {difference:.1g}")
            unequal.append(library)
            continue
        programs[library] = program
    record(results, job, which, programs, setting.label)
    return unequal


def first_run(prepare: Prepare, problem: Problem, which: str) -> tuple[Program, Any]:
    """Compiles a pass and runs it once. The outputs are None for the floor, which computes none.

    Raises:
      DoesNotFitError: an allocation failed.
    """
    try:
        program = prepare(problem, which)
        result = program.run()
        return program, program.outputs and program.outputs(result)
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise DoesNotFitError("an allocation failed") from error
        raise


def record(results: Results, job: Job, which: str, programs: dict[str, Program], implementation: str) -> None:
    """Times the programs in turns and adds what came out."""
    seconds = in_turns({library: program.run for library, program in programs.items()}, job.rounds, job.most_seconds)
    for library, program in programs.items():
        milliseconds = quartiles("milliseconds", seconds[library] * 1e3)
        results["programs"].append(
            {
                "shape": job.name,
                **job.shape._asdict(),
                "library": library,
                "pass": which,
                "rounds": len(seconds[library]),
                **milliseconds,
                "first_call_milliseconds": rounded(program.first_call_seconds * 1e3),
                "temporary_bytes": program.temporary_bytes,
            }
        )
        if library == OURS:
            continue
        results["rows"].append(
            {
                "shape": job.name,
                "rival": library,
                "pass": which,
                "implementation": implementation,
                "dtype": DTYPE.name,
                "milliseconds": rounded(spread(seconds[OURS] * 1e3).median),
                "rival_milliseconds": milliseconds["milliseconds"],
                **quartiles("ratio", seconds[library] / seconds[OURS]),
                "temporary_bytes": programs[OURS].temporary_bytes,
            }
        )
