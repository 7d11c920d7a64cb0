"""What a certificate costs: time against duality gap, and against alpha, on one thread.

``python -m benchmarks.certificate`` codes Gaussian signals with LassoCoder and with the peers, in
turn and in one run, and prints for every setting the time per signal and the largest and the
median relative duality gap, evaluated in float64. The first table has one alpha, a tenth of every
signal's smallest alpha with zero codes, and each solver at several tolerances; the second goes
from 0.5 down to 0.005 of it, each solver at its setting for 1e-6 or better. Solvers that loop over
signals in Python or take milliseconds for each get the first 100 signals.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from benchmarks.base import Dataset, Solver
from benchmarks.datasets import gaussian
from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.run import positive
from benchmarks.solvers import all_solvers
from benchmarks.timing import cpu_model, installed_versions, limit_threads, measure
from sklearn_unroll.metrics import duality_gap

ALPHAS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
SLOW = {"celer_path", "skglm_cd", "sklearn_lasso_lars"}
# The settings of every solver, from loose to tight; the last one runs at every alpha.
EXTRA = {
    "lasso_coder": [{"tol": 1e-4}, {"tol": 1e-6}, {"tol": 1e-10}],
    "fista": [{"tol": 1e-2}, {"tol": 1e-4}, {"tol": 1e-6}],
    "spams_cd": [{"tol": 2e-4, "itermax": 1000}, {"tol": 2e-6, "itermax": 1000}],
    "spams_lasso": [{}],
    "sklearn_lasso_cd": [{}],
    "sklearn_lasso_lars": [{}],
    "sklearn_lasso_gram": [{"tol": 1e-4}, {"tol": 1e-6}],
    "celer_path": [{"tol": 1e-3}, {"tol": 1e-5}],
    "skglm_cd": [{"tol": 1e-7}, {"tol": 1e-9}],
}
# Where float32 is an option: what it cannot reach is left out.
SINGLE = {"lasso_coder": [{"tol": 1e-4}, {"tol": 1e-6}], "fista": [{"tol": 1e-4}],
          "spams_cd": [{"tol": 2e-4, "itermax": 1000}], "spams_lasso": [{}]}  # fmt: skip
COLUMNS = ("part", "alpha", "solver", "parameters", "dtype", "us_per_signal", "gap_max")
COLUMNS += ("gap_median", "n_nonzero", "times_slower_than_lasso_coder")


def contenders(tight_only: bool) -> Iterator[Solver]:
    """Yield solvers that are installed, at their tolerances."""
    found = all_solvers()
    for name, settings in EXTRA.items():
        if not found[name].available():
            print(f"skipped {name}: {found[name].requires} is not installed")
            continue
        for one in settings[-1:] if tight_only else settings:
            yield found[name](dtype="float64", **one)
        for one in () if tight_only else SINGLE.get(name, ()):
            yield found[name](dtype="float32", **one)


def compare(dataset: Dataset, part: str, repeats: int, n_slow: int) -> list[dict[str, Any]]:
    """Return one row per solver and setting."""
    jobs, rows = {}, []
    for solver in contenders(tight_only=part == "alpha"):
        data = dataset.astype(solver.dtype)
        if solver.name in SLOW:
            data = replace(data, X=data.X[:n_slow])
        solver.prepare(data)
        job = partial(solver.solve, data.X)
        codes = job()  # and a warm-up
        codes = np.asarray(codes.toarray() if issparse(codes) else codes, dtype=np.float64)
        exact = dataset.X[: len(codes)]
        gap = duality_gap(exact, codes, dataset.dictionary, dataset.alpha)
        jobs[len(rows)] = job
        rows.append(
            {
                "part": part,
                "alpha": dataset.alpha,
                "solver": solver.name,
                "parameters": solver.describe(),
                "dtype": solver.dtype,
                "n_signals": len(codes),
                "gap_max": float(gap.max()),
                "gap_median": float(np.median(gap)),
                "n_nonzero": float((codes != 0).sum(1).mean()),
            }
        )
    for key, times in measure(jobs, repeats).items():
        rows[key]["us_per_signal"] = 1e6 * median(times) / rows[key]["n_signals"]
    ours = [r for r in rows if r["solver"] == "lasso_coder" and r["dtype"] == "float64"][-1]
    for row in rows:
        row["times_slower_than_lasso_coder"] = row["us_per_signal"] / ours["us_per_signal"]
    return rows


def main(argv: Sequence[str] | None = None) -> Path:
    """Run, print and write ``certificate.csv``; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.certificate")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs")
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--n-samples", type=positive, default=1000)
    parser.add_argument("--shape", type=int, nargs=2, default=(250, 500), metavar=("M", "N"))
    parser.add_argument("--alphas", type=float, nargs="*", default=ALPHAS)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV")
    options = parser.parse_args(argv)
    shape, n_samples, alphas, n_slow = options.shape, options.n_samples, options.alphas, 100
    if options.quick:
        shape, n_samples, alphas, n_slow = (30, 60), 40, (0.5, 0.05), 10
    data = gaussian.load(n_samples, *shape, n_train=1)
    rows = []
    with limit_threads(1) as threads, warnings.catch_warnings():
        # Codes are judged by their gap, whatever a solver says of them.
        warnings.simplefilter("ignore", ConvergenceWarning)
        print(f"{threads}; {n_samples} signals, {shape[0]}x{shape[1]}", flush=True)
        for part, weights in (("gap", (0.1,)), ("alpha", alphas)):
            for alpha in weights:
                found = compare(replace(data, alpha=alpha), part, options.repeats, n_slow)
                print_table(found, COLUMNS, title=f"alpha {alpha} of the largest")
                rows += found
    where = {"shape": f"{shape[0]}x{shape[1]}", "versions": installed_versions()}
    rows = [row | where | {"cpu": cpu_model()} for row in rows]
    return write_csv(rows, options.output / "certificate.csv")


if __name__ == "__main__":
    main()
