"""The pages that are programs: their Python runs, from top to bottom, and what it asserts holds."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parent.parent
NEEDS = {
    "README": "jax",
    "docs/training": "orbax.checkpoint",
    "docs/coming_from_keras": "keras",
    "docs/coming_from_pytorch": "torch",
    "docs/coming_from_flax": "flax",
    "docs/deploying": "onnx",
    "docs/features": "matplotlib",
    "docs/many_devices": "optax",
}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# Keras's own Variable.numpy warns under NumPy 2.4.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("name", NEEDS)
def test_the_code_of_a_page_runs(name, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # Keras is not there at all where its default backend is missing
    pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed")
    run_page(name)


def test_the_code_of_the_readme_runs_in_float64():
    with jax.enable_x64(True):
        run_page("README")


def run_page(name):
    page = ROOT / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    namespace: dict = {"__name__": page.stem}
    blocks = list(BLOCK.finditer(text))
    assert blocks
    for match in blocks:
        # As many empty lines before it as in the page, so that an error names the page's own line.
        code = "\n" * (text.count("\n", 0, match.start()) + 1) + match[1]
        exec(compile(code, str(page), "exec"), namespace)
