"""One file per dataset: a function ``load(n_samples, **sizes)``, and two ``SIZES``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def all_datasets() -> dict[str, ModuleType]:
    """Return the modules of this folder by name."""
    return {m.name: import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__)}
