"""jaxlstm itself, through the same door as its rivals."""

import contextlib
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from benchmarks.programs import Adapter, Problem, Program, compile_jax
from jaxlstm import lstm, parallel, which_implementation
from jaxlstm.errors import UserError


def mesh_of(devices: int) -> Mesh | None:
    """So many devices for `lstm`, or None for a single one; before JAX is first used it makes CPU devices.

    Raises:
      UserError: fewer than one, or more than there are.
    """
    try:
        return None if devices == 1 else parallel.make_mesh(devices)
    except ValueError as error:
        raise UserError(f"--{error}") from None


class Setting(NamedTuple):
    """How `lstm` runs."""

    implementation: str | None = None  # its own choice by default
    mesh: Mesh | None = None  # the batch is split over its devices, as `fit` does it

    @property
    def label(self) -> str:
        """For the column "implementation" of the results."""
        devices = f", {self.mesh.size} devices" if self.mesh is not None else ""
        return (self.implementation or "default") + devices

    def prepare(self, problem: Problem, which: str) -> Program:
        """One pass of `lstm`, compiled; with a mesh, weights and data lie on its devices before.

        Raises:
          UserError: the implementation cannot run here.
          ValueError: the devices do not divide the batch.
        """

        def apply(params, xs):
            return lstm(params, xs, implementation=self.implementation)[1]

        params = parallel.replicate(problem.params, self.mesh)
        xs, d_ys = parallel.feed((problem.xs, problem.d_ys), self.mesh)
        with contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh):
            try:
                which_implementation(params, xs, implementation=self.implementation)
            except ValueError as error:
                raise UserError(f"--{error}") from None
            program = compile_jax(Adapter(lambda params: params, apply), Problem(params, xs, d_ys), which)
        if self.mesh is not None and program.temporary_bytes is not None:  # XLA says it for one device
            program = program._replace(temporary_bytes=self.mesh.size * program.temporary_bytes)
        return program
