"""What a kernel written by hand does not do, said in a line instead of an error from within JAX.

`guarded` is the identity on arrays. A kernel whose inputs and outputs pass through it can be run, compiled
and differentiated once in reverse mode; under `vmap`, in forward mode, or by a second derivative it raises.
"""

from typing import Any, NoReturn

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def guarded(implementation: str, tree: Any) -> Any:
    """The same arrays; `implementation` is what the error names.

    Raises:
      ValueError: now or later, where a transformation asks for what a kernel cannot do.
    """
    return jax.tree.map(lambda leaf: _guard.bind(leaf, implementation=implementation, derivatives=1), tree)


_guard = Primitive("kernel_guard")
_tangent = Primitive("kernel_guard_tangent")  # linear: reverse mode transposes it away, forward mode runs it


def _refuse(implementation: str, what: str) -> NoReturn:
    raise ValueError(f"implementation: {implementation!r} {what}; 'scan' does")


def _refuse_vmap(arguments, dimensions, *, implementation, **_):
    _refuse(implementation, "does no vmap: give xs its batch dimensions")


def _refuse_forward_mode(*arguments, implementation, **_):
    _refuse(implementation, "has no forward-mode derivative")


def _guard_jvp(primals, tangents, *, implementation, derivatives):
    if not derivatives:
        _refuse(implementation, "has no second derivative")
    out = _guard.bind(*primals, implementation=implementation, derivatives=derivatives - 1)
    (tangent,) = tangents
    if type(tangent) is ad.Zero:
        return out, tangent
    return out, _tangent.bind(tangent, implementation=implementation)


def _transpose(cotangent, _, *, implementation):
    if type(cotangent) is ad.Zero:
        return (cotangent,)
    return (_guard.bind(cotangent, implementation=implementation, derivatives=0),)


for primitive in (_guard, _tangent):
    primitive.def_abstract_eval(lambda aval, **_: aval)
    batching.primitive_batchers[primitive] = _refuse_vmap
_guard.def_impl(lambda array, **_: array)
mlir.register_lowering(_guard, lambda _, array, **__: [array])
ad.primitive_jvps[_guard] = _guard_jvp
_tangent.def_impl(_refuse_forward_mode)
mlir.register_lowering(_tangent, _refuse_forward_mode)
ad.primitive_transposes[_tangent] = _transpose
