"""Persistent kernels: one launch walks over all steps, with W_h kept on chip (Pallas, Mosaic GPU).

At each step the scan reads W_h from memory anew and starts kernels of its own. Here threads that hold W_h
once walk over all steps by themselves. Everything is laid out by features, the sequences last, so that the
tensor cores multiply in instructions of 64 rows, which are hidden units, by 16 columns, which are sequences.

| module | what it is |
|---|---|
| `one_block` | H of up to 128 (64 in float32): one block of threads, W_h in its registers |
| `cluster` | H of up to 512 (256): several blocks on neighbouring multiprocessors |
| `mailbox` | how the blocks of a cluster tell each other what they have computed |
| `arithmetic` | a step of the recurrence in registers |
| `products` | products on the tensor cores, and when their sums may be read |
| `memory` | how the kernels read and write, and how what the tensor cores multiply lies in memory |
| `registers` | what a thread holds of an array, for what is stored in no order but its own |
| `interface` | what the rest asks of a kernel |
| `vjp` | what lies outside of the kernels: the projected input, the weight gradients, the derivative |

In half precision as it is. In float32 a product is as exact as with TensorFloat-32, which is what XLA takes on this GPU
too: forward, W_h and h are rounded to the 11 bits of float16; backward, each factor is the sum of two bfloat16 values,
whose range a gradient needs. Their magnitudes may be up to 65,504 forward, and so may c where it is saved.
"""

import jax.numpy as jnp
from jax import Array

from jaxlstm.cell import LSTMParams, LSTMState
from jaxlstm.implementations.choice import Call, current_precision, kernel_refusal
from jaxlstm.implementations.guard import guarded
from jaxlstm.implementations.pallas import cluster, one_block
from jaxlstm.implementations.pallas.interface import Options
from jaxlstm.implementations.pallas.vjp import recurrence

NAME = "pallas"
MULTIPROCESSORS = 132  # of an H100 or H200: with more blocks than that a block takes more rows
# Of hidden units, in one block and in a cluster: of float32 the backward walk holds two parts of W_h.
MOST_ALONE = {jnp.dtype("bfloat16"): 128, jnp.dtype("float16"): 128, jnp.dtype("float32"): 64}
MOST_HIDDEN = {jnp.dtype("bfloat16"): 512, jnp.dtype("float16"): 512, jnp.dtype("float32"): 256}
# What jax.default_matmul_precision may say of float32 for products as exact as TensorFloat-32's.
PRECISIONS = (
    *(None, "default", "fastest", "bfloat16", "high", "bfloat16_3x", "tensorfloat32"),
    *("BF16_BF16_F32", "TF32_TF32_F32"),
)


def refusal(call: Call) -> str | None:
    """Why the kernels cannot run the call; None where they can."""
    if call.platform not in ("cuda", "interpreter"):
        return f"needs an NVIDIA GPU, the platform is {call.platform}"
    if call.capability not in (None, "9.0"):
        return f"is written for compute capability 9.0 (H100, H200), this GPU has {call.capability}"
    if call.dtype not in MOST_HIDDEN:
        return f"computes in bfloat16, float16 or float32, xs is {call.dtype}"
    if call.hidden > (most := MOST_HIDDEN[call.dtype]):
        return f"keeps W_h on chip: expected H of at most {most} in {call.dtype}, got {call.hidden}"
    if call.dtype == jnp.float32 and (precision := current_precision()) not in PRECISIONS:
        return f"multiplies float32 as TensorFloat-32 does, jax_default_matmul_precision is {precision!r}"
    return kernel_refusal(call)


def run(
    call: Call,
    params: LSTMParams,
    xs: Array,
    state: LSTMState,
    lengths: Array | None,
    mask: Array | None,
    h_scale: Array | None,
) -> tuple[LSTMState, Array]:
    """See `jaxlstm.implementations`."""
    params, xs, state, h_scale = guarded(NAME, (params, xs, state, h_scale))
    alone = call.hidden <= MOST_ALONE[call.dtype]
    rows = 32 if alone and call.dtype != jnp.float32 and call.batch > 16 * MULTIPROCESSORS else 16
    options = Options(
        rows,
        reverse=call.reverse,
        masked=mask is not None,
        scaled=call.scaled,
        interpreted=call.platform == "interpreter",
    )
    more_rows = -call.batch % rows  # padding: all zero, and stays zero
    more_units = -call.hidden % (one_block if alone else cluster).UNITS
    weights = LSTMParams(
        _padded(params.w_x.reshape(call.inputs, 4, call.hidden), (0, 0, more_units)),
        _padded(params.w_h.reshape(call.hidden, 4, call.hidden), (more_units, 0, more_units)),
        _padded(params.b.reshape(4, call.hidden), (0, more_units)),
    )
    by_features = LSTMState(*(_padded(leaf.T, (more_units, more_rows)) for leaf in state))
    valid = None if mask is None else _padded(mask.astype(jnp.float32), (0, more_rows))
    scale = None if h_scale is None else _padded(h_scale.T, (more_units, more_rows))
    kernels = (one_block if alone else cluster).KERNELS
    new, hs = recurrence(kernels, options, weights, _padded(xs, (0, more_rows, 0)), by_features, valid, scale)
    new = LSTMState(*(leaf.T[: call.batch, : call.hidden] for leaf in new))
    by_sequence = jnp.moveaxis(hs, 2, -1).reshape(call.steps, call.batch + more_rows, -1)
    return guarded(NAME, (new, by_sequence[:, : call.batch, : call.hidden]))


def _padded(array: Array, more: tuple[int, ...]) -> Array:
    """Zeros at the end of each axis."""
    return jnp.pad(array, [(0, size) for size in more]) if any(more) else array
