"""The tables of the docs, made of what ``recovery_frontier`` and ``growth`` have written.

``python -m benchmarks.frontier_table docs/frontier.csv RESULT.csv ...`` keeps a line per problem:
the OMP of spams in the faster of its two arithmetics that is as accurate as the other to 0.1 dB,
our fastest row of all, and our fastest row that is as accurate as that OMP to 0.1 dB. Results of
``growth`` become a line per problem with all solvers, and one with the exponents of each sweep.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.study import sides

LEVEL = 0.1  # dB that are no difference
EXACT = -140.0  # dB that only the rounding of float32 data is left of


def fastest(rows: Any, at_most: float = float("inf")) -> Any:
    """Return the fastest of rows whose pooled error is at most so many dB; None without any."""
    some = rows[rows.nmse_db <= at_most]
    return None if some.empty else some.loc[some.us_per_signal.idxmin()]


def level(error: float) -> float:
    """Return the largest error that counts as no worse."""
    return max(error + LEVEL, EXACT)


def described(row: Any, omp: Any) -> str:
    """Return a row in words: its name, errors, and how many times faster than OMP it is."""
    if row is None:
        return "none"
    name = row.method.replace("HyperLISTA", "").strip()
    times = omp.us_per_signal / row.us_per_signal
    return f"{name}: {row.nmse_db:.1f} ({row.worst_db:.0f}), {times:.2g} times"


def lines(table: Any) -> Iterator[dict[str, Any]]:
    """Yield a line per problem of a data frame of results."""
    for (shape, sparsity, snr), rows in table.groupby(["shape", "sparsity", "snr_db"]):
        of_spams = rows[rows.method.str.startswith("spams")]
        omp = fastest(of_spams, level(of_spams.nmse_db.min()))
        ours = rows[rows.method.str.startswith("HyperLISTA")]
        equal = rows[rows.method.str.startswith(("HyperLISTA", "OMPCoder"))]
        yield {
            "shape": shape,
            "nonzeros": f"{sparsity:.0%}",
            "SNR, dB": f"{snr:g}",
            "OMP of spams: dB (worst), µs": f"{omp.nmse_db:.1f} ({omp.worst_db:.0f}), "
            f"{omp.us_per_signal:.0f}",
            "fastest HyperLISTA": described(fastest(ours), omp),
            "fastest as accurate": described(fastest(equal, level(omp.nmse_db)), omp),
            "on the frontier": _numbers(ours[ours.frontier == 1].method),
        }


def _numbers(names: Sequence[str]) -> str:
    """Return the layers of methods, those with debiasing marked."""
    return " ".join(name.split()[1].replace(",", "+d") for name in names) or "none"


def growth_lines(table: Any) -> Iterator[dict[str, Any]]:
    """Yield a line per problem of a data frame of results of ``growth``, then the exponents."""
    for sweep, problems in table.groupby("sweep", sort=False):
        what = sweep.partition(",")[0]
        for (shape, nonzeros), rows in problems.groupby(["shape", "nonzeros"], sort=False):
            cells = {
                row.method: f"{row.us_per_signal:.0f}: {row.nmse_db:.1f} ({row.worst_db:.0f})"
                for row in rows.itertuples()
            }
            fit = {"fit, s": f"{rows.fit_seconds.dropna().iloc[-1]:.2g}"}
            yield {"shape": shape, "nonzeros": nonzeros} | cells | fit
        last = problems.groupby("method", sort=False).exponent.last()
        named = {"shape": f"exponent of {what}", "nonzeros": "", "fit, s": ""}
        yield named | {method: f"{slope:.2f}" for method, slope in last.items()}


def main(target: str, *sources: str) -> None:
    """Write the table of results as a CSV."""
    import pandas as pd

    table = pd.concat(map(pd.read_csv, sources))
    if "sweep" in table:
        found = list(growth_lines(table))
    else:
        found = sorted(lines(table), key=lambda line: sides(line["shape"])[::-1])
    pd.DataFrame(found).to_csv(target, index=False)
    print(f"{len(found)} lines written to {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
