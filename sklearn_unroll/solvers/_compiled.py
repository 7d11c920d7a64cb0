"""Loops over single samples as machine code, where numba (the extra ``fast``) is installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec


def compiled_available() -> bool:
    """Return whether numba is installed."""
    return find_spec("numba") is not None


@lru_cache
def compiled(loop: Callable) -> Callable:
    """Return a loop as machine code, from numba's cache on disk where there is one."""
    import numba

    options = {"fastmath": True, "nogil": True}
    try:
        return numba.njit(cache=True, **options)(loop)
    except RuntimeError:  # no place to write to
        return numba.njit(**options)(loop)
