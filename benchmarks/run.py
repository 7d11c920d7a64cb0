"""Run the benchmark: ``python -m benchmarks.run [--quick] [--dataset ...] [--solver ...]``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.base import Dataset, Solver
from benchmarks.datasets import all_datasets
from benchmarks.floor import Floor
from benchmarks.objective import Objective
from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.solvers import all_solvers
from benchmarks.timing import cpu_model, installed_versions, limit_threads, measure

BASELINE = "floor"  # 32 matrix products in the dtype of the solver, see floor.py
SHOWN = ("dataset", "solver", "parameters", "dtype", "microseconds_per_signal", "ratio_to_floor")
SHOWN += ("gap_mean", "gap_max", "objective_excess", "nmse_db", "prepare_seconds")


def run_dataset(
    dataset: Dataset, solvers: Iterable[type[Solver]], *, quick: bool, threads: int, repeats: int
) -> list[dict[str, Any]]:
    """Return one row per solver and setting: prepare all, warm up all, then time in turn."""
    objective = Objective(dataset)
    if dataset.n_nonzero is None:
        dataset = replace(dataset, n_nonzero=max(1, round(objective.optimal_n_nonzero)))
    print(
        f"{dataset.name}: {len(dataset.X)} signals, dictionary {dataset.dictionary.shape}, "
        f"alpha {dataset.alpha}; the optimum has {objective.optimal_n_nonzero:.1f} nonzeros",
        flush=True,
    )
    data = {dtype: dataset.astype(dtype) for dtype in ("float32", "float64")}
    rows, jobs = [], {}
    for cls in (Floor, *solvers):
        for settings in cls.grid(quick):
            solver = cls(threads=threads, **settings)
            if not solver.applies_to(dataset):
                continue
            start = perf_counter()
            solver.prepare(data[solver.dtype])
            prepared = perf_counter()
            job = _job(solver, data[solver.dtype].X)
            codes = job()  # the warm-up, and what is judged
            print(f"  {cls.name} {solver.describe()} {solver.dtype}", flush=True)
            jobs[len(rows)] = job
            rows.append(
                {
                    "dataset": dataset.name,
                    "solver": cls.name,
                    "parameters": solver.describe(),
                    "dtype": solver.dtype,
                    "threads": threads,
                    "n_samples": len(dataset.X),
                    "n_features": dataset.X.shape[1],
                    "n_components": len(dataset.dictionary),
                    "alpha": dataset.alpha,
                    "prepare_seconds": prepared - start,
                    **({} if codes is None else objective.evaluate(codes)),
                    "baseline": BASELINE,
                    "versions": installed_versions(),
                    "cpu": cpu_model(),
                }
            )
    for key, seconds in measure(jobs, repeats).items():
        rows[key] |= {
            "seconds_median": median(seconds),
            "seconds_min": min(seconds),
            "seconds_max": max(seconds),
            "microseconds_per_signal": 1e6 * median(seconds) / len(dataset.X),
        }
    floors = {r["dtype"]: r["seconds_median"] for r in rows if r["solver"] == BASELINE}
    for row in rows:
        row["ratio_to_floor"] = row["seconds_median"] / floors[row["dtype"]]
    return rows


def _job(solver: Solver, X: Any) -> Any:
    return lambda: solver.solve(X)


def positive(text: str) -> int:
    """Parse a positive integer of the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def main(argv: Sequence[str] | None = None) -> Path:
    """Run what the command line asks for, print it, write it; return the CSV's path."""
    datasets, solvers = all_datasets(), all_solvers()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs")
    parser.add_argument("--dataset", nargs="+", choices=datasets, default=list(datasets))
    parser.add_argument("--solver", nargs="+", choices=solvers, default=list(solvers))
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--n-samples", type=positive, help="signals to code, per dataset")
    parser.add_argument("--alpha", type=float, help="weight of the l1 norm, instead of 0.1")
    parser.add_argument("--name", default="benchmark", help="name of the CSV")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV")
    options = parser.parse_args(argv)

    chosen = [solvers[name] for name in options.solver]
    for cls in chosen:
        if not cls.available():
            print(
                f"skipped {cls.name}: {cls.requires} is not installed, "
                "pip install sklearn-unroll[benchmarks]"
            )
    chosen = [cls for cls in chosen if cls.available()]
    path = options.output / f"{options.name}.csv"
    given = {"n_samples": options.n_samples, "alpha": options.alpha}
    given = {key: value for key, value in given.items() if value is not None}
    rows: list[dict[str, Any]] = []
    with limit_threads(options.threads) as threads:
        print(threads, flush=True)
        for name in options.dataset:
            sizes = datasets[name].QUICK if options.quick else datasets[name].FULL
            rows += run_dataset(
                datasets[name].load(**sizes | given),
                chosen,
                quick=options.quick,
                threads=options.threads,
                repeats=options.repeats,
            )
            write_csv(rows, path)  # after every dataset: an interruption loses one at most
    print_table(rows, SHOWN, title=f"{options.threads} thread(s), {cpu_model()}")
    return path


if __name__ == "__main__":
    main()
