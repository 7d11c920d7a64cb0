"""One file per family of solvers; every ``Solver`` in them that has a name is run."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from benchmarks.base import Solver


def all_solvers() -> dict[str, type[Solver]]:
    """Return the solver classes of this folder by name."""
    found = {}
    for module in iter_modules(__path__):
        for cls in vars(import_module(f"{__name__}.{module.name}")).values():
            if isinstance(cls, type) and issubclass(cls, Solver) and "name" in vars(cls):
                found[cls.name] = cls
    return found
