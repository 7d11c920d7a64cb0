"""The table and the picture of learned dictionaries in the docs, made of results of several seeds.

``python -m benchmarks.learning_table docs/learning_curve.csv docs/learning_curve.svg
RESULT.csv``, with as many results as there are, reads what ``benchmarks.dictionary_learning``
has written. Levels are objectives in percent above the lowest one of a run. A line has the
seconds to such a level, the median over the seeds, on straight lines between the points of a
curve, and how many times sooner we are there, the median and in brackets the range. Where our
first point is lower already, the time is that of it, after a ``<``; where we are not there in
some run, it says so. A rival is left out where its first point is lower, or its last higher.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

LEVELS = (16.0, 12.0, 8.0, 6.0, 4.0, 3.0, 2.0, 1.0, 0.5)
RIVALS = {"spams": "SPAMS", "scikit-learn": "scikit-learn"}
RUN = ["problem", "shape", "threads", "options"]


def excess(run: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the curve of every method: seconds, and how far above the lowest of all, in %."""
    lowest, curves = run.objective.min(), {}
    for method, points in run.groupby("method", sort=False):
        above = 100 * (points.objective.to_numpy() - lowest) / lowest
        curves[method] = points.seconds.to_numpy(), np.minimum.accumulate(above)
    return curves


def seconds_to(level: float, curve: tuple[np.ndarray, np.ndarray], first: bool) -> float:
    """Return the seconds to a level; NaN where the curve is not there, or begins below it.

    With ``first`` a curve that begins below it is there at its first point.
    """
    seconds, above = curve
    if above[-1] > level or (above[0] < level and not first):
        return np.nan
    return float(np.interp(-level, -above, seconds))


def lines(table: Any) -> Iterator[dict[str, Any]]:
    """Yield a line per problem, number of threads and level of a data frame of results."""
    for (kind, shape, threads), runs in table.groupby(RUN[:3], sort=False):
        curves = [excess(run) for _, run in runs.groupby(RUN)]
        for level in LEVELS:
            own = np.array([seconds_to(level, curve["ours"], True) for curve in curves])
            early = any(curve["ours"][1][0] < level for curve in curves)
            line = {
                "problem": f"{kind} {shape}",
                "threads": threads,
                "above, %": f"{level:g}",
                "ours, s": "never"
                if np.isnan(own).any()
                else f"{'<' * early}{np.median(own):.2g}",
            }
            for method, name in RIVALS.items():
                ran = [method in curve for curve in curves]
                theirs = [seconds_to(level, c[method], False) for c in curves if method in c]
                line |= compared(name, np.array(theirs), own[ran])
            if any(line[f"{name}, s"] for name in RIVALS.values()):
                yield line


def compared(name: str, theirs: np.ndarray, own: np.ndarray) -> dict[str, str]:
    """Return the seconds of a rival, and how many times sooner we are; empty if a seed lacks."""
    times, said = theirs / own, ""
    if len(times) and not np.isnan(times).any():
        span = f" ({times.min():.2g} to {times.max():.2g})" if len(times) > 1 else ""
        said = f"{np.median(times):.2g}{span}"
    there = len(theirs) and not np.isnan(theirs).any()
    seconds = f"{np.median(theirs):.2g}" if there else ""
    return {f"{name}, s": seconds, f"times {name}": said}


def draw(table: Any) -> Any:
    """Draw the curves of all runs on the fewest threads, a panel a problem, a line a seed."""
    from matplotlib.figure import Figure

    alone = table[table.threads == table.threads.min()]
    problems = list(alone.groupby(["problem", "shape"], sort=False))
    figure = Figure(figsize=(3.4 * len(problems), 3.4), layout="constrained")
    axes = figure.subplots(1, len(problems), squeeze=False, sharex=True, sharey=True)[0]
    for ax, (name, runs) in zip(axes, problems, strict=True):
        for nth, (_, run) in enumerate(runs.groupby("options", sort=False)):
            for method, (seconds, above) in excess(run).items():
                color = ["ours", *RIVALS].index(method)
                label = None if nth else method
                ax.plot(seconds, above, "o-", ms=2.5, lw=1, color=f"C{color}", label=label)
        ax.set(xscale="log", title=" ".join(name), xlabel="seconds", ylim=(0, 20))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("held-out objective, % above the lowest")
    axes[0].legend(frameon=False)
    return figure


def main(target: str, picture: str, *sources: str) -> None:
    """Write the table of results as a CSV, and draw their curves."""
    import pandas as pd
    from matplotlib import rc_context

    table = pd.concat(map(pd.read_csv, sources))
    table = table[table.method.isin(["ours", *RIVALS])]
    table = table.sort_values("threads", kind="stable")
    found = pd.DataFrame(lines(table))
    found.to_csv(target, index=False)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "the same file each time"}):
        figure = draw(table)
        figure.savefig(picture, metadata={"Date": None} if picture.endswith(".svg") else None)
    print(f"{len(found)} levels written to {target}, curves drawn in {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
