"""The pages in docs that are programs: their Python runs, from top to bottom, and what it asserts holds."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
NEEDS = {
    "coming_from_keras": "keras",
    "coming_from_pytorch": "torch",
    "coming_from_flax": "flax",
    "deploying": "onnx",
    "features": "matplotlib",
}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# Keras's own Variable.numpy warns under NumPy 2.4.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("name", NEEDS)
def test_the_code_of_a_page_runs(name, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # Keras is not there at all where its default backend is missing
    pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed")
    page = DOCS / f"{name}.md"
    text = page.read_text()
    namespace: dict = {"__name__": name}
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) > 2
    for match in blocks:
        # As many empty lines before it as in the page, so that an error names the page's own line.
        code = "\n" * (text.count("\n", 0, match.start()) + 1) + match[1]
        exec(compile(code, str(page), "exec"), namespace)
