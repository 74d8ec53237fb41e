"""NVIDIA's LSTM in cuDNN, through `jax.experimental.rnn`.

It computes in float32, with padding at the right alone, and has no derivative but the gradient. A product
is rounded to TensorFloat-32 only where `jax.default_matmul_precision("high")`, or "tensorfloat32", asks
for it; by default it is full float32. At every call it copies the lengths to the host and waits for them.
"""

from collections.abc import Iterable

import jax.numpy as jnp
from jax import Array, lax

from jaxlstm.cell import LSTMParams, LSTMState
from jaxlstm.implementations.choice import Call, current_precision, kernel_refusal
from jaxlstm.implementations.guard import guarded
from jaxlstm.layout import flipped, select_rows

NAME = "cudnn"
PRECISIONS = {  # what jax.default_matmul_precision may say, None being its default
    None: lax.Precision.HIGHEST,
    "highest": lax.Precision.HIGHEST,
    "float32": lax.Precision.HIGHEST,
    "F32_F32_F32": lax.Precision.HIGHEST,
    "high": lax.Precision.HIGH,
    "tensorfloat32": lax.Precision.HIGH,
    "TF32_TF32_F32": lax.Precision.HIGH,
}


def refusal(call: Call) -> str | None:
    """Why cuDNN cannot run the call; None where it can."""
    from jax.experimental import rnn

    if call.platform != "cuda":
        return f"needs an NVIDIA GPU, the platform is {call.platform}"
    if not hasattr(rnn.gpu_rnn, "compute_rnn_workspace_reserve_space_sizes"):
        return "needs JAX with CUDA, this one has none; jaxlstm's extra 'gpu' brings it"
    if call.dtype != jnp.float32:
        return f"computes in float32 alone, xs is {call.dtype}"
    if call.masking == "mask":
        return "knows padding at the right alone: give lengths, not a mask"
    if call.scaled:
        return "takes no h_scale"
    if (precision := current_precision()) not in PRECISIONS:
        return f"multiplies in float32 or tensorfloat32, jax_default_matmul_precision is {precision!r}"
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
    from jax.experimental import rnn

    params, xs, state = guarded(NAME, (params, xs, state))
    # It fails on a sequence of no steps: that takes one, over zeros, whose results are then dropped.
    steps = jnp.full(call.batch, call.steps) if lengths is None else jnp.clip(lengths, 1, call.steps)
    steps = guarded(NAME, steps.astype(jnp.int32))

    def turned(xs: Array) -> Array:
        return flipped(xs, None if lengths is None else steps) if call.reverse else xs

    ys, h, c = rnn.lstm(
        turned(jnp.swapaxes(xs, 0, 1)),
        state.h[None],
        state.c[None],
        pack([params]),
        steps,
        call.inputs,
        call.hidden,
        1,  # layers
        0.0,  # dropout
        False,  # bidirectional
        PRECISIONS[current_precision()],
    )
    new = LSTMState(h[0], c[0])
    if lengths is not None:
        new = select_rows(lengths > 0, new, state)
    return guarded(NAME, (new, jnp.swapaxes(turned(ys), 0, 1)))


def pack(directions: Iterable[LSTMParams]) -> Array:
    """Every direction of every layer in one vector: all matrices transposed, then all biases, each with a zero one."""
    directions = tuple(directions)
    matrices = [w.T.ravel() for params in directions for w in (params.w_x, params.w_h)]
    biases = [b for params in directions for b in (params.b, jnp.zeros_like(params.b))]
    return jnp.concatenate(matrices + biases)
