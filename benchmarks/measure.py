"""One pass at one shape: everything compiled, checked equal, then timed in turns."""

from collections.abc import Callable
from typing import Any

import jax

from benchmarks.memory import DoesNotFitError, check_fits, is_out_of_memory, training_bytes
from benchmarks.ours import Setting
from benchmarks.programs import DTYPE, Problem, Program, draw_problem, relative_difference
from benchmarks.results import Results
from benchmarks.rivals import Prepare
from benchmarks.shapes import Shape
from benchmarks.timing import in_turns, spread

OURS = "jaxlstm"
TOLERANCE = 1e-5  # relative to the largest entry, float32
GPU_TOLERANCE = 5e-3  # where products of float32 are rounded to TensorFloat-32 by default


def measure(
    results: Results,
    name: str,
    shape: Shape,
    which: str,
    rivals: dict[str, Prepare],
    *,
    rounds: int,
    most_seconds: float,
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
    check_fits(training_bytes(shape))
    problem = draw_problem(shape)
    programs: dict[str, Program] = {}
    expected: Any = None
    unequal: list[str] = []
    libraries: dict[str, Prepare] = {OURS: setting.prepare, **rivals}
    for library, prepare in libraries.items():
        try:
            program, got = first_run(prepare, problem, which)
        except DoesNotFitError as error:
            if library == OURS:
                raise
            say(f"{name}, {which}: {library} left out, {error}")
            continue
        if library == OURS:
            expected = got
        elif got is not None:
            difference = relative_difference(got, expected)
            if not difference <= tolerance():
                say(f"{name}, {which}: {library} left out, its outputs differ from those of {OURS} by {difference:.1g}")
                unequal.append(library)
                continue
        programs[library] = program
    del expected
    record(results, name, shape, which, programs, rounds, most_seconds, setting)
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


def tolerance() -> float:
    """How far two libraries may differ here."""
    return GPU_TOLERANCE if jax.default_backend() == "gpu" else TOLERANCE


def record(
    results: Results,
    name: str,
    shape: Shape,
    which: str,
    programs: dict[str, Program],
    rounds: int,
    most_seconds: float,
    setting: Setting,
) -> None:
    """Times the programs in turns and adds what came out."""
    seconds = in_turns({library: program.run for library, program in programs.items()}, rounds, most_seconds)
    for library, program in programs.items():
        time = spread(seconds[library] * 1e3)
        results["programs"].append(
            {
                "shape": name,
                **shape._asdict(),
                "library": library,
                "pass": which,
                "rounds": len(seconds[library]),
                "milliseconds": rounded(time.median),
                "milliseconds_low": rounded(time.low),
                "milliseconds_high": rounded(time.high),
                "first_call_milliseconds": rounded(program.first_call_seconds * 1e3),
                "temporary_bytes": program.temporary_bytes,
            }
        )
        if library == OURS:
            continue
        ratio = spread(seconds[library] / seconds[OURS])
        results["rows"].append(
            {
                "shape": name,
                "rival": library,
                "pass": which,
                "implementation": setting.label,
                "dtype": DTYPE.name,
                "milliseconds": rounded(spread(seconds[OURS] * 1e3).median),
                "rival_milliseconds": rounded(time.median),
                "ratio": rounded(ratio.median),
                "ratio_low": rounded(ratio.low),
                "ratio_high": rounded(ratio.high),
                "temporary_bytes": programs[OURS].temporary_bytes,
            }
        )


def rounded(value: float) -> float:
    """Five digits, more than any timing holds."""
    return float(f"{value:.5g}")
