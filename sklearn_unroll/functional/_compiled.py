"""Loops over single samples as machine code, where numba (the extra ``fast``) is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any

from sklearn_unroll.functional._alone import n_threads, share_out

# Dividing by zero gives infinity, as in numpy: to look for it would cost vector instructions.
_OPTIONS = {"fastmath": True, "nogil": True, "error_model": "numpy"}
# Sums may be reordered, but NaN and infinity stay what they are.
HONEST = frozenset({"reassoc", "contract", "nsz"})


@lru_cache
def compiled_available() -> bool:
    """Return whether numba is installed."""
    return find_spec("numba") is not None


def _steps(loop: Callable) -> Iterator[Callable]:
    """Yield the functions of its file that a loop calls, and those that they call."""
    for name in loop.__code__.co_names:
        step = loop.__globals__.get(name)
        if isinstance(step, FunctionType):
            yield step
            yield from _steps(step)


def in_threads(run: Callable[[slice], None], n_rows: int, most: int) -> None:
    """Call ``run`` with slices of at most so many rows, in as many threads as torch has.

    No slice is larger than a thread's share; for one alone no thread is started.
    """
    n = n_threads()
    size = max(1, min(-(-n_rows // n), most))
    shares = [slice(first, min(first + size, n_rows)) for first in range(0, n_rows, size)]
    share_out(run, shares)


@lru_cache
def compiled(loop: Callable, fastmath: bool | frozenset = True, in_place: bool = True) -> Callable:
    """Return a loop as machine code, from numba's cache on disk where there is one.

    Steps are put in its place or called: of many, that takes a third of the time to compile.
    """
    import numba
    from numba.extending import register_jitable

    options = _OPTIONS | {"fastmath": fastmath if fastmath is True else set(fastmath)}
    for step in set(_steps(loop)):
        vectors = getattr(step, "put_in_place", None)  # see functional._vectors
        if vectors is None:
            register_jitable(forceinline=in_place, **options)(step)
        else:
            vectors()
    try:
        cached = numba.njit(cache=True, **options)(loop)
    except RuntimeError:  # no place to write to
        return numba.njit(**options)(loop)
    # Numba looks at the file of the loop alone; its steps and its options stand in others.
    sources = {step.__code__.co_filename for step in (loop, *_steps(loop))}
    files = [Path(name) for name in sorted(sources | {__file__})]
    stamp = [(file.stat().st_mtime, file.stat().st_size) for file in files if file.exists()]
    if hasattr(getattr(cached._cache, "_cache_file", None), "_source_stamp"):
        cached._cache._cache_file._source_stamp = stamp
    anew = lru_cache(lambda: numba.njit(**options)(loop))

    def run(*args: Any) -> None:
        if anew.cache_info().currsize == 0:
            try:
                cached(*args)
                return
            except Exception:  # of many classes: a file was cut off, or cannot be read or written
                with suppress(Exception):  # so that the next process writes it again
                    cached._cache.flush()
        anew()(*args)

    return run
