"""The kernels as they are compiled for an H100, instruction by instruction, where JAX's CUDA plugin is installed.

JAX's interpreter, in which `test_pallas` runs them, knows neither clusters nor how values lie in registers and shared
memory; here nothing is left out but time.
"""

from functools import partial
from typing import Any, NamedTuple

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
from jaxlstm.implementations.pallas.arithmetic import GROUP_UNITS
from jaxlstm.implementations.pallas.interface import KEPT, Options
from jaxlstm.implementations.pallas.memory import FETCHED

if reason := obstacle():
    pytest.skip(reason, allow_module_level=True)

STEPS = FETCHED + 2  # so that a step in the middle is fetched as well


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
    case: "Case", w_types: list[type], **shapes: tuple[tuple[int, ...], type]
) -> tuple[Arrays, np.ndarray, np.ndarray, np.ndarray]:
    """What a kernel is given, with W_h as the sum of parts of these types; W_h, valid steps, and the scale of h."""
    hidden, batch, masked, scaled = case.hidden, case.batch, case.masked, case.scaled
    rng = np.random.default_rng(0)
    w_h, parts = rng.normal(size=(4, hidden, hidden)).astype(np.float32) / np.sqrt(hidden), []
    for kind in w_types:
        parts.append((w_h - sum(part.astype(np.float32) for part in parts)).astype(kind))
    drawn = {name: rng.normal(size=shape).astype(dtype) for name, (shape, dtype) in shapes.items()}
    valid = rng.random((STEPS, batch)) < (0.6 if masked else 1)
    scale = np.where(rng.random((hidden, batch)) < 0.2, 0, 1.25) if scaled else np.ones((hidden, batch))
    given = {"w_h": np.stack(parts), **drawn}
    given |= {"valid": valid.astype(np.float32)} if masked else {}
    given |= {"scale": scale.astype(case.dtype)} if scaled else {}
    return given, given["w_h"].astype(np.float32).sum(axis=0), valid, scale.astype(np.float32)


def forward(case: "Case") -> tuple[Arrays, Arrays]:
    """By the equations, what a kernel is given and gives back. W_h of each gate is [units, columns]."""
    like, multiplied = (case.hidden, case.batch), np.float16 if case.dtype == np.float32 else case.dtype
    shapes = {"z_x": ((STEPS, 4, *like), np.float32), "h": (like, case.dtype), "c": (like, np.float32)}
    given, w_h, valid, scale = draw(case, [multiplied], **shapes)
    z_x, h, c = (given[name].astype(np.float32) for name in shapes)
    hs, coefficients = np.empty((STEPS, *like), case.dtype), np.empty((STEPS, 6, *like), KEPT)
    for t in range(STEPS)[:: -1 if case.reverse else 1]:
        read = (h * scale).astype(multiplied).astype(np.float32)
        z = z_x[t] + np.einsum("guh,hb->gub", w_h, read)
        i, f, o = (1 / (1 + np.exp(-z[gate])) for gate in (0, 1, 3))
        g = np.tanh(z[2])
        new_c = f * c + i * g
        phi = np.tanh(new_c)
        by = [g * i * (1 - i), c * f * (1 - f), i * (1 - g * g), phi * o * (1 - o), f, o * (1 - phi * phi)]
        h, c = np.where(valid[t], o * phi, h).astype(case.dtype).astype(np.float32), np.where(valid[t], new_c, c)
        hs[t], coefficients[t] = h, by
    return given, {"hs": hs, "h'": h.astype(case.dtype), "c'": c, "coefficients": coefficients}


def backward(case: "Case") -> tuple[Arrays, Arrays]:
    """By the transposed rule of `jaxlstm.recurrence`, what a kernel is given and gives back."""
    like, w_types = (case.hidden, case.batch), [jnp.bfloat16] * (2 if case.dtype == np.float32 else 1)
    shapes = {
        "coefficients": ((STEPS, 6, *like), KEPT),
        "d_h": (like, case.dtype),
        "d_c": (like, np.float32),
        "d_hs": ((STEPS, *like), case.dtype),
    }
    given, w_h, valid, scale = draw(case, w_types, **shapes)
    given["coefficients"] /= 4  # larger ones would let what is rounded otherwise grow from step to step
    coefficients, d_h, d_c, d_hs = (given[name].astype(np.float32) for name in shapes)
    d_zs = np.empty((STEPS, 4, *like), case.dtype)
    for t in range(STEPS)[:: 1 if case.reverse else -1]:
        *by_z, by_c, by_h = coefficients[t]
        d_h = d_h + d_hs[t]
        new_d_c = d_c + by_h * d_h
        d_z = [by * (d_h if gate == 3 else new_d_c) for gate, by in enumerate(by_z)]
        d_zs[t] = np.where(valid[t], d_z, 0)
        product = scale * np.einsum("ghu,gub->hb", w_h, d_zs[t].astype(np.float32))
        d_h, d_c = np.where(valid[t], product, d_h), np.where(valid[t], by_c * new_d_c, d_c)
    return given, {"d_z": d_zs, "d_h'": d_h.astype(case.dtype), "d_c'": d_c}


