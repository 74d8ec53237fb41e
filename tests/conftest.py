"""Settings that the tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import pytest

# The same examples at every run, and no time limit on one: its first run compiles.
hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None, max_examples=25)
hypothesis.settings.load_profile("deterministic")

# On a GPU each worker would take most of the memory, and round float32 products to TensorFloat-32. JAX_PLATFORMS asks
# for one all the same.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])

# Most programs here are small. JAX would not keep what took less than a second to compile; with
# JAX_COMPILATION_CACHE_DIR set, all of them together make the second run several times faster.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

# A cache for each process of pytest-xdist, and the programs that its tests start: JAX writes an entry in place, and
# another process that reads it half-written warns, which is an error here.
if (compiled := jax.config.jax_compilation_cache_dir) and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(compiled) / worker)
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])

# And compiling takes more of the tests' time than running: without LLVM's expensive passes it takes two thirds of it.
# In the programs that the tests start as well, whose results are compared to the bit.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="module", autouse=True)
def programs_forgotten() -> Iterator[None]:
    """After each module: the programs that JAX has compiled for all of them would take gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """float64 beside float32, for one module: most tests run at JAX's default, as users do."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def strict_ranks() -> Iterator[None]:
    """No silent rank promotion: [H] + [B, H] raises. For modules that run code of this project alone."""
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(scope="module")
def optimised() -> Iterator[None]:
    """Programs as users compile them, for one module: where bits are compared across programs."""
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
    jax.clear_caches()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of downloads of its own for each test, no local data, and no proxy before a server on this machine."""
    monkeypatch.setenv("JAXLSTM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("JAXLSTM_DATA", raising=False)
    return tmp_path / "cache"
