"""Draw a CSV of the runner: ``python -m benchmarks.plot [--name benchmark]`` writes a PNG."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.report import RESULTS
from benchmarks.run import BASELINE

LOWEST = 1e-9  # the optimum is certified to this gap: nothing below it can be told apart


def _is_omp(solver: str) -> bool:
    """Orthogonal matching pursuit solves another problem: square or the like, and no line."""
    return "omp" in solver


def draw(rows: pd.DataFrame) -> plt.Figure:
    """Draw time per signal against excess objective, one panel a dataset.

    Lower left is better. A line joins the settings of one solver in one precision; open
    markers are float64. Dashed: the matrix products of 16 layers, in each precision.
    """
    datasets = list(rows["dataset"].unique())
    figure, axes = plt.subplots(
        1, len(datasets), figsize=(2 + 5.5 * len(datasets), 5), layout="constrained", squeeze=False
    )
    solvers = [name for name in rows["solver"].unique() if name != BASELINE]
    colors = {name: plt.get_cmap("tab20")(i % 20) for i, name in enumerate(solvers)}
    entries = {}  # of the legend, one for each solver whatever the panels and precisions
    for ax, dataset in zip(axes.flat, datasets, strict=True):
        here = rows[rows["dataset"] == dataset]
        for (solver, dtype), group in here.groupby(["solver", "dtype"], sort=False):
            time = group["microseconds_per_signal"]
            if solver == BASELINE:
                style = "--" if dtype == "float32" else ":"
                line = ax.axvline(time.iloc[0], ls=style, color="0.6", zorder=0)
                entries.setdefault(f"floor, {dtype}", line)
                continue
            (line,) = ax.plot(
                time,
                group["objective_excess"].clip(lower=LOWEST),
                color=colors[solver],
                marker="sDv^"[solvers.index(solver) % 4] if _is_omp(solver) else "o",
                markerfacecolor="none" if dtype == "float64" else None,
                ls="none" if _is_omp(solver) else "-",
            )
            entries.setdefault(solver, line)
        ax.set(
            xscale="log",
            yscale="log",
            title=f"{dataset}, {here['n_samples'].iloc[0]} signals, alpha {here['alpha'].iloc[0]}",
            xlabel=f"microseconds per signal, {here['threads'].iloc[0]} thread(s)",
            ylabel="objective over optimum",
        )
        ax.grid(alpha=0.3)
    figure.legend(entries.values(), entries.keys(), loc="outside right upper", fontsize="small")
    return figure


def main(argv: Sequence[str] | None = None) -> Path:
    """Read the CSV, write the PNG beside it; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot")
    parser.add_argument("--name", default="benchmark", help="name of the CSV")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of CSV and PNG")
    options = parser.parse_args(argv)
    source = options.output / f"{options.name}.csv"
    if not source.exists():
        parser.error(f"{source} does not exist; write it with `python -m benchmarks.run`.")
    figure = draw(pd.read_csv(source))
    target = source.with_suffix(".png")
    figure.savefig(target, dpi=110)
    plt.close(figure)
    print(f"figure written to {target}")
    return target


if __name__ == "__main__":
    main()
