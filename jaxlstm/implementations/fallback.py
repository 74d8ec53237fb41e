"""A kernel that nobody has named: where more is asked for than it can do, the scan computes instead.

A kernel can be run, and differentiated once in reverse mode, by one device of the platform that it is for.
`kernel_or_scan` is a function that runs as the kernel then, and as the scan otherwise: in forward mode, for further
derivatives, under a `vmap` that is no larger call of the same kind, compiled for another platform, or for several
devices among which XLA divides the work. It is made of four primitives, since what a derivative is for, and where all
of it runs, is known only later:

| primitive | from, to | by the kernel | by the scan |
|---|---|---|---|
| run | x to y | as it is | as it is |
| save | x to y, r | with what it saves for its gradient | an r of zeros that nobody reads |
| push | x, r, dx to dy | transposed, it is pull | its derivative |
| pull | x, r, dy to dx | its gradient, from r | its gradient, from x |

Their derivatives and what they are under `vmap` come from the column by the scan, but for those of run.
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
    larger: Callable[..., list | None]  # (size, arrays, axes): what they are under `vmap`, if a call of the same kind
    platform: str  # of the kernel
    inputs: int  # how many arrays at the beginning can be differentiated; the rest is fixed
    outputs: tuple[jax.ShapeDtypeStruct, ...]

    def of_inputs(self, function: Function, x: Arrays) -> tuple[Function, Arrays]:
        """One of them as a function of what can be differentiated alone, and those of the arrays x."""
        inputs, fixed = x[: self.inputs], x[self.inputs :]
        return lambda *inputs: function(*inputs, *fixed), inputs


class Gradient(NamedTuple):
    """What a kernel does for its gradient."""

    save: ClosedJaxpr  # x to y, r
    pull: ClosedJaxpr  # r, dy to dx

    @property
    def arguments(self) -> int:
        """How many arrays x are."""
        return len(self.save.in_avals)


def kernel_or_scan(
    kernel: Callable[..., Any],
    scan: Callable[..., Any],
    larger: Callable[..., Any],
    inputs: Any,
    fixed: Any,
    platform: str,
) -> Any:
    """kernel(inputs, fixed), or scan(inputs, fixed) where a kernel is not enough.

    Args:
      kernel: a function of two trees of arrays.
      scan: one that computes the same.
      larger: what they are under `vmap`, where that is a call of the same kind, of (size, inputs, fixed, axes): arrays
        that are mapped over have that axis first, and True in `axes`, a tree (inputs, fixed). None where it is none.
      inputs: what they can be differentiated with respect to.
      fixed: integers and booleans.
      platform: that the kernel is for, as JAX names it: "cuda".
    """
    arrays, structure = jax.tree.flatten(inputs)
    others, fixed_structure = jax.tree.flatten(fixed)

    def trees(leaves: Arrays) -> tuple[Any, Any]:
        of_inputs, of_fixed = leaves[: len(arrays)], leaves[len(arrays) :]
        return jax.tree.unflatten(structure, of_inputs), jax.tree.unflatten(fixed_structure, of_fixed)

    def flat(function: Callable[..., Any], *leaves: Any) -> list:
        return jax.tree.leaves(function(*trees(leaves)))

    def flat_larger(size: int, leaves: Arrays, axes: Sequence[bool]) -> list | None:
        return jax.tree.leaves(larger(size, *trees(leaves), trees(axes))) or None

    outputs, output_structure = jax.tree.flatten(jax.eval_shape(scan, inputs, fixed))
    ways = Ways(partial(flat, kernel), partial(flat, scan), flat_larger, platform, len(arrays), tuple(outputs))
    return jax.tree.unflatten(output_structure, _run.bind(*arrays, *others, ways=ways))


def _gradient_of(ways: Ways, x: Arrays) -> Gradient:
    """The kernel is traced, and its gradient."""
    structures = []

    def save(*x):
        kernel, inputs = ways.of_inputs(ways.kernel, x)
        y, pull = jax.vjp(kernel, *inputs)
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


# ---- the two columns of the table


def _run_by_kernel(*x, ways):
    return ways.kernel(*x)


def _run_by_scan(*x, ways):
    return ways.scan(*x)


def _save_by_kernel(*x, ways, gradient):
    return jaxpr_as_fun(gradient.save)(*x)


def _save_by_scan(*x, ways, gradient):
    y = ways.scan(*x)
    return [*y, *(jnp.zeros(aval.shape, aval.dtype) for aval in gradient.save.out_avals[len(y) :])]


def _push_by_scan(*arrays, ways, gradient):
    x, d_x = arrays[: gradient.arguments], arrays[len(arrays) - ways.inputs :]
    scan, inputs = ways.of_inputs(ways.scan, x)
    return jax.jvp(scan, inputs, d_x)[1]


def _pull_by_kernel(*arrays, ways, gradient):
    return jaxpr_as_fun(gradient.pull)(*arrays[gradient.arguments :])


def _pull_by_scan(*arrays, ways, gradient):
    x, d_y = arrays[: gradient.arguments], arrays[len(arrays) - len(ways.outputs) :]
    scan, inputs = ways.of_inputs(ways.scan, x)
    _, pull = jax.vjp(scan, *inputs)
    return list(pull(list(d_y)))


# ---- what makes the primitives


def _primitive(name: str, by_kernel: Any, by_scan: Any, shapes: Any) -> Any:
    """A primitive of a row; shapes(**settings) are those of its results."""
    primitive: Any = Primitive(f"kernel_{name}")
    primitive.multiple_results = True
    primitive.def_impl(by_scan)  # under `jax.disable_jit`
    primitive.def_abstract_eval(
        lambda *_, **settings: [jax.core.ShapedArray(each.shape, each.dtype) for each in shapes(**settings)]
    )

    def lower(context, *arrays, **settings):
        function = by_kernel if _can_run(context.module_context, settings["ways"]) else by_scan
        return mlir.lower_fun(function, multiple_results=True)(context, *arrays, **settings)

    def differentiate(arrays, tangents, **settings):
        tangents = tuple(map(ad.instantiate_zeros, tangents))
        _, moved = jax.jvp(partial(by_scan, **settings), tuple(arrays), tangents)
        return primitive.bind(*arrays, **settings), moved

    def batch(arrays, axes, **settings):
        found = jax.vmap(partial(by_scan, **settings), axes)(*arrays)
        return found, [0] * len(found)

    mlir.register_lowering(primitive, lower)
    ad.primitive_jvps[primitive] = differentiate
    batching.primitive_batchers[primitive] = batch
    return primitive


def _can_run(module: Any, ways: Ways) -> bool:
    """Whether one device, of the kernel's platform, runs what is compiled."""
    devices = getattr(module.axis_context, "num_devices", None)  # that XLA divides the work among
    return tuple(module.platforms) == (ways.platform,) and devices in (None, 1)


