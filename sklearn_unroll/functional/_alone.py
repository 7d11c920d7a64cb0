"""Threads in which torch computes alone, so that many of them keep no core from each other.

After every operation that torch shares out, the threads of OpenMP wait busily for the next one, a
few milliseconds: on cores that threads of our own would use. Here each of these takes its samples
from the first product to the last, and torch and MKL use but the thread that calls. What tells
them so holds in the thread that says it and dies with it: no setting of the process is touched.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

__all__ = [
    "alone",
    "calm",
    "can_compute_alone",
    "even_parts",
    "lone_threads",
    "n_threads",
    "share_out",
]

_CALM = threading.local()


@lru_cache
def _tell_mkl() -> Callable[[int], int] | None:
    """Return MKL's function for the calling thread, None where torch's library has none."""
    for library in sorted((Path(torch.__file__).parent / "lib").glob("*torch_cpu.*")):
        try:
            return ctypes.CDLL(str(library)).MKL_Set_Num_Threads_Local
        except (OSError, AttributeError):
            continue
    return None


@lru_cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")


def can_compute_alone() -> bool:
    """Return whether torch can be kept to one thread: MKL asks nobody but its own function."""
    return not torch.backends.mkl.is_available() or _tell_mkl() is not None


def _compute_alone() -> None:
    torch.get_num_threads()  # torch sets up a thread when it is first used there: not later
    if torch.backends.mkl.is_available() and (tell := _tell_mkl()) is not None:
        tell(1)
    _openmp().limit(limits=1)  # an internal variable of the calling thread, by OpenMP's standard


def lone_threads(n_threads: int) -> ThreadPoolExecutor:
    """Return threads, in each of which torch computes alone.

    Parameters
    ----------
    n_threads : int
        How many.

    Returns
    -------
    ThreadPoolExecutor
        To be shut down by whoever asked.
    """
    return ThreadPoolExecutor(n_threads, initializer=_compute_alone)


def n_threads() -> int:
    """Return how many threads torch has, calm or not.

    Returns
    -------
    int
        For loops of our own.
    """
    return getattr(_CALM, "n_threads", None) or torch.get_num_threads()


def even_parts(n_samples: int, most: int, n: int) -> tuple[int, list[slice]]:
    """Return parts for n threads, as even as they can be, and how many samples the first has.

    Parameters
    ----------
    n_samples : int
        How many there are.
    most : int
        How many a part has at most.
    n : int
        Threads, each of which gets as many parts.

    Returns
    -------
    tuple of (int, list of slice)
        The most samples of a part, and the parts.
    """
    n_parts = n * max(-(-n_samples // (most * n)), 1)
    size = max(-(-n_samples // n_parts), 1)
    starts = range(0, n_samples, size)
    return size, [slice(start, min(start + size, n_samples)) for start in starts]


def share_out(run: Callable[[Any], None], parts: Sequence[Any]) -> None:
    """Call ``run`` with every part, in as many threads as torch has, each of which is alone.

    The calling thread is one of them: to start another one takes as long as a small part.

    Parameters
    ----------
    run : callable
        Takes a part, and writes where no other one does; products of torch want threads that
        can compute alone.
    parts : sequence
        What there is to do.
    """
    n, left = min(n_threads(), len(parts)), deque(parts)

    def work() -> None:
        while True:
            try:
                part = left.popleft()
            except IndexError:
                return
            run(part)

    if n <= 1:
        work()
        return
    with alone(), lone_threads(n - 1) as pool:
        others = [pool.submit(work) for _ in range(n - 1)]
        n, _CALM.n_threads = _CALM.n_threads, 1  # parts of parts are not shared out again
        try:
            work()
        finally:
            left.clear()
            _CALM.n_threads = n
    for other in others:
        other.result()


@contextmanager
def calm() -> Iterator[None]:
    """Share out no operation of the calling thread but products, as loops of our own do follow."""
    n = torch.get_num_threads()
    if n == 1:
        yield
        return
    _CALM.n_threads = n
    try:
        with _openmp().limit(limits=1):
            yield
    finally:
        del _CALM.n_threads


@contextmanager
def alone() -> Iterator[None]:
    """Share out no operation of the calling thread, not even products.

    Small ones end sooner than the threads they wake go to sleep, which threads of our own follow.
    """
    of_mkl = _tell_mkl() if torch.backends.mkl.is_available() else None
    if torch.get_num_threads() == 1 or of_mkl is None:
        with calm():
            yield
        return
    before = of_mkl(1)
    try:
        with calm():
            yield
    finally:
        of_mkl(before)  # zero is the number of the process
