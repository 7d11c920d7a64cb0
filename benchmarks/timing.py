"""Fair timing: a stated number of threads, a warm-up, and repeats in turn (A B C A B C ...)."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from threadpoolctl import threadpool_info, threadpool_limits

PACKAGES = ("sklearn-unroll", "scikit-learn", "torch", "numpy", "spams-bin", "celer", "skglm")


@contextmanager
def limit_threads(n_threads: int) -> Iterator[str]:
    """Limit BLAS, OpenMP and torch; give a line that says what they report afterwards."""
    before = torch.get_num_threads()
    with threadpool_limits(n_threads):
        torch.set_num_threads(n_threads)
        pools = {f"{p['internal_api']} {p['num_threads']}" for p in threadpool_info()}
        try:
            yield f"threads: torch {torch.get_num_threads()}, {', '.join(sorted(pools))}"
        finally:
            torch.set_num_threads(before)


def measure(jobs: Mapping[Any, Callable[[], Any]], repeats: int) -> dict[Any, list[float]]:
    """Return the seconds of every job, ``repeats`` times each, taken in turn.

    So a slow minute of the machine hits all jobs, not one of them. The caller warms up.
    """
    seconds: dict[Any, list[float]] = {key: [] for key in jobs}
    for _ in range(repeats):
        for key, job in jobs.items():
            start = perf_counter()
            job()
            seconds[key].append(perf_counter() - start)
    return seconds


def installed_versions() -> str:
    """Return the versions of Python and of the packages that are timed."""
    found = [f"python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return "; ".join(found)


def cpu_model() -> str:
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
