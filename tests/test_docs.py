"""The pages that are programs: their Python runs, from top to bottom, and what it asserts holds."""

import re
from pathlib import Path

import jax
import pytest

from experiments.bilingual import as_typeset
from jaxlstm.data import word_ids
from jaxlstm.data.text import Alphabet

ROOT = Path(__file__).parent.parent
NEEDS = {
    "README": "jax",
    "docs/training": "safetensors",
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


def test_texts_become_ids_without_the_library_as_they_do_with_it():
    pytest.importorskip("onnx", reason="onnx is not installed")
    page = run_page("docs/deploying")
    vocabulary = ["the", "it's", "film", "a"]
    for text in ("It\u2019s THE<br />film - a 'film'.", "", "one_two it's", "a the " * 9):
        (ids,) = word_ids.encode_texts([text], vocabulary, 6, 12)
        assert page["review_ids"](text, vocabulary, 6, 12) == ids[ids != word_ids.PADDING].tolist()
    for characters in (" 'aelt\u00e9", " aelt\u00e9\u2019"):
        for text in ("L'\u00c9t\u00e9,\n l\u2019a", "", " \u02bcx"):
            expected = Alphabet(characters).encode(as_typeset(text, characters))
            assert page["character_ids"](text, characters) == expected.tolist()


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
    return namespace
