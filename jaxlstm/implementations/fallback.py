"""A kernel that nobody has named: where a transformation asks for more than it can, the scan computes instead.

A kernel can be run, and differentiated once in reverse mode. `kernel_or_scan` is a function that runs as the kernel
then, and as the scan under everything else: `vmap`, forward mode, further derivatives. It is made of four primitives,
since what a derivative is for is known only later:

| primitive | from, to | computed by | under `vmap`, and its own derivative |
|---|---|---|---|
| run | x to y | the kernel | the scan |
| save | x to y, r | the kernel, which saves r for its gradient | the scan, and an r that nobody reads |
| push | x, r, dx to dy | the derivative of the scan; transposed, it is pull | the scan |
| pull | x, r, dy to dx | the kernel's gradient | the scan |
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

Arrays = Sequence[Any]
Function = Callable[..., list]  # of flat arrays, to flat arrays


class Ways(NamedTuple):
    """Two functions of the same arrays that compute the same."""

    kernel: Function
    scan: Function
    inputs: int  # how many arrays at the beginning can be differentiated; the rest is fixed
    outputs: tuple[jax.ShapeDtypeStruct, ...]


class Gradient(NamedTuple):
    """What a kernel does for its gradient."""

    save: ClosedJaxpr  # x to y, r
    pull: ClosedJaxpr  # r, dy to dx


def kernel_or_scan(kernel: Callable[..., Any], scan: Callable[..., Any], inputs: Any, fixed: Any) -> Any:
    """kernel(inputs, fixed), or scan(inputs, fixed) where a transformation asks for it.

    Args:
      kernel: a function of two trees of arrays.
      scan: one that computes the same.
      inputs: what they can be differentiated with respect to.
      fixed: integers and booleans.
    """
    arrays, structure = jax.tree.flatten(inputs)
    others, fixed_structure = jax.tree.flatten(fixed)

    def flat(function: Callable[..., Any], *leaves: Any) -> list:
        inputs = jax.tree.unflatten(structure, leaves[: len(arrays)])
        return jax.tree.leaves(function(inputs, jax.tree.unflatten(fixed_structure, leaves[len(arrays) :])))

    outputs, output_structure = jax.tree.flatten(jax.eval_shape(scan, inputs, fixed))
    ways = Ways(partial(flat, kernel), partial(flat, scan), len(arrays), tuple(outputs))
    return jax.tree.unflatten(output_structure, _run.bind(*arrays, *others, ways=ways))


def _by_scan_forward(ways: Ways, x: Arrays, d_x: Arrays) -> list:
    """dy."""
    inputs, fixed = x[: ways.inputs], x[ways.inputs :]
    return jax.jvp(lambda *inputs: ways.scan(*inputs, *fixed), tuple(inputs), tuple(d_x))[1]


def _by_scan_backward(ways: Ways, x: Arrays, d_y: Arrays) -> list:
    """dx."""
    inputs, fixed = x[: ways.inputs], x[ways.inputs :]
    _, pull = jax.vjp(lambda *inputs: ways.scan(*inputs, *fixed), *inputs)
    return list(pull(list(d_y)))


def _gradient_of(ways: Ways, x: Arrays) -> Gradient:
    """The kernel is traced, and its gradient."""
    structures = []

    def save(*x):
        inputs, fixed = x[: ways.inputs], x[ways.inputs :]
        y, pull = jax.vjp(lambda *inputs: ways.kernel(*inputs, *fixed), *inputs)
        residuals, structure = jax.tree.flatten(pull)
        structures.append(structure)
        return [*y, *residuals]

    def pull(residuals, d_y):
        return jax.tree.unflatten(structures[0], residuals)(d_y)

    saved = jax.make_jaxpr(save)(*map(_shape, x))
    residuals = [_shape(aval) for aval in saved.out_avals[len(ways.outputs) :]]
    return Gradient(saved, jax.make_jaxpr(pull)(residuals, list(ways.outputs)))


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


# ---- run


def _run_jvp(x, d_x, *, ways):
    gradient = _gradient_of(ways, x)
    found = _save.bind(*x, ways=ways, gradient=gradient)
    y, residuals = found[: len(ways.outputs)], found[len(ways.outputs) :]
    d_inputs = map(ad.instantiate_zeros, d_x[: ways.inputs])
    return y, _push.bind(*x, *residuals, *d_inputs, ways=ways, gradient=gradient)


def _run_batch(x, axes, *, ways):
    y = jax.vmap(ways.scan, axes)(*x)
    return y, [0] * len(y)


# ---- save


def _save_jvp(x, d_x, *, ways, gradient):
    found = _save.bind(*x, ways=ways, gradient=gradient)
    d_y = _by_scan_forward(ways, x, [ad.instantiate_zeros(each) for each in d_x[: ways.inputs]])
    # What is computed from the residuals is differentiated with respect to x instead.
    return found, [*d_y, *(ad.Zero(jax.typeof(each).to_tangent_aval()) for each in found[len(d_y) :])]


def _save_batch(x, axes, *, ways, gradient):
    y = jax.vmap(ways.scan, axes)(*x)
    residuals = gradient.save.out_avals[len(y) :]
    found = [*y, *(jnp.zeros((len(y[0]), *aval.shape), aval.dtype) for aval in residuals)]
    return found, [0] * len(found)


# ---- push and pull: what comes last moves, dx or dy


def _known_and_moved(arrays: Arrays, gradient: Gradient, moved: int) -> tuple[Arrays, Arrays]:
    """x without the residuals, and what comes last."""
    return arrays[: len(gradient.save.in_avals)], arrays[len(arrays) - moved :]


def _pushed(*arrays, ways, gradient):
    return _by_scan_forward(ways, *_known_and_moved(arrays, gradient, ways.inputs))


def _pulled(*arrays, ways, gradient):
    return jaxpr_as_fun(gradient.pull)(*arrays[len(gradient.save.in_avals) :])


def _push_transpose(d_y, *arrays, ways, gradient):
    known = arrays[: len(arrays) - ways.inputs]
    return [None] * len(known) + _pull.bind(*known, *map(ad.instantiate_zeros, d_y), ways=ways, gradient=gradient)


def _moving_jvp(primitive, by_scan, moved, arrays, tangents, *, ways, gradient):
    x, last = _known_and_moved(arrays, gradient, moved(ways))
    tangents = [ad.instantiate_zeros(each) for each in tangents]
    d_x, d_last = _known_and_moved(tangents, gradient, moved(ways))
    inputs, fixed = x[: ways.inputs], x[ways.inputs :]
    _, d_found = jax.jvp(
        lambda inputs, last: by_scan(ways, [*inputs, *fixed], last),
        (list(inputs), list(last)),
        (list(d_x[: ways.inputs]), list(d_last)),
    )
    return primitive.bind(*arrays, ways=ways, gradient=gradient), d_found


def _moving_batch(by_scan, moved, arrays, axes, *, ways, gradient):
    given, where = (_known_and_moved(each, gradient, moved(ways)) for each in (arrays, axes))
    found = jax.vmap(partial(by_scan, ways), tuple(map(list, where)))(*map(list, given))
    return found, [0] * len(found)


# ---- the primitives


def _primitive(name: str, function: Any, shapes: Any) -> Any:
    """Computed by function(*arrays, **settings); shapes(**settings) are those of its results."""
    primitive = Primitive(f"kernel_{name}")
    primitive.multiple_results = True
    primitive.def_impl(function)
    primitive.def_abstract_eval(
        lambda *_, **settings: [jax.core.ShapedArray(each.shape, each.dtype) for each in shapes(**settings)]
    )
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=True))
    return primitive


_run = _primitive("run", lambda *x, ways: ways.kernel(*x), lambda ways: ways.outputs)
_save = _primitive(
    "save", lambda *x, ways, gradient: jaxpr_as_fun(gradient.save)(*x), lambda ways, gradient: gradient.save.out_avals
)
_push = _primitive("push", _pushed, lambda ways, gradient: ways.outputs)
_pull = _primitive("pull", _pulled, lambda ways, gradient: gradient.pull.out_avals)

ad.primitive_jvps[_run], batching.primitive_batchers[_run] = _run_jvp, _run_batch
ad.primitive_jvps[_save], batching.primitive_batchers[_save] = _save_jvp, _save_batch
ad.primitive_transposes[_push] = _push_transpose
for _each, _by_scan, _moved in (
    (_push, _by_scan_forward, lambda ways: ways.inputs),
    (_pull, _by_scan_backward, lambda ways: len(ways.outputs)),
):
    ad.primitive_jvps[_each] = partial(_moving_jvp, _each, _by_scan, _moved)
    batching.primitive_batchers[_each] = partial(_moving_batch, _by_scan, _moved)
