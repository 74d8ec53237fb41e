"""Which implementation runs a call: eligibility by shape, dtype, mask and platform, and a rule among the eligible."""

import importlib
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlstm.cell import Activation

IMPLEMENTATIONS = ("scan", "cudnn", "pallas")
PLATFORMS = ("cpu", "cuda", "rocm", "tpu", "interpreter")  # the last for kernels that are tried without a GPU


class Call(NamedTuple):
    """What of a call to `lstm` decides; hashable."""

    platform: str  # one of PLATFORMS
    capability: str | None  # of the GPU, such as "9.0"; None where none is at hand
    devices: int  # of the mesh in force
    dtype: np.dtype
    batch: int  # B
    steps: int  # T
    inputs: int  # D
    hidden: int  # H
    masking: str | None  # "lengths", "mask" or None
    reverse: bool
    activation: Activation
    scaled: bool  # with an h_scale
    unroll: int | None


class Choice(NamedTuple):
    """What `which_implementation` answers."""

    name: str
    reason: str


class Rule(NamedTuple):
    """Where `implementation=None` takes something else than the scan: a row of the table below."""

    implementation: str
    platform: str
    dtype: str
    batch: range  # B
    steps: range  # T
    hidden: range  # H
    measured: str  # the figures, the card and the command: no rule without them

    def applies(self, call: Call) -> bool:
        """Whether the call lies within the measured sizes."""
        return (
            (self.platform, self.dtype) == (call.platform, call.dtype.name)
            and call.batch in self.batch
            and call.steps in self.steps
            and call.hidden in self.hidden
        )


# The first row that applies, and whose implementation can run the call, decides. `python -m benchmarks.gpu_check` has
# measured (benchmarks/results/gpu_h200.json) batches of 1 to 4096, 5 to 1024 steps and hidden sizes of 20 to 512. More
# sequences or steps than that repeat what was measured, and smaller layers are padded to the same size: the rules hold
# there too. Of a forward pass alone over 5 or 10 steps, some 60 microseconds long, the scan of bfloat16 takes four
# fifths. cuDNN is slower than the scan at every shape.
EVER = 1 << 30
TRIED = (0, 13)  # with JAX below this: the kernels are written with parts of it that change
RULES: tuple[Rule, ...] = tuple(
    Rule("pallas", "cuda", dtype, range(1, EVER), range(5, EVER), range(1, most + 1), measured)
    for dtype, most, measured in (
        ("bfloat16", 512, "a training step takes 1 / 1.4 to 1 / 5.0 of the scan's time on an H200"),
        ("float16", 512, "a training step takes 1 / 1.4 to 1 / 5.1 of the scan's time on an H200"),
        ("float32", 256, "a training step takes 1 / 1.2 to 1 / 3.5 of the scan's time on an H200"),
    )
    if jax.__version_info__ < TRIED
)
UNMEASURED = "no other implementation has been measured to be faster here"


def choose(call: Call, implementation: str | None) -> Choice:
    """The implementation that runs the call, and why.

    Raises:
      ValueError: an unknown name, or one that cannot run this call.
    """
    if implementation is not None:
        _check_name("implementation", implementation, " or None,")
        if reason := refusal(call, implementation):
            raise ValueError(f"implementation: {implementation!r} {reason}")
        return Choice(implementation, "it was asked for")
    refused = []
    for preferred in _preferred.value:
        if not (reason := refusal(call, preferred)):
            return Choice(preferred, "it is preferred here")
        refused.append(f"{preferred!r} {reason}")
    for rule in RULES:
        if rule.applies(call) and not refusal(call, rule.implementation):
            return Choice(rule.implementation, rule.measured)
    return Choice("scan", "; ".join(refused) or UNMEASURED)


def refusal(call: Call, implementation: str) -> str | None:
    """Why the implementation cannot run the call; None where it can."""
    return None if implementation == "scan" else module_of(implementation).refusal(call)


def module_of(implementation: str) -> ModuleType:
    """The module of a kernel, imported now."""
    return importlib.import_module(f"jaxlstm.implementations.{implementation}")


def kernel_refusal(call: Call) -> str | None:
    """What neither kernel can do."""
    if call.activation is not jnp.tanh:
        return "knows no activation but jnp.tanh"
    if call.unroll is not None:
        return f"has no loop to unroll, expected unroll=None, got {call.unroll}"
    if call.devices > 1:
        return f"runs on one device, the mesh in force has {call.devices}"
    if not (isinstance(call.batch, int) and isinstance(call.steps, int)):
        return f"needs sizes that are known, got batch {call.batch} and steps {call.steps}"
    if not (call.batch and call.steps and call.inputs):
        return f"needs something to walk over, got batch {call.batch}, steps {call.steps}, inputs {call.inputs}"
    return None


# Contexts of JAX: what they hold is part of the key under which `jax.jit` keeps what it has traced and compiled.
_preferred = jax.make_user_context(())  # implementations
_assumed = jax.make_user_context(None)  # a platform


def preferring(*implementations: str) -> AbstractContextManager[None]:
    """Calls to `lstm` within take the first of these that can run them, where they name none themselves.

    It reaches the calls that others make: those of `jaxlstm.models`, of stacks of `cells.LSTM`, of `linen.RNN` and
    `nnx.RNN`. What none of these can run, runs as it does without; `which_implementation` tells.

        with preferring("cudnn", "pallas"):
            fitted = fit(...)

    Raises:
      ValueError: an unknown name.
    """
    for name in implementations:
        _check_name("implementations", name)
    return _preferred(implementations)


def deciding_for(platform: str) -> AbstractContextManager[None]:
    """Calls to `lstm` within decide as on that platform.

    For lowering to CUDA on a machine without it, or for running the "pallas" kernels in JAX's interpreter, which is
    slow: `platform="interpreter"`.
    """
    return _assumed(platform)


def _check_name(argument: str, name: str, otherwise: str = "") -> None:
    if name not in IMPLEMENTATIONS:
        names = ", ".join(map(repr, IMPLEMENTATIONS))
        raise ValueError(f"{argument}: expected one of {names},{otherwise} got {name!r}")


def current_platform() -> str:
    """The platform that `deciding_for` names, or that of JAX's default device."""
    if assumed := _assumed.value:
        return assumed
    config: Any = jax.config
    device = config.jax_default_device  # a device or the name of a platform, where one is set
    backend: str = getattr(device, "platform", device) or jax.default_backend()
    if backend not in ("gpu", "cuda", "rocm"):
        return backend
    return "rocm" if "rocm" in jax.devices()[0].client.platform_version.lower() else "cuda"


def current_capability() -> str | None:
    """The compute capability of the GPU at hand."""
    return getattr(jax.devices()[0], "compute_capability", None) if jax.default_backend() == "gpu" else None


def current_precision() -> str | None:
    """What `jax.default_matmul_precision` has set."""
    config: Any = jax.config  # its settings are not all known to type checkers
    return config.jax_default_matmul_precision
