"""Every block of Python code on the pages runs as written, alone; warnings are errors."""

import importlib
import re

import matplotlib.pyplot as plt
import pytest

from tests.code_blocks import ROOT, python_blocks, run

PAGES = ("README.md", "docs/index.rst", "docs/user_guide.rst")
BLOCKS = {f"{page}:{line}": code for page in PAGES for line, code in python_blocks(page).items()}


@pytest.fixture
def no_window(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.mark.parametrize("place", BLOCKS)
def test_block_runs_alone(place, monkeypatch, no_window):
    run(BLOCKS[place], "a_block", monkeypatch)


def test_all_blocks_were_found():
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert len(python_blocks(page)) == len(re.findall(r"```python|code-block:: python", text))
        # A literal block without a language would be code that nobody runs.
        assert not re.search(r"^(?!\s*\.\. ).*::$", text, re.MULTILINE)
    assert len(BLOCKS) >= 13


@pytest.mark.parametrize("page", [p.name for p in (ROOT / "docs").glob("*.rst")])
def test_names_that_a_page_refers_to_exist(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name in re.findall(r":(?:class|func|mod|meth):`~?(sklearn_unroll[\w.]*)`", text):
        room, _, last = name.rpartition(".")
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError:
            found = getattr(importlib.import_module(room), last, None)
        assert found is not None, name
