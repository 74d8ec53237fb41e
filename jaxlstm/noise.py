"""What regularisation draws for one layer: once for all steps, outside of the loop over them.

`jaxlstm.regularise` draws it, `scan_cell` applies it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlstm.cell import cell_dtype


class Noise(NamedTuple):
    """The masks of one layer; what is None is not applied."""

    x_scale: Array | None = None  # [..., D]: the inputs are multiplied by it, the same at every step
    h_scale: Array | None = None  # [..., H]: so is h_{t-1} before the recurrent product
    keep_h: Array | None = None  # [..., T, H or 1]: where a unit keeps its h_{t-1}; booleans, or probabilities
    keep_c: Array | None = None  # [..., T, H or 1]: where it keeps all else of its state


def check_noise(noise: Any) -> None:
    """For the noise of one layer in one direction."""
    if noise is not None and not isinstance(noise, Noise):
        raise ValueError(f"noise: expected Noise, as draw_noise makes it for one layer, got {type(noise).__name__}")


def zoned_out(new: Any, old: Any, keep_h: Array | None, keep_c: Array | None) -> Any:
    """The state after a step, some of it kept from before: by booleans, or in the mean by probabilities."""

    def kept(path: tuple, new: Array, old: Array) -> Array:
        keep = keep_h if jax.tree_util.keystr(path, simple=True) == "h" else keep_c
        if keep is None:
            return new
        keep = jnp.broadcast_to(keep, new.shape)
        if keep.dtype == jnp.bool_:
            return jnp.where(keep, old, new)
        wide = cell_dtype(new.dtype)
        keep, old, stepped = (array.astype(wide) for array in (keep, old, new))
        return (keep * old + (1 - keep) * stepped).astype(new.dtype)

    return jax.tree_util.tree_map_with_path(kept, new, old)
