"""What the tests of the benchmarks share: a small shape, a library or a skip, results made up, a command run."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

pytest.importorskip("psutil", reason="the benchmarks read the free memory with psutil, from the extra bench")

from benchmarks import results, rivals
from benchmarks.ours import Setting
from benchmarks.shapes import Shape

ROOT = Path(__file__).parent.parent
SMALL = Shape(3, 7, 5, 6)


def prepare_of(name):
    found, missing = rivals.load((name,))
    if missing:
        pytest.skip(missing[0])
    return found[name]


def made_up_row(**changes):
    row = dict.fromkeys(results.ROW, "") | {"shape": "echo", "rival": "torch", "pass": "train", "dtype": "float32"}
    return (
        row
        | {"milliseconds": 2.0, "rival_milliseconds": 3.0, "ratio": 1.5, "ratio_low": 1.4, "ratio_high": 1.6}
        | changes
    )


def made_up_results(rows=(), entries=(), **machine):
    described = {"processor": "A", "cores": 2, "device": "cpu", "devices": 1, "date": "2026-01-02", **machine}
    return {"machine": described, "versions": {}, "rows": list(rows), "programs": list(entries)}


def stand_in(scale=1.0, gradient_scale=1.0):
    """A rival that is jaxlstm, but for a factor."""

    def prepare(problem, which):
        program = Setting().prepare(problem, which)

        def outputs(result):
            ys, *gradients = jax.tree.leaves(program.outputs(result))
            return jax.tree.unflatten(
                jax.tree.structure(program.outputs(result)),
                [scale * ys, *(gradient_scale * gradient for gradient in gradients)],
            )

        return program._replace(outputs=outputs)

    return prepare


def call(*arguments, module="benchmarks"):
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr
