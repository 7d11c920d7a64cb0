"""Recovery of sparse codes: decibels against time, ours and theirs.

``python -m benchmarks.recovery_frontier`` draws Bernoulli-Gaussian codes over Gaussian
dictionaries, recovers them with every contender and times it on fresh signals, all in turn and
in one run. A row is on the frontier if no other one of its problem is both faster and better.
Rivals are helped: OMP is told the energy of every signal's noise and gets the factor on it, and
the lasso the alpha, that are best on training signals. Networks are told the training pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import diags

from benchmarks.objective import dense
from benchmarks.study import Option, Row, Study, decibels, sides, with_epochs
from benchmarks.timing import CLOCKS, compete, installed
from sklearn_unroll import HyperLISTARegressor, OMPCoder, TISTARegressor
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import nmse_db, nmse_db_median
from sklearn_unroll.solvers import fista

NETWORKS = ("HyperLISTA", "TISTA")
Jobs = Iterator[tuple[str, Callable[[], Any]]]  # names and solvers of the fresh signals
FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # on the energy of the noise, where OMP stops


class Problem(NamedTuple):
    """Fresh signals to recover, then training pairs of the same law over the same dictionary."""

    X: np.ndarray
    y: np.ndarray
    D: np.ndarray
    noise: np.ndarray  # energy per signal
    n_nonzero: int
    fresh: slice
    tuning: slice


def draw(shape: str, sparsity: float, snr: float, n_test: int, n_train: int, seed: int) -> Problem:
    """Return a problem in float32."""
    m, n = sides(shape)
    data = make_sparse_recovery(
        n_test + n_train, m, n, sparsity=sparsity, snr_db=decibels(snr), random_state=seed,
        dtype="float32",
    )  # fmt: skip
    X, y, D = data.X, data.y, data.dictionary
    noise, tuning = np.square(X - y @ D).sum(1), slice(n_test, n_test + 100)
    return Problem(X, y, D, noise, round(sparsity * n), slice(n_test), tuning)


def tuned(
    problem: Problem, code: Callable[[slice, float], Any], values: Sequence[float]
) -> Callable[[], Any]:
    """Return what codes the fresh signals, with the value that is best on training signals."""

    def error(value: float) -> float:
        return nmse_db(problem.y[problem.tuning], dense(code(problem.tuning, value)))

    return partial(code, problem.fresh, min(values, key=error))


def omp_of_spams(problem: Problem, dtype: str) -> Callable[[], Any]:
    """Return spams' OMP, told the energy of every signal's noise."""
    import spams

    D = problem.D.T.astype(dtype)
    D = np.asfortranarray(D / np.linalg.norm(D, axis=0))  # it relies on unit norms to rounding
    X, energy, factors = problem.X.astype(dtype), problem.noise, FACTORS
    if energy.max() < 1e-6:  # no noise: down to rounding, wherever that is
        energy, factors = np.square(X).sum(1), (1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7)
    most = min(problem.D.shape[1], 4 * problem.n_nonzero)

    def code(rows: slice, factor: float) -> Any:
        # One eps for all signals, so bring their energies to one.
        scale = np.sqrt(np.where(energy[rows] > 0, energy[rows], 1)).astype(dtype)
        columns = np.asfortranarray((X[rows] / scale[:, None]).T)
        return (spams.omp(columns, D, L=most, eps=factor, numThreads=1) @ diags(scale)).T

    return tuned(problem, code, factors)


def omp_coder(problem: Problem) -> Callable[[], Any]:
    """Return our OMP, told the same; without noise it sees by itself where rounding begins."""
    coder = OMPCoder(problem.D, min(problem.D.shape[1], 4 * problem.n_nonzero)).fit(problem.X)

    def code(rows: slice, factor: float) -> np.ndarray:
        return coder.transform(problem.X[rows], factor * problem.noise[rows])

    return tuned(problem, code, FACTORS if problem.noise.max() >= 1e-6 else (0.0,))


def lasso(problem: Problem) -> Callable[[], Any]:
    """Return restarted FISTA."""
    A = Dense(torch.from_numpy(problem.D))

    def code(rows: slice, alpha: float) -> np.ndarray:
        obs = Observation(torch.from_numpy(problem.X[rows]), A)
        return fista(obs, alpha, max_iter=200, tol=1e-4).x.numpy()  # enough here

    return tuned(problem, code, np.geomspace(0.003, 0.3, 7))


def pairs(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return what networks learn from."""
    train = slice(problem.fresh.stop, None)
    return problem.X[train], problem.y[train]


