"""What the figures are measured on."""

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import jaxlstm
from jaxlstm.errors import UserError

IDENTITY = ("processor", "cores", "device", "devices", "allocator")  # what makes two machines the same to `--compare`
ALLOCATOR = ("GLIBC_TUNABLES", "LD_PRELOAD")
PACKAGES = (
    *("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "nvidia-cudnn-cu13", "numpy", "flax", "dm-haiku"),
    *("equinox", "keras", "torch", "optax", "onnxruntime"),
)


def use_device(device: str | None) -> None:
    """Has JAX compute on "cpu" or "gpu"; on its own choice for None.

    Raises:
      UserError: JAX finds no GPU.
    """
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif device == "gpu" and jax.default_backend() != "gpu":
        raise UserError(f"--device gpu: JAX finds no GPU, its device is {jax.devices()[0].device_kind}")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The model's name and numbers, for virtual machines share names: "AMD EPYC, family 26, model 2"."""
    path = Path("/proc/cpuinfo")  # on Linux
    lines = path.read_text().splitlines() if path.exists() else []
    found: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines):
        found.setdefault(name.strip(), value.strip())
    if "model name" not in found:
        return platform.processor() or platform.machine()
    numbers = [f"{what} {found[key]}" for what, key in (("family", "cpu family"), ("model", "model")) if key in found]
    return ", ".join([found["model name"], *numbers])


def allocator() -> str | None:
    """What the environment changes about memory: it decides what pages that are new at each call cost."""
    set_here = [f"{name}={os.environ[name]}" for name in ALLOCATOR if os.environ.get(name)]
    return " ".join(set_here) or None


def installed(package: str) -> bool:
    """Whether a distribution is installed."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def describe() -> dict[str, Any]:
    """The machine, its threads, what else kept it busy in the minute before, and the date."""
    threads = {"jax": cores()}
    if installed("torch"):
        import torch

        threads["torch"] = torch.get_num_threads()
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": memory_bytes(),
        "system": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "allocator": allocator(),
        "threads": threads,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def versions() -> dict[str, str]:
    """Of Python, jaxlstm, JAX and every rival that is installed."""
    found = {package: metadata.version(package) for package in PACKAGES if installed(package)}
    return {"python": platform.python_version(), "jaxlstm": jaxlstm.__version__} | found


def memory_bytes() -> int | None:
    """All of the machine's memory; None where the system does not say."""
    if not hasattr(os, "sysconf"):  # Windows
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_bytes() -> int:
    """The memory that the device still has."""
    stats = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    import psutil  # here, so that a machine with a GPU need not have it

    return psutil.virtual_memory().available