def in_blocks(whole: np.ndarray, rows: int) -> np.ndarray:
    """[T, ..., B] as [T, B/N, ..., N]."""
    return np.moveaxis(whole.reshape(*whole.shape[:-1], -1, rows), -2, 1)


def in_tiles(whole: np.ndarray, rows: int) -> np.ndarray:
    """[T, G, H, B] as [T, B/N, H/64, G, 64, N]."""
    by_block = in_blocks(whole, rows)
    steps, blocks, count, hidden, _ = by_block.shape
    return by_block.reshape(steps, blocks, count, hidden // GROUP_UNITS, GROUP_UNITS, rows).swapaxes(2, 3)


def in_registers(whole: np.ndarray, rows: int) -> np.ndarray:
    """Coefficients [T, 6, H, B] as [T, B/N, H/64, 6, 64, N], in the order in which threads hold and `keep` them."""
    tiles = in_tiles(whole, rows)
    # A thread has two values of a row, and two eight rows below, of each eight columns.
    warp, half, row, eight, pair, value = 4, 2, 8, rows // 8, 4, 2
    parts = tiles.reshape(*tiles.shape[:4], warp, half, row, eight, pair, value)
    words = np.moveaxis(parts, (7, 5), (4, 5))  # [..., count, eight, half, warp, row, pair, value]
    quads = words.reshape(*tiles.shape[:3], -1, 4, 128, value).swapaxes(-3, -2)
    return quads.reshape(tiles.shape)


def laid_out(arrays: Arrays, rows: int) -> Arrays:
    """As a kernel has them in memory."""
    orders = dict.fromkeys(("hs", "d_hs", "d_z"), in_blocks) | {"z_x": in_tiles, "coefficients": in_registers}
    return {
        name: np.ascontiguousarray(orders[name](leaf, rows)) if name in orders else leaf
        for name, leaf in arrays.items()
    }


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
    dtype: Any = jnp.bfloat16


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
    "float32": Case(64, 32, "forward", dtype=np.float32),
    "float32 back": Case(64, 32, "backward", scaled=True, dtype=np.float32),
    "two blocks of float32": Case(128, 32, "forward", scaled=True, dtype=np.float32),
    "four blocks of float32 back": Case(256, 16, "backward", dtype=np.float32),
}


@pytest.mark.parametrize("name", CASES)
def test_what_an_h100_would_compute(name, monkeypatch):
    kernels, case = cluster if "blocks" in name else one_block, CASES[name]
    given, expected = (
        laid_out(arrays, case.rows) for arrays in {"forward": forward, "backward": backward}[case.which](case)
    )
    if not case.linearised:
        del expected["coefficients"]
    options = Options(case.rows, case.reverse, case.masked, case.scaled, interpreted=False)
    launch = partial(getattr(kernels.KERNELS, case.which), options, [*expected.values()])
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
        [arrays[name] for name in ORDERS[case.which] if name in arrays],
        tensor_map(kernels, case.which, given["w_h"]),
        seed=case.hidden,
    )
    machine.run(case.batch // case.rows * program.cluster, execute)
    assert all(memory.written.all() for memory in machine.memories)
    assert_close_by_norm(actual, expected, 1e-3)


def tensor_map(kernels: Any, which: str, w_h: np.ndarray) -> TensorMap:
    """Of W_h, from which a kernel copies what does not fit into registers: tiles of 8 by 16."""
    parts, gates, hidden, _ = w_h.shape
    tiles = w_h.reshape(parts * gates, hidden // 8, 8, hidden // 16, 16).swapaxes(2, 3)
    of_cluster = hidden - cluster.COLUMNS if which == "forward" else GROUP_UNITS
    columns = hidden if kernels is one_block else of_cluster
    return TensorMap(tiles, (1, 8, columns // 16, 8, 16))
