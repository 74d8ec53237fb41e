"""The tables of the pages are those that the committed results make."""

from pathlib import Path

import pytest

from benchmarks import tables

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", tables.TABLES)
def test_pages_show_the_committed_figures(page):
    text = (ROOT / page).read_text()
    for table in tables.TABLES[page]:
        assert table() in text


@pytest.mark.parametrize(
    ("file", "rivals", "pages"),
    [("cpu_zen5.json", 6, ["README.md"]), ("cpu_zen5_jax012.json", 5, ["README.md", "docs/speed.md"])],
)
def test_pages_show_the_means_on_the_newer_processor(file, rivals, pages):
    *_, means = tables.against_rivals(file, "train").splitlines()
    *first, last = means.split(" | ")[2 : 2 + rivals]
    for page in pages:
        assert f"are {', '.join(first)} and {last}." in (ROOT / page).read_text()


def test_a_geometric_mean_is_one(monkeypatch):
    rows = [
        {"shape": shape, "rival": "torch", "pass": "train", "milliseconds": 1234.5, "ratio": ratio}
        for shape, ratio in (("echo", 0.5), ("langid", 4.5))
    ]
    monkeypatch.setattr(tables, "_rows", lambda file: rows)
    assert tables.against_rivals("any", "train").splitlines()[2:] == [
        "| 64, 50, 100, 25 | 1234 ms | 0.50 |",
        "| 128, 5, 44, 128 | 1234 ms | 4.50 |",
        "| geometric mean |  | 1.50 |",
    ]


def test_a_page_says_what_made_each_committed_file():
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert [file.name for file in tables.RESULTS.iterdir() if file.name not in pages] == []