_run = _primitive("run", _run_by_kernel, _run_by_scan, lambda ways: ways.outputs)
_save = _primitive("save", _save_by_kernel, _save_by_scan, lambda ways, gradient: gradient.save.out_avals)
_push = _primitive("push", _push_by_scan, _push_by_scan, lambda ways, gradient: ways.outputs)
_pull = _primitive("pull", _pull_by_kernel, _pull_by_scan, lambda ways, gradient: gradient.pull.out_avals)


def _run_jvp(x, d_x, *, ways):
    gradient = _gradient_of(ways, x)
    found = _save.bind(*x, ways=ways, gradient=gradient)
    y, residuals = found[: len(ways.outputs)], found[len(ways.outputs) :]
    d_inputs = map(ad.instantiate_zeros, d_x[: ways.inputs])
    return y, _push.bind(*x, *residuals, *d_inputs, ways=ways, gradient=gradient)


def _run_batch(x, axes, *, ways):
    mapped = [axis is not None for axis in axes]
    first = [each if axis is None else jnp.moveaxis(each, axis, 0) for each, axis in zip(x, axes, strict=True)]
    y = ways.larger(len(first[mapped.index(True)]), first, mapped)
    if y is None:
        y = jax.vmap(ways.scan, axes)(*x)
    return y, [0] * len(y)


def _push_transpose(d_y, *arrays, ways, gradient):
    known = arrays[: len(arrays) - ways.inputs]
    return [None] * len(known) + _pull.bind(*known, *map(ad.instantiate_zeros, d_y), ways=ways, gradient=gradient)


ad.primitive_jvps[_run] = _run_jvp
batching.primitive_batchers[_run] = _run_batch
ad.primitive_transposes[_push] = _push_transpose
