"""How the time of recovery grows with the size of a problem and with its nonzeros.

``python -m benchmarks.growth`` takes Gaussian problems twice as large again and again, at fixed
shares of nonzeros, then one size with ever more of them, and times HyperLISTA beside OMP, which
is told the noise, and two solvers of the lasso at the alpha that is best on training signals, all
of a problem in turn. LARS of spams is slow: it codes the first signals, of problems that are not
too large. Errors are of the same signals for all others. ``exponent`` is the slope of the
logarithm of time by that of atoms (or of nonzeros) from a sweep's first problem on;
``fit_seconds`` are paid once a dictionary, for a network's weight, pseudo-inverse and three
numbers; ``far_worse`` counts signals whose error is more than 10 dB above that of OMP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import log
from typing import Any

import numpy as np

from benchmarks.clients import spams_lasso
from benchmarks.recovery_frontier import (
    Jobs,
    Problem,
    draw,
    hyperlistas,
    measured,
    omp_coder,
    omp_of_spams,
    tuned,
)
from benchmarks.study import Option, Row, Study, sides
from benchmarks.timing import CLOCKS, clocked, installed
from sklearn_unroll import LassoCoder

SWEEPS = ("atoms", "nonzeros")


def lassos(problem: Problem, n_lars: int) -> Jobs:
    """Yield our solver of the lasso, and LARS of spams, at one and the same alpha."""
    coder = LassoCoder(problem.D, tol=1e-4).fit(problem.X[:1])  # enough here

    def code(rows: slice, alpha: float) -> np.ndarray:
        return coder.transform(problem.X[rows], alpha=alpha)

    best = tuned(problem, code, np.geomspace(0.01, 0.16, 5))
    yield "LassoCoder", best
    if n_lars and installed("spams", "LARS of spams"):
        lars = spams_lasso(problem.X[:n_lars], problem.D, lambda1=best.args[1], mode=2)
        yield "spams LARS", lambda: lars().T


def rivals(problem: Problem, n_lars: int) -> Jobs:
    """Yield names and solvers of the fresh signals, ready to run."""
    if installed("spams", "OMP of spams"):
        yield "spams OMP", omp_of_spams(problem, "float32")
    yield "OMPCoder", omp_coder(problem)
    yield from lassos(problem, n_lars)


def fitted(networks: Jobs, clock: str) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """Return networks, and the seconds that each took to be ready."""
    ready, seconds = {}, {}
    while (found := clocked(partial(next, networks, None), clock))[0] is not None:
        (name, ready[name]), seconds[name] = found
    return ready, seconds


def problems(
    what: str,
    shapes: Sequence[str],
    sparsities: Sequence[float],
    fixed: str,
    nonzeros: Sequence[int],
) -> Iterator[tuple[str, list[tuple[float, str, float]]]]:
    """Yield names of sweeps and their problems: what grows, shape and fraction of nonzeros."""
    if what == "atoms":
        for sparsity in sparsities:
            sizes = [(sides(shape)[1], shape, sparsity) for shape in shapes]
            yield f"atoms, {sparsity:.0%} nonzeros", sizes
    else:
        n_atoms = sides(fixed)[1]
        yield f"nonzeros, {fixed}", [(k, fixed, k / n_atoms) for k in nonzeros]


def rows(
    *,
    seed: int,
    sweeps: Sequence[str] = Option(SWEEPS, choices=SWEEPS),
    shapes: Sequence[str] = Option(
        ("250x500", "500x1000", "1000x2000", "2000x4000"), ("40x80", "60x120")
    ),
    sparsities: Sequence[float] = Option((0.05, 0.1), (0.05,), "fractions of nonzeros"),
    fixed: str = Option("1000x2000", "60x120", "the shape whose nonzeros grow"),
    nonzeros: Sequence[int] = Option((10, 20, 50, 100, 200), (2, 4)),
    snr: float = Option(30.0, None, "dB, or inf"),
    n_layers: int = Option(8, 4, "of HyperLISTA"),
    n_train: int = Option(400, 100, "pairs"),
    n_test: int = Option(600, 60, "signals"),
    n_lars: int = Option(100, 20, "of them for LARS of spams"),
    lars_to: int = Option(2000, 80, "atoms that it is shown at most"),
    repeats: int = Option(3, 1),
    clock: str = Option("wall", choices=tuple(CLOCKS)),
) -> Iterator[Row]:
    """Yield a row per problem and solver."""
    given = shapes, sparsities, fixed, nonzeros
    for sweep, found in (sweep for what in sweeps for sweep in problems(what, *given)):
        first: dict[str, tuple[float, float]] = {}
        for size, shape, sparsity in found:
            problem = draw(shape, sparsity, snr, n_test, n_train, seed)
            networks, seconds = fitted(hyperlistas(problem, [n_layers]), clock)
            few = n_lars if sides(shape)[1] <= lars_to else 0
            jobs = dict(rivals(problem, few)) | networks
            for row in measured(problem, jobs, repeats, clock):
                now = row["us_per_signal"]
                size_0, us_0 = first.setdefault(row["method"], (size, now))
                labels = {"sweep": sweep, "shape": shape, "nonzeros": problem.n_nonzero}
                grown = {"exponent": log(now / us_0) / log(size / size_0)} if size > size_0 else {}
                paid = {"fit_seconds": seconds[name]} if (name := row["method"]) in seconds else {}
                yield labels | row | grown | paid


STUDY = Study(
    rows,
    labels="sweep shape nonzeros method",
    measures="us_per_signal exponent nmse_db median_db worst_db far_worse fit_seconds",
)

if __name__ == "__main__":
    STUDY.main()
