"""Fair timing: a stated number of threads, a warm-up, and repeats in turn (A B C A B C ...)."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import torch
from threadpoolctl import threadpool_info, threadpool_limits

# Seconds on the wall, or those in which this process computed, in all of its threads: for one
# thread the same on a machine of one's own, and the better where other work shares its cores.
CLOCKS = {"wall": perf_counter, "processor": process_time}
PACKAGES = ("sklearn-unroll", "scikit-learn", "torch", "numpy", "spams-bin", "celer", "skglm")
PACKAGES += ("dictlearn",)
# Seconds in which threads of OpenMP, which wait busily for more from the job before, fall asleep.
_REST = 0.05


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


def clocked(job: Callable[[], Any], clock: str = "wall") -> tuple[Any, float]:
    """Return what a job returns, and the seconds it took."""
    start = CLOCKS[clock]()
    found = job()
    return found, CLOCKS[clock]() - start


def compete(
    jobs: Mapping[Any, Callable[[], Any]], repeats: int, clock: str = "wall"
) -> tuple[dict[Any, Any], dict[Any, list[float]]]:
    """Return what every job returns, and its seconds, ``repeats`` times, taken in turn.

    All jobs have run once before a clock starts. So a slow minute of the machine hits all jobs,
    not one of them. On several threads a rest goes before each: threads of the one before wait
    busily for more of it, and would take the cores of this one.
    """
    found = {key: job() for key, job in jobs.items()}
    seconds: dict[Any, list[float]] = {key: [] for key in jobs}
    for _ in range(repeats):
        for key, job in jobs.items():
            if torch.get_num_threads() > 1:
                sleep(_REST)
            seconds[key].append(clocked(job, clock)[1])
    return found, seconds


def installed(package: str | None, rows: str) -> bool:
    """Return whether a rival's package is at hand; say which rows there will not be if not."""
    found = package is None or find_spec(package) is not None
    if not found:
        print(
            f"skipped {rows}: {package} is not installed, pip install sklearn-unroll[benchmarks]"
        )
    return found


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
