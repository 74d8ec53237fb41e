"""The kernels as they are compiled for an H100, instruction by instruction, where JAX's CUDA plugin is installed.

JAX's interpreter, in which `test_pallas` runs them, knows neither clusters nor how values lie in registers and shared
memory; here nothing is left out but time.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close_by_norm
from jax.experimental.compilation_cache import compilation_cache
from ptx_instructions import execute
from ptx_machine import Machine, TensorMap
from ptx_program import parse

from benchmarks.gpu_compile import compiled_for_h100, obstacle, said
from jaxlstm.implementations.pallas import cluster, one_block
from jaxlstm.implementations.pallas.interface import Options

if reason := obstacle():
    pytest.skip(reason, allow_module_level=True)

STEPS = 4


@pytest.fixture(autouse=True, scope="module")
def _nothing_kept():
    """What is compiled for a device that is not there cannot be read back from JAX's cache of compiled programs."""
    for enabled in (False, True):
        jax.config.update("jax_enable_compilation_cache", enabled)
        compilation_cache.reset_cache()
        if not enabled:
            yield


Arrays = dict[str, np.ndarray]


def draw(
    hidden: int, batch: int, masked: bool, scaled: bool, **shapes: tuple[tuple[int, ...], type]
) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """What a kernel is given, which steps are valid, and the scale of h."""
    rng = np.random.default_rng(0)
    w_h = rng.normal(size=(4, hidden, hidden)) / np.sqrt(hidden)
    drawn = {name: rng.normal(size=shape).astype(dtype) for name, (shape, dtype) in shapes.items()}
    valid = rng.random((STEPS, batch)) < (0.6 if masked else 1)
    scale = np.where(rng.random((hidden, batch)) < 0.2, 0, 1.25) if scaled else np.ones((hidden, batch))
    given = {"w_h": w_h.astype(jnp.bfloat16), **drawn}
    given |= {"valid": valid.astype(np.float32)} if masked else {}
    given |= {"scale": scale.astype(jnp.bfloat16)} if scaled else {}
    return given, valid, scale.astype(np.float32)


def forward(hidden: int, batch: int, reverse: bool, masked: bool, scaled: bool) -> tuple[Arrays, Arrays]:
    """By the equations, what a kernel is given and gives back. W_h of each gate is [units, columns]."""
    like, whole = (hidden, batch), (hidden, STEPS, batch)
    shapes = {"z_x": ((4, *whole), np.float32), "h": (like, jnp.bfloat16), "c": (like, np.float32)}
    given, valid, scale = draw(hidden, batch, masked, scaled, **shapes)
    w_h, z_x, h, c = (given[name].astype(np.float32) for name in ("w_h", *shapes))
    hs, coefficients = np.empty(whole, jnp.bfloat16), np.empty((6, *whole), np.float32)
    for t in range(STEPS)[:: -1 if reverse else 1]:
        read = (h * scale).astype(jnp.bfloat16).astype(np.float32)
        z = z_x[:, :, t] + np.einsum("guh,hb->gub", w_h, read)
        i, f, o = (1 / (1 + np.exp(-z[gate])) for gate in (0, 1, 3))
        g = np.tanh(z[2])
        new_c = f * c + i * g
        phi = np.tanh(new_c)
        by = [g * i * (1 - i), c * f * (1 - f), i * (1 - g * g), phi * o * (1 - o), f, o * (1 - phi * phi)]
        h, c = np.where(valid[t], o * phi, h).astype(jnp.bfloat16).astype(np.float32), np.where(valid[t], new_c, c)
        hs[:, t], coefficients[:, :, t] = h, by
    return given, {"hs": hs, "h'": h.astype(jnp.bfloat16), "c'": c, "coefficients": coefficients}


