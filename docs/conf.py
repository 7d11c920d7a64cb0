"""Sphinx configuration; `make docs` builds with warnings as errors and without network."""

import importlib
import re
from pathlib import Path

from sphinx.util import logging

import sklearn_unroll

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "sklearn_unroll"
ROOMS = (
    "estimators", "training", "solvers", "functional", "nn", "theory", "datasets", "metrics",
    "plotting", "testing",
)  # fmt: skip

project = "sklearn_unroll"
author = "The sklearn_unroll developers"
copyright = f"2026, {author}"
release = version = sklearn_unroll.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "literal"

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_unroll"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"index": [], "user_guide": [], "notation": [], "differences": []}

autodoc_typehints = "none"  # the docstrings say types, with shapes
autosummary_generate = True
numpydoc_show_class_members = False  # the class template lists them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "doc_module": ("sklearn_unroll",),
    "reference_url": {"sklearn_unroll": None},
    "download_all_examples": False,
    "write_computation_times": False,
    "show_signature": False,
    "remove_config_comments": True,
}


def skip_foreign_members(app, what, name, obj, skip, options):
    """Leave out what torch, scikit-learn and NamedTuple put into our classes."""
    function = getattr(obj, "fget", None) or getattr(obj, "__func__", obj)
    ours = str(getattr(function, "__module__", None)).startswith("sklearn_unroll")
    return skip or not ours


def collect_differences(app):
    """Write every `# NOTE[DIFF]: ...` comment, with its place, for differences.rst."""
    items = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"# NOTE\[DIFF\]: (.*(?:\n *# ?.*)*)", text):
            note = re.sub(r"\s*\n *# ?", " ", match[1])
            line = text.count("\n", 0, match.start()) + 1
            items.append(f"``{path.relative_to(PACKAGE.parent)}``, line {line}\n   {note}\n")
    target = DOCS / "generated" / "differences.inc"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(items) or "None so far.\n", encoding="utf-8")


def check_api_page(app):
    """Warn, and so fail, when a public name is missing on the API page, or one there is gone."""
    page = (DOCS / "api.rst").read_text(encoding="utf-8")
    sections = re.split(r"^\.\. currentmodule:: (\S+)$", page, flags=re.MULTILINE)
    listed = dict(zip(sections[1::2], sections[2::2], strict=True))
    top = set(sklearn_unroll.__all__)  # shown once, at the top
    for name in ("sklearn_unroll", *(f"sklearn_unroll.{room}" for room in ROOMS)):
        public = set(importlib.import_module(name).__all__)
        public -= top if name != "sklearn_unroll" else set()
        shown = set(re.findall(r"^   (\w+)$", listed.get(name, ""), re.MULTILINE))
        if shown != public:
            logging.getLogger(__name__).warning(
                "api.rst lacks %s of %s, which has no %s",
                *(sorted(public - shown), name, sorted(shown - public)),
            )


def setup(app):
    app.connect("autodoc-skip-member", skip_foreign_members)
    app.connect("builder-inited", collect_differences)
    app.connect("builder-inited", check_api_page)