def hyperlistas(problem: Problem, layers: Sequence[int]) -> Jobs:
    """Yield names and solvers of HyperLISTA, without debiasing and with it."""
    for n_layers, debias in product(layers, (False, True)):
        model = HyperLISTARegressor(problem.D, n_layers=n_layers, debias=debias)
        name = f"HyperLISTA {n_layers}" + debias * ", debias"
        yield name, partial(model.fit(*pairs(problem)).predict, problem.X[problem.fresh])


def contenders(
    problem: Problem, layers: Sequence[int], networks: Sequence[str], epochs: int | None, seed: int
) -> Jobs:
    """Yield names and solvers of the fresh signals, ready to run."""
    if installed("spams", "OMP of spams"):
        for dtype in ("float32", "float64"):
            yield f"spams OMP, {dtype}", omp_of_spams(problem, dtype)
    yield "OMPCoder", omp_coder(problem)
    yield "FISTA, best alpha", lasso(problem)
    if "HyperLISTA" in networks:
        yield from hyperlistas(problem, layers)
    if "TISTA" in networks:
        tista = with_epochs(TISTARegressor(problem.D, random_state=seed), epochs)
        yield "TISTA 12", partial(tista.fit(*pairs(problem)).predict, problem.X[problem.fresh])


def measured(
    problem: Problem,
    jobs: Mapping[str, Callable[[], Any]],
    repeats: int,
    clock: str = "wall",
) -> list[Row]:
    """Return a row per solver, timed in turn: time and errors of the fresh signals.

    Solvers may code the first few only; errors are of those that the first solver codes too.
    ``far_worse`` counts signals whose error is more than 10 dB above the first solver's.
    """
    found, seconds = compete(jobs, repeats, clock)
    codes = {name: dense(code) for name, code in found.items()}
    first = codes[next(iter(jobs))]
    rows = []
    for name, code in codes.items():
        n = min(len(first), len(code))
        y = problem.y[problem.fresh][:n]
        error, energy = np.square(code[:n] - y).sum(1), np.square(y).sum(1)
        some = energy > 0
        row = {
            "method": name,
            "us_per_signal": 1e6 * median(seconds[name]) / len(code),
            "nmse_db": nmse_db(y, code[:n]),
            "median_db": nmse_db_median(y, code[:n]),
            "worst_db": float(10 * np.log10((error[some] / energy[some]).max())),
            "far_worse": int((error > 10 * np.square(first[:n] - y).sum(1)).sum()),
        }
        rows.append(row)
    return rows


def rows(
    *,
    seed: int,
    shapes: Sequence[str] = Option(("250x500", "1000x2000", "500x2000"), ("40x80",)),
    sparsities: Sequence[float] = Option((0.05, 0.1, 0.2), (0.05,), "fractions of nonzeros"),
    snrs: Sequence[float] = Option((float("inf"), 40.0, 30.0, 20.0), (30.0,), "dB, or inf"),
    layers: Sequence[int] = Option((8, 12, 16), (4,), "of HyperLISTA"),
    networks: Sequence[str] = Option(
        ("HyperLISTA",), NETWORKS, "TISTA trains a minute each or more", NETWORKS
    ),
    n_train: int = Option(4000, 300, "pairs"),
    epochs: int | None = Option(None, 1, "of TISTA, instead of its own recipe"),
    repeats: int = Option(3, 1),
    clock: str = Option("wall", choices=tuple(CLOCKS)),
) -> Iterator[Row]:
    """Yield a row per problem and contender."""
    for shape, sparsity, snr in product(shapes, sparsities, snrs):
        n_test = 1000 if sides(shape)[0] <= 250 else 300
        problem = draw(shape, sparsity, snr, n_test, n_train, seed)
        jobs = dict(contenders(problem, layers, networks, epochs, seed))
        found = measured(problem, jobs, repeats, clock)
        of_spams = [row["us_per_signal"] for row in found if row["method"].startswith("spams")]
        for row in found:
            us, error = row["us_per_signal"], row["nmse_db"]
            beaten = any(k["us_per_signal"] < us and k["nmse_db"] < error for k in found)
            row = {"shape": shape, "sparsity": sparsity, "snr_db": snr, **row}
            row["frontier"] = int(not beaten)
            yield row | ({"times_faster_than_omp": min(of_spams) / us} if of_spams else {})


STUDY = Study(
    rows,
    labels="shape sparsity snr_db method",
    measures="us_per_signal nmse_db median_db worst_db far_worse frontier times_faster_than_omp",
)

if __name__ == "__main__":
    STUDY.main()
