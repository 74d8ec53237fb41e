"""The pages in docs: the Python in them runs, from top to bottom, and what it asserts holds."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
LIBRARIES = {"keras": "keras", "pytorch": "torch", "flax": "flax"}
NEEDS = {f"coming_from_{name}": package for name, package in LIBRARIES.items()} | {"deploying": "onnx"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_there_is_a_page_for_each_library():
    assert {page.stem for page in DOCS.glob("*.md")} >= NEEDS.keys()


# Keras's own Variable.numpy warns under NumPy 2.4.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # Keras is not there at all where its default backend is missing
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem], reason=f"{NEEDS[page.stem]} is not installed")
    text = page.read_text()
    namespace: dict = {"__name__": page.stem}
    for match in BLOCK.finditer(text):
        # As many empty lines before it as in the page, so that an error names the page's own line.
        code = "\n" * (text.count("\n", 0, match.start()) + 1) + match[1]
        exec(compile(code, str(page), "exec"), namespace)
