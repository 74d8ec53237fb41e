"""Models as StableHLO, through `jax.export`: one file that needs JAX to run, and nothing of jaxlstm.

The sizes that have names stay symbolic: one file serves every batch size and length. The parameters
are part of it. JAX promises to read such a file for six months after it was written, and that a JAX up
to three weeks older than the writer's reads it too; what would break the promise it refuses to write:
https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees
"""

from pathlib import Path

import jax
from jax import export

from jaxlstm import files
from jaxlstm.deploy.model import Model

PLATFORMS = ("cpu", "cuda", "tpu")


def save(path: str | Path, model: Model, platforms: tuple[str, ...] = PLATFORMS) -> None:
    """Writes a model; `jax.export.deserialize(bytearray(Path(path).read_bytes())).call(*inputs)` runs it.

    Args:
      path: of the file, usually NAME.stablehlo.
      model: what to write; its inputs keep their order.
      platforms: those that it is to run on.

    Raises:
      ValueError: more outputs than names for them, or fewer.
    """
    files.write(path, bytes(exported(model, platforms).serialize()))


def exported(model: Model, platforms: tuple[str, ...] = PLATFORMS) -> export.Exported:
    """The model as `jax.export` holds it, its named sizes symbolic and its outputs flat.

    Raises:
      ValueError: more outputs than names for them, or fewer.
    """
    scope = export.SymbolicScope()
    specs = [
        jax.ShapeDtypeStruct(export.symbolic_shape(", ".join(map(str, shape)), scope=scope), dtype)
        for shape, dtype in model.inputs.values()
    ]

    def apply(*inputs):
        # Flat, because a NamedTuple of ours could not be read back without this library.
        outputs = jax.tree.leaves(model.apply(model.params, *inputs))
        model.check_outputs(len(outputs))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    return export.export(jax.jit(apply), platforms=platforms)(*specs)
