"""Solvers on one dataset: prepared and warmed up all, then timed in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from statistics import median
from typing import Any

from benchmarks.base import Dataset, Solver
from benchmarks.study import Row
from benchmarks.timing import clocked, compete


def contest(
    dataset: Dataset,
    solvers: Iterable[Solver],
    repeats: int,
    judge: Callable[[Any], Row],
    n_slow: int | None = None,
) -> list[Row]:
    """Return a row per solver: its settings, what the judge says of its codes, and its times.

    Solvers that are slow get the first ``n_slow`` signals only.
    """
    data = {dtype: dataset.astype(dtype) for dtype in ("float32", "float64")}
    jobs, rows = {}, {}
    for solver in solvers:
        _, seconds = clocked(partial(solver.prepare, data[solver.dtype]))
        X = data[solver.dtype].X[: n_slow if solver.slow else None]
        jobs[solver] = partial(solver.solve, X)
        rows[solver] = {
            "solver": solver.name,
            "parameters": solver.describe(),
            "dtype": solver.dtype,
            "n_samples": len(X),
            "prepare_seconds": seconds,
        }
    found, seconds = compete(jobs, repeats)
    for solver, row in rows.items():
        row |= {} if found[solver] is None else judge(found[solver])
        row["us_per_signal"] = 1e6 * median(seconds[solver]) / row["n_samples"]
        row["us_least"] = 1e6 * min(seconds[solver]) / row["n_samples"]
    return list(rows.values())
