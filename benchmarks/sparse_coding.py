"""Time and accuracy of sparse coding: this package, scikit-learn, SPAMS, celer and skglm.

``python -m benchmarks.sparse_coding`` solves ``min_z 0.5 ||x - z D||^2 + alpha ||z||_1`` for many
signals and one dictionary, all solvers on the same signals, timed in turn and in one run, and
draws time against the objective's excess over the certified optimum. README.md: how to read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.base import Solver
from benchmarks.contest import contest
from benchmarks.datasets import all_datasets
from benchmarks.floor import Floor
from benchmarks.objective import Objective
from benchmarks.solvers import all_solvers
from benchmarks.study import SHARED, Option, Row, Study
from benchmarks.timing import installed

DATASETS, SOLVERS = all_datasets(), all_solvers()
LOWEST = 1e-9  # the optimum is certified to this gap: nothing below it can be told apart


def rows(
    *,
    seed: int,
    threads: int = SHARED["threads"],
    datasets: Sequence[str] = Option(tuple(DATASETS), choices=tuple(DATASETS)),
    solvers: Sequence[str] = Option(tuple(SOLVERS), choices=tuple(SOLVERS)),
    size: str = Option("full", "quick", "of the dictionaries", ("full", "quick")),
    n_samples: int = Option(1000, 40, "signals to code"),
    alpha: float = Option(0.1, help="weight of the l1 norm"),
    settings: int = Option(9, 1, "of every solver, at most"),
    repeats: int = Option(5, 1),
) -> Iterator[Row]:
    """Yield a row per dataset, solver and setting."""
    rivals = [cls for cls in map(SOLVERS.get, solvers) if installed(cls.requires, cls.name)]
    contenders: list[Solver] = [Floor(threads, **given) for given in Floor.parameters]
    contenders += [cls(threads, **given) for cls in rivals for given in cls.parameters[:settings]]
    for name in datasets:
        sizes = DATASETS[name].SIZES[size]
        dataset = DATASETS[name].load(n_samples, **sizes, alpha=alpha, seed=seed)
        objective = Objective(dataset)
        if dataset.n_nonzero is None:
            dataset = replace(dataset, n_nonzero=max(1, round(objective.optimal_n_nonzero)))
        print(f"{name}: the optimum has {objective.optimal_n_nonzero:.1f} nonzeros", flush=True)
        fit = [solver for solver in contenders if solver.applies_to(dataset)]
        found = contest(dataset, fit, repeats, objective.evaluate)
        floors = {
            row["dtype"]: row["us_per_signal"] for row in found if row["solver"] == Floor.name
        }
        n_components, n_features = dataset.dictionary.shape
        for row in found:
            row |= {"dataset": name, "shape": f"{n_features}x{n_components}", "alpha": alpha}
            yield row | {"ratio_to_floor": row["us_per_signal"] / floors[row["dtype"]]}


def draw(table: Any) -> Any:
    """Draw time per signal against excess objective, one panel a dataset.

    Lower left is better. A line joins the settings of one solver in one precision; open
    markers are float64. Dashed: the matrix products of 16 layers, in each precision.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    datasets = list(table["dataset"].unique())
    figure = Figure(figsize=(2 + 5.5 * len(datasets), 5), layout="constrained")
    axes = figure.subplots(1, len(datasets), squeeze=False)
    solvers = [name for name in table["solver"].unique() if name != Floor.name]
    entries = {}  # of the legend, one for each solver whatever the panels and precisions
    for ax, dataset in zip(axes.flat, datasets, strict=True):
        here = table[table["dataset"] == dataset]
        for (solver, dtype), group in here.groupby(["solver", "dtype"], sort=False):
            time = group["us_per_signal"]
            if solver == Floor.name:
                style = "--" if dtype == "float32" else ":"
                line = ax.axvline(time.iloc[0], ls=style, color="0.6", zorder=0)
                entries.setdefault(f"floor, {dtype}", line)
                continue
            number = solvers.index(solver)
            omp = "omp" in solver  # it solves another problem: no circle, and no line
            (line,) = ax.plot(
                time,
                group["objective_excess"].clip(lower=LOWEST),
                color=colormaps["tab20"](number % 20),
                marker="sDv^"[number % 4] if omp else "o",
                markerfacecolor="none" if dtype == "float64" else None,
                ls="none" if omp else "-",
            )
            entries.setdefault(solver, line)
        first = here.iloc[0]
        ax.set(
            xscale="log",
            yscale="log",
            title=f"{dataset}, {first['n_samples']} signals, alpha {first['alpha']}",
            xlabel=f"microseconds per signal, {first['threads']} thread(s)",
            ylabel="objective over optimum",
        )
        ax.grid(alpha=0.3)
    figure.legend(entries.values(), entries.keys(), loc="outside right upper", fontsize="small")
    return figure


STUDY = Study(
    rows,
    labels="dataset solver parameters dtype n_samples shape alpha",
    measures="us_per_signal us_least ratio_to_floor gap_median gap_max objective_excess nmse_db"
    " support_f1 n_nonzero prepare_seconds",
    draw=draw,
)

if __name__ == "__main__":
    STUDY.main()
