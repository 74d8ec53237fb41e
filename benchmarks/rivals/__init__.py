"""The libraries, one small file each. `RIVALS` is the one list of their names.

Each module has `PACKAGE`, the distribution that must be installed, and
`prepare(problem, which) -> Program`. A module is imported only where its package is installed.
"""

import importlib
from collections.abc import Callable

from benchmarks.machine import installed
from benchmarks.programs import Problem, Program

Prepare = Callable[[Problem, str], Program]

RIVALS = {  # name: (module, distribution)
    "flax-linen": ("flax_linen", "flax"),
    "flax-nnx": ("flax_nnx", "flax"),
    "haiku": ("haiku_unroll", "dm-haiku"),
    "equinox": ("equinox_scan", "equinox"),
    "keras": ("keras_layer", "keras"),
    "torch": ("torch_lstm", "torch"),
    "floor": ("floor", "numpy"),
}

JAX_PEERS = tuple(name for name in RIVALS if name not in ("torch", "floor"))


def load(names: tuple[str, ...]) -> tuple[dict[str, Prepare], list[str]]:
    """The rivals that are installed, and one line for each that is not."""
    found, missing = {}, []
    for name in names:
        module, package = RIVALS[name]
        if installed(package):
            found[name] = importlib.import_module(f"benchmarks.rivals.{module}").prepare
        else:
            missing.append(f"{name}: left out, the package {package} is not installed")
    return found, missing
