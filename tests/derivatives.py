"""Derivatives of an LSTM by all it is given, compiled: cases that differ in their masks alone share a program."""

from functools import partial

import jax
import jax.numpy as jnp
import naive
import numpy as np
from cases import ACTIVATIONS, Case
from problem import Problem

from jaxlstm import lstm
from jaxlstm.implementations import deciding_for


def lstm_of_a_gpu(*arguments, **options):
    """`lstm` as it walks on a GPU: the same equations in another order, which a CPU can follow as well."""
    with deciding_for("cuda"):
        return lstm(*arguments, **options)


def masking(run, case: Case) -> dict:
    """What of the case is traced. The naive scan always gets a mask: one program for all of its cases."""
    if run is naive.lstm:
        return {"mask": case.valid_steps()}
    return {name: value for name in ("lengths", "mask") if (value := getattr(case, name)) is not None}


def outputs(run, case: Case, masking: dict, problem: Problem, **more):
    """The final state and the outputs, as a function of all that one can differentiate by."""
    return run(
        *problem[:3],
        **masking,
        reverse=case.reverse,
        activation=ACTIVATIONS[case.activation][0],
        h_scale=problem.h_scale if case.scaled else None,
        **more,
    )


def pull_back(run, case: Case, problem: Problem, cotangents, **more) -> Problem:
    """Reverse mode: the gradient of the outputs, each entry weighted by its cotangent."""
    static = case._replace(lengths=None, mask=None)  # hashable
    return _pull_back(run, static, masking(run, case), problem, cotangents, tuple(more.items()))


def push_forward(run, case: Case, problem: Problem, tangents: Problem, **more):
    """Forward mode: the outputs, and how they move as the problem moves along its tangents."""
    static = case._replace(lengths=None, mask=None)
    return _push_forward(run, static, masking(run, case), problem, tangents, tuple(more.items()))


@partial(jax.jit, static_argnums=(0, 1, 5))
def _pull_back(run, case, masking, problem, cotangents, more):
    _, vjp = jax.vjp(lambda problem: outputs(run, case, masking, problem, **dict(more)), problem)
    return vjp(cotangents)[0]


@partial(jax.jit, static_argnums=(0, 1, 5))
def _push_forward(run, case, masking, problem, tangents, more):
    return jax.jvp(lambda problem: outputs(run, case, masking, problem, **dict(more)), (problem,), (tangents,))


def everything(run, problem, tangents):
    """What run(problem) gives, its movement along the tangents, the gradient of its squares, and how that one moves."""

    def loss(problem):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(run(problem)))

    return jax.jvp(run, (problem,), (tangents,)), jax.jvp(jax.grad(loss), (problem,), (tangents,))


def draw_cotangents(problem: Problem, seed: int = 1):
    """Normal weights for every output of a problem, in the dtypes of the outputs."""
    rng = np.random.default_rng(seed)
    ys_shape = (*problem.xs.shape[:-1], problem.h_scale.shape[-1])
    state = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), leaf.dtype), problem.state)
    return state, jnp.asarray(rng.standard_normal(ys_shape), problem.xs.dtype)
