"""The loop over time of any cell, with the gradients of its recurrent weights taken after the loop.

A naive scan carries the gradient of every weight through each backward step. Here the derivative is a
`custom_jvp` rule, as that of `jaxlstm.recurrence` is, made from the step itself: JAX linearises the loop with
respect to the state, the inputs and a probe added to each `recurrent_product` of a step. The tangent of a weight
W enters through the probes, x_t dW for all steps at once, outside of the loop, and so does that of what is added to
the product, the projected input and the bias. JAX transposes that into a thin reverse scan that emits the gradients
of the probes, followed by one product for each weight gradient. Other parameters of the step, gains and peepholes
say, are carried; they are small.

On a CPU the pass without a derivative may bring each step its inputs a step ahead (`Cell.ahead`). XLA reads them
within the loops over units that use them; one that uses two gates cut from the same array reads the counter of steps
anew for each unit, so that LLVM does not vectorise it. Brought ahead they are an array of their own. Measured: at
(32, 80, 128, 128) the GRU takes 0.45 times as long, at (64, 128, 256, 256) 0.73 times. With a derivative each gate is
a loop by itself.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from jaxlstm.products import Tape, columns_of, multiply_steps, taped, total

Step = Callable[[Any, Any, Any], tuple[Any, Array]]  # (constants, state, inputs of one step) -> (state, y)


# What the backward pass computes once more, from what it needs in any case: cheap, and one pass over the gates with
# what comes next. Without it a training step of the LSTM at (32, 80, 128, 128) keeps 15 arrays [T, B, H], with it 6;
# beyond 32 MiB glibc maps memory anew at each call, a page fault for each 4 kB: 18 of 61 ms for the sLSTM there.
_COMPUTED_TWICE = {
    "abs", "add", "add_any", "and", "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "div",
    "eq", "ge", "gt", "integer_pow", "le", "lt", "max", "min", "mul", "ne", "neg", "not", "or", "reshape",
    "select_n", "sign", "slice", "split", "square", "squeeze", "sub", "transpose",
}  # fmt: skip


def _is_kept(primitive: Any, *_: Any, **__: Any) -> bool:
    """A policy for `jax.checkpoint`: products, sums and transcendental functions are kept."""
    return primitive.name not in _COMPUTED_TWICE


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def loop(
    step: Step, reverse: bool, unroll: int, ahead: bool, constants: Any, state: Any, inputs: Any
) -> tuple[Any, Array]:
    """`jax.lax.scan` of step(constants, ...) over inputs [T, B, ...] -> the last state and ys [T, B, ...]."""
    step = partial(step, constants)
    if not jax.tree.leaves(inputs):
        raise ValueError("cell.project: expected an array with an entry for each step, got none")
    steps = jax.tree.leaves(inputs)[0].shape[0]
    if not (ahead and isinstance(steps, int) and steps > unroll):
        return jax.lax.scan(step, state, inputs, reverse=reverse, unroll=unroll)

    def with_the_next(carry, t):
        state, here = carry
        there = t - 1 if reverse else t + 1  # beyond the end it is another step's, which nobody uses
        brought = jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, there, keepdims=False), inputs)
        state, y = step(state, here)
        return (state, brought), y

    first = jax.tree.map(lambda leaf: leaf[-1 if reverse else 0], inputs)
    (state, _), ys = jax.lax.scan(with_the_next, (state, first), jnp.arange(steps), reverse=reverse, unroll=unroll)
    return state, ys


@partial(loop.defjvp, symbolic_zeros=True)
def _loop_jvp(step, reverse, unroll, _, primals, tangents):
    # The leaves of constants, state and inputs, in this order, and the numbers of those that have a tangent.
    structure: Any
    leaves, structure = jax.tree.flatten(primals)
    d_leaves = structure.flatten_up_to(tangents)
    differentiated = [n for n, tangent in enumerate(d_leaves) if not isinstance(tangent, SymbolicZero)]
    end_of_constants = len(jax.tree.leaves(primals[0]))
    end_of_state = len(leaves) - len(jax.tree.leaves(primals[2]))
    weights = [n for n in range(end_of_constants) if leaves[n].ndim > 1]
    columns = [columns_of(leaves[n]) for n in weights]

    def step_taped(probes, fixed, constants, state, inputs):
        """One step. `fixed` is the inputs again, held constant by `jax.linearize`: their tangents enter by probes."""
        own = jax.tree.leaves((constants, state, inputs))
        constant = [*leaves[:end_of_state], *jax.tree.leaves(fixed)]
        addends = {id(own[n]): (n, constant[n]) for n in differentiated if not end_of_constants <= n < end_of_state}
        tape = Tape([own[n] for n in weights], [leaves[n] for n in weights], columns, addends, probes)
        with taped(tape):
            state, y = step(constants, state, inputs)
        return state, y, tape

    # For each product of a step: which weight, what is added to it, and what comes out.
    found: list[tuple[int, list[int], Any]] = []

    def first(constants, state, inputs):
        # Zeros instead of the first step's inputs: where T is 0 there is no first step.
        inputs = jax.tree.map(lambda leaf: jax.lax.full_like(leaf, 0, shape=leaf.shape[1:]), inputs)
        tape = step_taped(None, inputs, constants, state, inputs)[2]
        found.extend(zip(tape.used, tape.added, map(jax.typeof, tape.outputs), strict=True))

    jax.eval_shape(first, *primals)
    like = jax.tree.leaves(primals[2])[0]  # different on each device, where devices run the loop by themselves

    def run(values, probes):
        constants, state, inputs = structure.unflatten(_with(leaves, differentiated, values))

        @partial(jax.checkpoint, prevent_cse=False, policy=_is_kept)
        def body(state, over_steps):
            inputs, probes, fixed = over_steps
            state, y, tape = step_taped(probes, fixed, constants, state, inputs)
            return state, (y, tape.inputs)

        state, (ys, xs) = jax.lax.scan(body, state, (inputs, probes, primals[2]), reverse=reverse, unroll=unroll)
        return (state, ys), xs

    probes = [jax.lax.full_like(like, 0, y.dtype, (like.shape[0], *y.shape)) for *_, y in found]
    out, pushforward, xs = jax.linearize(run, [leaves[n] for n in differentiated], probes, has_aux=True)

    def entering(weight: int, added: list[int], probe: Array, x: Array) -> Array:
        d_w = d_leaves[weights[weight]]
        d_y = probe if isinstance(d_w, SymbolicZero) else multiply_steps(x, d_w)
        return total(d_y, *(d_leaves[n] for n in added))

    d_probes = [entering(n, added, *rest) for (n, added, _), *rest in zip(found, probes, xs, strict=True)]
    return out, pushforward([d_leaves[n] for n in differentiated], d_probes)


def _with(leaves: list[Array], indices: list[int], values: list[Array]) -> list[Array]:
    """The leaves with others at some indices."""
    leaves = list(leaves)
    for n, value in zip(indices, values, strict=True):
        leaves[n] = value
    return leaves