def backward(hidden: int, batch: int, reverse: bool, masked: bool, scaled: bool) -> tuple[Arrays, Arrays]:
    """By the transposed rule of `jaxlstm.recurrence`, what a kernel is given and gives back."""
    like, whole = (hidden, batch), (hidden, STEPS, batch)
    shapes = {
        "coefficients": ((6, *whole), np.float32),
        "d_h": (like, jnp.bfloat16),
        "d_c": (like, np.float32),
        "d_hs": (whole, jnp.bfloat16),
    }
    given, valid, scale = draw(hidden, batch, masked, scaled, **shapes)
    w_h, (*by_z, by_c, by_h), d_h, d_c, d_hs = (given[name].astype(np.float32) for name in ("w_h", *shapes))
    d_zs = np.empty((4, *whole), jnp.bfloat16)
    for t in range(STEPS)[:: 1 if reverse else -1]:
        d_h = d_h + d_hs[:, t]
        new_d_c = d_c + by_h[:, t] * d_h
        d_z = [by[:, t] * (d_h if gate == 3 else new_d_c) for gate, by in enumerate(by_z)]
        d_zs[:, :, t] = np.where(valid[t], d_z, 0)
        product = scale * np.einsum("ghu,gub->hb", w_h, d_zs[:, :, t].astype(np.float32))
        d_h, d_c = np.where(valid[t], product, d_h), np.where(valid[t], by_c[:, t] * new_d_c, d_c)
    return given, {"d_z": d_zs, "d_h'": d_h.astype(jnp.bfloat16), "d_c'": d_c}


# The arrays in the order in which a kernel first uses them, which is that of its parameters.
ORDERS = {
    "forward": ["w_h", "scale", "h", "c", "z_x", "valid", "hs", "coefficients", "h'", "c'"],
    "backward": ["w_h", "scale", "d_h", "d_c", "coefficients", "d_hs", "valid", "d_z", "d_h'", "d_c'"],
}


class Case(NamedTuple):
    """One compiled kernel."""

    hidden: int
    batch: int
    which: str
    rows: int = 16
    reverse: bool = False
    masked: bool = True
    scaled: bool = False
    linearised: bool = True  # whether a gradient follows


CASES = {
    "one group": Case(64, 32, "forward", reverse=True),
    "one group back": Case(64, 32, "backward"),
    "two groups": Case(128, 32, "forward", masked=False, linearised=False),
    "two groups back": Case(128, 32, "backward", reverse=True, masked=False),
    "two groups scaled": Case(128, 32, "forward", scaled=True),
    "two groups scaled back": Case(128, 32, "backward", scaled=True),
    "more rows": Case(128, 64, "forward", rows=32),
    "more rows back": Case(128, 64, "backward", rows=32),
    "two blocks": Case(128, 16, "forward", masked=False),
    "four blocks": Case(256, 32, "forward", reverse=True, linearised=False),
    "four blocks back": Case(256, 32, "backward", masked=False),
    "four blocks scaled": Case(256, 16, "forward", scaled=True),
    "four blocks scaled back": Case(256, 16, "backward", scaled=True),
    "six blocks": Case(384, 16, "forward"),
    "six blocks back": Case(384, 16, "backward", reverse=True),
    "eight blocks": Case(512, 16, "forward", reverse=True, masked=False),
    "eight blocks back": Case(512, 16, "backward"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_an_h100_would_compute(case, monkeypatch):
    kernels = cluster if "blocks" in case else one_block
    hidden, batch, which, rows, reverse, masked, scaled, linearised = CASES[case]
    given, expected = {"forward": forward, "backward": backward}[which](hidden, batch, reverse, masked, scaled)
    if not linearised:
        del expected["coefficients"]
    launch = partial(
        getattr(kernels.KERNELS, which), Options(rows, reverse, masked, scaled, interpreted=False), [*expected.values()]
    )
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTX", "1")
    with said() as lines:
        compiled_for_h100(launch, [*given.values()])
    program = parse("".join(lines))
    actual = {name: np.empty_like(leaf) for name, leaf in expected.items()}
    arrays = {name: (leaf, True) for name, leaf in given.items()} | {
        name: (leaf, False) for name, leaf in actual.items()
    }
    machine = Machine(
        program,
        [arrays[name] for name in ORDERS[which] if name in arrays],
        tensor_map(hidden, which, given["w_h"]),
        seed=hidden,
    )
    machine.run(batch // rows * program.cluster, execute)
    assert all(memory.written.all() for memory in machine.memories)
    assert_close_by_norm(actual, expected, 1e-3)


def tensor_map(hidden: int, which: str, w_h: np.ndarray) -> TensorMap:
    """Of W_h, from which the kernel of a cluster copies what does not fit into registers: tiles of 8 by 16."""
    tiles = w_h.reshape(4, hidden // 8, 8, hidden // 16, 16).swapaxes(2, 3)
    columns = hidden - cluster.COLUMNS if which == "forward" else 64
    return TensorMap(tiles, (1, 8, columns // 16, 8, 16))
