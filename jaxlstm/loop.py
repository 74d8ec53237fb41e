"""The loop over time of any cell, with the gradients of its recurrent weights taken after the loop.

A naive scan carries the gradient of every weight through each backward step. Here the derivative is a
`custom_jvp` rule, as that of `jaxlstm.recurrence` is, made from the step itself: JAX linearises the loop with
respect to the state, the inputs and a probe added to each `recurrent_product` of a step. The tangent of a weight
W enters through the probes, x_t dW for all steps at once, outside of the loop. JAX transposes that into a thin
reverse scan that emits the gradients of the probes, followed by one product for each weight gradient. Other
parameters of the step, gains and peepholes say, are carried; they are small.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array
from jax.custom_derivatives import SymbolicZero

from jaxlstm.products import Tape, columns_of, multiply_steps, taped

Step = Callable[[Any, Any, Any], tuple[Any, Array]]  # (constants, state, inputs of one step) -> (state, y)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def loop(step: Step, reverse: bool, unroll: int, constants: Any, state: Any, inputs: Any) -> tuple[Any, Array]:
    """`jax.lax.scan` of step(constants, ...) over inputs [T, B, ...] -> the last state and ys [T, B, ...]."""
    return jax.lax.scan(partial(step, constants), state, inputs, reverse=reverse, unroll=unroll)


@partial(loop.defjvp, symbolic_zeros=True)
def _loop_jvp(step, reverse, unroll, primals, tangents):
    # What has a tangent: lists of arrays, in place of the pytrees.
    structure: Any
    leaves, structure = jax.tree.flatten(primals)
    d_leaves = structure.flatten_up_to(tangents)
    moving = [n for n, tangent in enumerate(d_leaves) if not isinstance(tangent, SymbolicZero)]
    weights = [n for n in range(len(jax.tree.leaves(primals[0]))) if leaves[n].ndim > 1]
    columns = [columns_of(leaves[n]) for n in weights]

    def step_taped(probes, constants, state, inputs):
        constant_leaves = jax.tree.leaves(constants)
        tape = Tape([constant_leaves[n] for n in weights], [leaves[n] for n in weights], columns, probes)
        with taped(tape):
            state, y = step(constants, state, inputs)
        return state, y, tape

    found: list[tuple[int, Any]] = []  # for each product of a step: which weight, and what comes out, of one step

    def first(constants, state, inputs):
        tape = step_taped(None, constants, state, jax.tree.map(lambda leaf: leaf[0], inputs))[2]
        found.extend(zip(tape.used, map(jax.typeof, tape.outputs), strict=True))

    jax.eval_shape(first, *primals)
    like = jax.tree.leaves(primals[2])[0]  # different on each device, where devices run the loop by themselves

    def run(moved, probes):
        constants, state, inputs = structure.unflatten(_with(leaves, moving, moved))

        def body(state, over_steps):
            inputs, probes = over_steps
            state, y, tape = step_taped(probes, constants, state, inputs)
            return state, (y, tape.inputs)

        state, (ys, xs) = jax.lax.scan(body, state, (inputs, probes), reverse=reverse, unroll=unroll)
        return (state, ys), xs

    probes = [jax.lax.full_like(like, 0, y.dtype, (like.shape[0], *y.shape)) for _, y in found]
    out, move, xs = jax.linearize(run, [leaves[n] for n in moving], probes, has_aux=True)
    d_probes = [
        probe if isinstance(d_leaves[weights[n]], SymbolicZero) else multiply_steps(x, d_leaves[weights[n]])
        for (n, _), probe, x in zip(found, probes, xs, strict=True)
    ]
    return out, move([d_leaves[n] for n in moving], d_probes)


def _with(leaves: list[Array], indices: list[int], values: list[Array]) -> list[Array]:
    """The leaves with others at some indices."""
    leaves = list(leaves)
    for n, value in zip(indices, values, strict=True):
        leaves[n] = value
    return leaves
