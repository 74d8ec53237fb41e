"""What `import jaxlstm` brings with it."""

import json
import subprocess
import sys

import pytest

PARTS_OF_JAX = "jax, jax.numpy, jax.ad_checkpoint, jax.custom_derivatives"
HEAVY = ["flax", "optax", "orbax", "matplotlib", "rich", "pooch", "requests", "sklearn", "scipy.stats", "tyro", "chex"]


def loaded_by(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(finished.stdout))


def test_importing_the_package_loads_jax_and_numpy_alone():
    # jax brings NumPy, SciPy and its own parts; whatever is beyond them came from us.
    ours = loaded_by("import jaxlstm")
    assert not ours & set(HEAVY)
    beyond = {name.partition(".")[0] for name in ours - loaded_by(f"import {PARTS_OF_JAX}")}
    third_party = {name for name in beyond if name not in sys.stdlib_module_names}
    assert third_party == {"jaxlstm"}


def test_importing_the_conversions_loads_no_other_library():
    assert not loaded_by("import jaxlstm.interop") & {"torch", "keras", "tensorflow", "flax", "haiku", "equinox"}


@pytest.mark.parametrize(
    "module",
    [
        *("stack", "regularise", "streaming", "decoding", "sampling", "beam_search", "trace", "layers"),
        *("data.text", "data.ngrams", "data.sample", "data.series"),
    ],
)
def test_what_needs_jax_and_numpy_alone_loads_nothing_heavy(module):
    assert not loaded_by(f"import jaxlstm.{module}") & set(HEAVY)
