"""The pages in docs: the Python in them runs, from top to bottom, and what it asserts holds."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
NEEDS = {"keras": "keras", "pytorch": "torch", "flax": "flax"}  # by the end of the page's name
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_there_is_a_page_for_each_library():
    assert {page.stem for page in DOCS.glob("coming_from_*.md")} == {f"coming_from_{name}" for name in NEEDS}


# Keras's own Variable.numpy warns under NumPy 2.4.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # Keras is not there at all where its default backend is missing
    for name, package in NEEDS.items():
        if page.stem == f"coming_from_{name}":
            pytest.importorskip(package, reason=f"{package} is not installed")
    text = page.read_text()
    namespace: dict = {"__name__": page.stem}
    for match in BLOCK.finditer(text):
        # As many empty lines before it as in the page, so that an error names the page's own line.
        code = "\n" * (text.count("\n", 0, match.start()) + 1) + match[1]
        exec(compile(code, str(page), "exec"), namespace)
