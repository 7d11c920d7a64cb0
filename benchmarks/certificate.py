"""What a certificate costs: time against duality gap, and against alpha.

``python -m benchmarks.certificate`` codes Gaussian signals with LassoCoder and with the peers, in
turn and in one run, and prints for every setting the time per signal and the largest and the
median relative duality gap, evaluated in float64. The part "gap" has one alpha, a tenth of every
signal's smallest alpha with zero codes, and each solver at several tolerances; the part "alpha"
goes from 0.5 down to 0.005 of it, each solver at its setting for 1e-6 or better. Solvers that loop
over signals in Python or take milliseconds for each get the first 100 signals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.base import Solver
from benchmarks.contest import contest
from benchmarks.datasets import gaussian
from benchmarks.objective import gaps
from benchmarks.solvers import all_solvers
from benchmarks.study import Option, Row, Study, sides
from benchmarks.timing import installed

# The settings of every solver, from loose to tight; the last one runs at every alpha.
DOUBLE = {
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


def contenders(classes: dict[str, type[Solver]]) -> dict[str, list[Solver]]:
    """Return the solvers of each part: at all tolerances, and at the tightest."""
    every = [cls(dtype="float64", **given) for n, cls in classes.items() for given in DOUBLE[n]]
    every += [
        cls(dtype="float32", **given) for n, cls in classes.items() for given in SINGLE.get(n, ())
    ]
    return {
        "gap": every,
        "alpha": [cls(dtype="float64", **DOUBLE[name][-1]) for name, cls in classes.items()],
    }


def rows(
    *,
    seed: int,
    shape: str = Option("250x500", "30x60", "features x atoms"),
    n_samples: int = Option(1000, 40),
    n_slow: int = Option(100, 10, "signals for slow solvers"),
    alphas: Sequence[float] = Option((0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005), (0.5, 0.05)),
    repeats: int = Option(3, 1),
) -> Iterator[Row]:
    """Yield a row per part, alpha, solver and setting."""
    found = all_solvers()
    classes = {name: found[name] for name in DOUBLE if installed(found[name].requires, name)}
    data = gaussian.load(n_samples, *sides(shape), n_train=1, seed=seed)
    weights = {"gap": (0.1,), "alpha": alphas}
    for part, solvers in contenders(classes).items():
        for alpha in weights[part]:
            dataset = replace(data, alpha=alpha)
            results = contest(dataset, solvers, repeats, partial(gaps, dataset), n_slow)
            ours = {r["dtype"]: r for r in results if r["solver"] == "lasso_coder"}["float64"]
            for row in results:
                row["times_slower_than_lasso_coder"] = row["us_per_signal"] / ours["us_per_signal"]
                yield {"part": part, "alpha": alpha, "shape": shape, **row}


STUDY = Study(
    rows,
    labels="shape part alpha solver parameters dtype n_samples",
    measures="us_per_signal us_least times_slower_than_lasso_coder gap_median gap_max"
    " n_nonzero prepare_seconds",
)

if __name__ == "__main__":
    STUDY.main()
