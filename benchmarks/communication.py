"""`python -m benchmarks.communication`: what data-parallel training exchanges, computed, not measured.

A ring all-reduce of P bytes over n devices sends from each of them (Patarasu & Yuan 2009)

    V = 2 (n - 1) / n * P          bytes a step, in 2 (n - 1) messages one after the other,

which takes V / bandwidth + 2 (n - 1) * latency seconds where nothing hides it. P is 4 bytes for each
parameter. A training step computes, in multiplications and additions of the LSTM layers alone,

    F = 3 * 2 * B T * sum over the layers of 4 H (D + H)

for B sequences of T steps on a device: once forward, twice for the two products of the backward pass.
"""

from typing import NamedTuple

import tyro
from rich.table import Table

from benchmarks.report import console

DEVICES = (8, 32, 128, 512, 1024)
LINKS = {"NVLink, 450 GB/s": 450e9, "400 Gbit/s": 50e9, "100 Gbit/s": 12.5e9, "10 Gbit/s": 1.25e9}  # bytes/s, one way
LATENCY = 5e-6  # seconds for a message between neighbours: an assumption, of the order of RDMA's
BYTES = 4  # float32
RATE = 10e12  # operations a second that a device sustains: an assumption, to compare with, for one accelerator


class Model(NamedTuple):
    """A model and its batch on one device."""

    name: str
    layers: int
    inputs: int  # D of the first layer; the others read H
    hidden: int  # H
    vocabulary: int  # an embedding of D and a head on H; 0 for none
    labels: int  # of the head
    batch: int  # B, on one device
    steps: int  # T


MODELS = (
    Model("sentiment", 1, 128, 128, 2000, 1, 32, 80),
    Model("one layer of 512", 1, 512, 512, 0, 0, 32, 256),
    Model("Zaremba et al. (2014), large", 2, 1500, 1500, 10_000, 10_000, 20, 35),
    Model("eight layers of 1,024", 8, 1024, 1024, 32_000, 32_000, 128, 50),
)


def parameters(model: Model) -> int:
    """Entries of the embedding, the layers and the head."""
    layers = sum(4 * model.hidden * (inputs + model.hidden + 1) for inputs in _inputs(model))
    return model.vocabulary * model.inputs + layers + model.labels * (model.hidden + 1)


def operations(model: Model) -> int:
    """F, for one step on one device."""
    return 6 * model.batch * model.steps * sum(4 * model.hidden * (inputs + model.hidden) for inputs in _inputs(model))


def sent(model: Model, devices: int) -> float:
    """V, the bytes that each device sends in a step."""
    return 2 * (devices - 1) / devices * BYTES * parameters(model)


def seconds(model: Model, devices: int, bandwidth: float) -> float:
    """What the exchange takes where nothing hides it."""
    return sent(model, devices) / bandwidth + 2 * (devices - 1) * LATENCY


def _inputs(model: Model) -> list[int]:
    return [model.inputs] + [model.hidden] * (model.layers - 1)


def main() -> None:
    """Prints what data-parallel training exchanges in a step, and how long that takes."""
    models = Table("model", "B, T", "parameters", "MB sent, 8 devices", "MB sent, 1,024", "10^9 operations", "ms")
    models.title = f"a step on each device; ms: computing at {RATE:.0e} operations a second"
    for model in MODELS:
        volumes = (f"{sent(model, devices) / 1e6:.4g}" for devices in (8, 1024))
        count = operations(model)
        sizes = f"{model.batch}, {model.steps}", f"{parameters(model):,}"
        models.add_row(model.name, *sizes, *volumes, f"{count / 1e9:.4g}", f"{1e3 * count / RATE:.3g}")
    console.print(models)
    times = Table("model", "devices", *LINKS, title="milliseconds of exchange in a step")
    for model in MODELS:
        for devices in DEVICES:
            row = (f"{1e3 * seconds(model, devices, bandwidth):.3g}" for bandwidth in LINKS.values())
            times.add_row(model.name, f"{devices:,}", *row)
        times.add_section()
    console.print(times)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.communication")
