"""The Python code of the pages: each block as a module of its own, as a reader would run it."""

import re
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

ROOT = Path(__file__).parents[1]
FENCED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"^\.\. code-block:: python\n\n((?: .*\n|\n)+)", re.MULTILINE)


def python_blocks(page):
    """Return {line number: code} of a page, counted from one."""
    text = (ROOT / page).read_text(encoding="utf-8")
    pattern = FENCED if page.endswith(".md") else DIRECTIVE
    return {
        text.count("\n", 0, match.start(1)) + 1: dedent(match[1])
        for match in pattern.finditer(text)
    }


def run(code, name, monkeypatch):
    """Run a block; a module and not a dict, so that its classes can be pickled."""
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(code, name, "exec"), vars(module))
    return module
