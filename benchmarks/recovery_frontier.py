"""Recovery of sparse codes: decibels against time, ours and theirs, on one thread.

``python -m benchmarks.recovery_frontier`` draws Bernoulli-Gaussian codes over Gaussian
dictionaries, recovers them with every contender and times it on fresh signals, all in turn and
in one run. A row is on the frontier if no other one of its problem is both faster and better.
Rivals are helped: OMP is told the energy of every signal's noise and gets the factor on it, and
the lasso the alpha, that are best on training signals. Networks are told the training pairs.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import diags, issparse
from sklearn.exceptions import ConvergenceWarning

from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.run import positive
from benchmarks.timing import cpu_model, installed_versions, limit_threads, measure
from sklearn_unroll import HyperLISTARegressor, OMPCoder, TISTARegressor
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import nmse_db, nmse_db_median
from sklearn_unroll.solvers import fista

SIZES = ((250, 500), (1000, 2000), (500, 2000))  # n_features, n_components
SPARSITIES = (0.05, 0.1, 0.2)
SNRS = (None, 40, 30, 20)  # dB
COLUMNS = ("shape", "sparsity", "snr_db", "method", "us_per_signal", "nmse_db", "median_db")
COLUMNS += ("frontier", "times_faster_than_omp")


class Problem(NamedTuple):
    """Signals to recover, and training pairs of the same law over the same dictionary."""

    X: np.ndarray
    y: np.ndarray
    X_train: np.ndarray
    y_train: np.ndarray
    D: np.ndarray
    noise: np.ndarray  # energy per signal, of all in order: fresh ones, then training
    n_nonzero: int


def draw(shape: tuple[int, int], sparsity: float, snr: float | None, n_test: int, n_train: int):
    """Return a problem in float32."""
    m, n = shape
    data = make_sparse_recovery(
        n_test + n_train, m, n, sparsity=sparsity, snr_db=snr, random_state=0, dtype="float32"
    )
    noise = np.square(data.X - data.y @ data.dictionary).sum(1)
    return Problem(
        data.X[:n_test],
        data.y[:n_test],
        data.X[n_test:],
        data.y[n_test:],
        data.dictionary,
        noise,
        round(sparsity * n),
    )


def omp_solver(problem: Problem, dtype: str) -> Callable[[], Any]:
    """Return spams' OMP on the fresh signals, its stopping factor tuned on training signals."""
    import spams

    D = problem.D.T.astype(dtype)
    D = np.asfortranarray(D / np.linalg.norm(D, axis=0))  # it relies on unit norms to rounding
    n_test, tune_on = len(problem.X), 100
    signals = np.vstack([problem.X, problem.X_train[:tune_on]]).astype(dtype)
    energy, factors = problem.noise[: n_test + tune_on], (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    if energy.max() < 1e-6:  # no noise: down to rounding, wherever that is
        energy, factors = np.square(signals).sum(1), (1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7)
    most = min(problem.D.shape[1], 4 * problem.n_nonzero)

    def code(X: np.ndarray, energy: np.ndarray, factor: float) -> Any:
        # One eps for all signals, so bring their energies to one.
        scale = np.sqrt(np.where(energy > 0, energy, 1)).astype(dtype)
        columns = np.asfortranarray((X / scale[:, None]).T)
        return (spams.omp(columns, D, L=most, eps=factor, numThreads=1) @ diags(scale)).T

    def error(factor: float) -> float:
        found = code(signals[n_test:], energy[n_test:], factor)
        return nmse_db(problem.y_train[:tune_on], found.toarray())

    best = min(factors, key=error)
    return partial(code, signals[:n_test], energy[:n_test], best)


def omp_coder(problem: Problem) -> Callable[[], Any]:
    """Return our OMP, told the energy of every signal's noise and a factor that is tuned."""
    n_test, tune_on = len(problem.X), 100
    coder = OMPCoder(problem.D, min(problem.D.shape[1], 4 * problem.n_nonzero)).fit(problem.X)
    rows, factors = slice(n_test, n_test + tune_on), (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    if problem.noise.max() < 1e-6:
        factors = (0.0,)  # no noise: it sees by itself where rounding begins

    def code(X: np.ndarray, energy: np.ndarray, factor: float) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a factor may be too small
            return coder.transform(X, factor * energy)

    def error(factor: float) -> float:
        found = code(problem.X_train[:tune_on], problem.noise[rows], factor)
        return nmse_db(problem.y_train[:tune_on], found)

    return partial(code, problem.X, problem.noise[:n_test], min(factors, key=error))


def lasso_solver(problem: Problem) -> Callable[[], Any]:
    """Return restarted FISTA with the alpha that is best on training signals."""
    A = Dense(torch.from_numpy(problem.D))

    def code(X: np.ndarray, alpha: float) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 200 iterations are enough here
            obs = Observation(torch.from_numpy(X), A)
            return fista(obs, alpha, max_iter=200, tol=1e-4).x.numpy()

    def error(alpha: float) -> float:
        return nmse_db(problem.y_train[:100], code(problem.X_train[:100], alpha))

    best = min(np.geomspace(0.003, 0.3, 7), key=error)
    return partial(code, problem.X, best)


def contenders(
    problem: Problem, layers: Sequence[int], trained: bool
) -> Iterator[tuple[str, Callable]]:
    """Yield names and solvers of the fresh signals, ready to run."""
    try:
        for dtype in ("float32", "float64"):
            yield f"spams OMP, {dtype}", omp_solver(problem, dtype)
    except ImportError:
        print("spams is not installed: no OMP (pip install 'sklearn-unroll[benchmarks]')")
    yield "OMPCoder", omp_coder(problem)
    yield "FISTA, best alpha", lasso_solver(problem)
    pairs = problem.X_train, problem.y_train
    for n_layers in layers:
        plain = HyperLISTARegressor(problem.D, n_layers=n_layers).fit(*pairs)
        yield f"HyperLISTA {n_layers}", partial(plain.predict, problem.X)
        repaired = HyperLISTARegressor(problem.D, n_layers=n_layers, debias=True).fit(*pairs)
        yield f"HyperLISTA {n_layers}, debias", partial(repaired.predict, problem.X)
    if trained:
        tista = TISTARegressor(problem.D, random_state=0).fit(*pairs)
        yield "TISTA 12", partial(tista.predict, problem.X)


def compare(problem: Problem, layers: Sequence[int], trained: bool, repeats: int) -> list[dict]:
    """Return one row per contender."""
    jobs = dict(contenders(problem, layers, trained))
    codes = {name: job() for name, job in jobs.items()}  # and a warm-up
    seconds = {name: median(times) for name, times in measure(jobs, repeats).items()}
    rows = []
    for name, found in codes.items():
        found = found.toarray() if issparse(found) else found
        rows.append(
            {
                "method": name,
                "us_per_signal": 1e6 * seconds[name] / len(problem.X),
                "nmse_db": nmse_db(problem.y, found),
                "median_db": nmse_db_median(problem.y, found),
            }
        )
    omp = [row for row in rows if row["method"].startswith("spams")]
    for row in rows:
        beaten = (
            other["us_per_signal"] < row["us_per_signal"] and other["nmse_db"] < row["nmse_db"]
            for other in rows
        )
        row["frontier"] = "" if any(beaten) else "yes"
        if omp and row not in omp:
            best = min(omp, key=lambda other: other["us_per_signal"])
            row["times_faster_than_omp"] = best["us_per_signal"] / row["us_per_signal"]
    return rows


def main(argv: Sequence[str] | None = None) -> Path:
    """Run, print and write ``recovery_frontier.csv``; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery_frontier")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs")
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", help="of the sizes, which (0, 1, 2)")
    parser.add_argument("--sparsities", type=float, nargs="*", help="instead of 5, 10 and 20 %%")
    parser.add_argument("--trained", action="store_true", help="TISTA too, a minute each or more")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV")
    options = parser.parse_args(argv)
    sizes = SIZES if options.sizes is None else [SIZES[i] for i in options.sizes]
    sparsities, snrs, layers, n_train = options.sparsities or SPARSITIES, SNRS, (8, 12, 16), 4000
    trained = options.trained
    if options.quick:
        sizes, sparsities, snrs, layers, n_train = [(40, 80)], (0.05,), (30,), (4,), 300
        trained = True
    rows = []
    with limit_threads(1) as threads:
        print(f"{threads}; float32 where nothing is said", flush=True)
        for m, n in sizes:
            for sparsity in sparsities:
                for snr in snrs:
                    n_test = 1000 if m <= 250 else 300
                    problem = draw((m, n), sparsity, snr, n_test, n_train)
                    where = {"shape": f"{m}x{n}", "sparsity": sparsity, "snr_db": snr or "inf"}
                    found = [
                        where | row for row in compare(problem, layers, trained, options.repeats)
                    ]
                    print_table(found, COLUMNS, title=f"{m}x{n}, {sparsity:.0%}, {snr} dB")
                    rows += found
    rows = [row | {"versions": installed_versions(), "cpu": cpu_model()} for row in rows]
    return write_csv(rows, options.output / "recovery_frontier.csv")


if __name__ == "__main__":
    main()
