"""What a certificate costs: time against duality gap, and against alpha.

``python -m benchmarks.certificate`` codes Gaussian signals with LassoCoder and with the peers, in
turn and in one run, and prints for every setting the time per signal and the largest and the
median relative duality gap, evaluated in float64. The part "gap" has one alpha, a tenth of every
signal's smallest alpha with zero codes, and each solver at several tolerances; the part "alpha"
goes from 0.5 down to 0.005 of it, each solver at its setting for 1e-6 or better; the part
"patches" has those of a photograph over a learned dictionary, at settings for 1e-6, or exact.
Ratios are to LassoCoder in the same precision, at its tightest tolerance there. Solvers that loop
over signals in Python or take milliseconds for each get the first 100 signals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.base import Dataset, Solver
from benchmarks.contest import contest
from benchmarks.datasets import gaussian, patches
from benchmarks.objective import gaps
from benchmarks.solvers import all_solvers
from benchmarks.study import Option, Row, Study, sides
from benchmarks.timing import installed

PARTS = ("gap", "alpha", "patches")
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


# Many patches: each solver once in each precision.
PATCHES = {
    "lasso_coder": {"tol": 1e-6},
    "spams_lasso": {},
    "spams_cd": {"tol": 2e-6, "itermax": 300},
    "celer_path": {"tol": 1e-5},
}


def contenders(classes: dict[str, type[Solver]]) -> dict[str, list[Solver]]:
    """Return the solvers of each part: at all tolerances, at the tightest, for patches."""

    def made(dtype: str, settings: dict[str, Any]) -> list[Solver]:
        return [
            classes[name](dtype=dtype, **given)
            for name in classes
            for given in settings.get(name, ())
        ]

    patch = {name: [given] for name, given in PATCHES.items()}
    exact = {name: [given] for name, given in PATCHES.items() if name in SINGLE and not given}
    single = exact | {"lasso_coder": patch["lasso_coder"]}
    return {
        "gap": made("float64", DOUBLE) + made("float32", SINGLE),
        "alpha": made("float64", {name: given[-1:] for name, given in DOUBLE.items()}),
        "patches": made("float64", patch) + made("float32", single),
    }


def rows(
    *,
    seed: int,
    shape: str = Option("250x500", "30x60", "features x atoms"),
    n_samples: int = Option(1000, 40),
    n_slow: int = Option(100, 10, "signals for slow solvers"),
    alphas: Sequence[float] = Option((0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005), (0.5, 0.05)),
    parts: Sequence[str] = Option(PARTS, choices=PARTS),
    n_patches: int = Option(100_000, 40),
    size: str = Option("full", "quick", "of the dictionary of patches", ("full", "quick")),
    repeats: int = Option(3, 1),
) -> Iterator[Row]:
    """Yield a row per part, alpha, solver and setting."""
    found = all_solvers()
    classes = {name: found[name] for name in DOUBLE if installed(found[name].requires, name)}
    data = gaussian.load(n_samples, *sides(shape), n_train=1, seed=seed)
    weights = {"gap": (0.1,), "alpha": alphas, "patches": (0.1,)}
    for part, solvers in contenders(classes).items():
        for alpha in weights[part] if part in parts else ():
            dataset = replace(data, alpha=alpha)
            if part == "patches":
                dataset = patches.load(n_patches, **patches.SIZES[size], alpha=alpha, seed=seed)
            yield from measured(part, dataset, solvers, repeats, n_slow)


def measured(
    part: str, dataset: Dataset, solvers: Sequence[Solver], repeats: int, n_slow: int
) -> Iterator[Row]:
    """Yield a row for every solver."""
    results = contest(dataset, solvers, repeats, partial(gaps, dataset), n_slow)
    ours = {r["dtype"]: r["us_per_signal"] for r in results if r["solver"] == "lasso_coder"}
    n_components, n_features = dataset.dictionary.shape
    for row in results:
        row["times_slower_than_lasso_coder"] = row["us_per_signal"] / ours[row["dtype"]]
        yield {
            "part": part, "alpha": dataset.alpha, "shape": f"{n_features}x{n_components}", **row
        }  # fmt: skip


STUDY = Study(
    rows,
    labels="shape part alpha solver parameters dtype n_samples",
    measures="us_per_signal us_least times_slower_than_lasso_coder gap_median gap_max"
    " n_nonzero prepare_seconds",
)

if __name__ == "__main__":
    STUDY.main()
