"""What the frontier and growth say of codes, and the tables of the docs. No times."""

import csv

import numpy as np
import pandas as pd
import pytest

from benchmarks import frontier_table
from benchmarks.growth import SWEEPS, problems
from benchmarks.recovery_frontier import Problem, measured


def test_errors_are_per_signal_and_beside_the_first_solver():
    y = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    first = y + [[0.1, 0.0], [0.0, 0.0], [0.1, 0.0], [0.1, 0.0]]
    other = y + [[0.3, 0.0], [0.1, 0.0], [0.4, 0.0], [0.0, 0.0]]  # energies 9, inf, 16, 0 times
    problem = Problem(y, y, np.eye(2), np.zeros(4), 1, slice(0, 4), slice(0, 4))
    rows = measured(problem, {"OMP": lambda: first, "ours": lambda: other}, repeats=1)
    assert [row["method"] for row in rows] == ["OMP", "ours"]
    assert [row["far_worse"] for row in rows] == [0, 2]
    # The zero signal has no relative error; it counts in the pooled one.
    assert rows[1]["worst_db"] == pytest.approx(10 * np.log10(0.16 / 4))
    assert rows[1]["nmse_db"] == pytest.approx(10 * np.log10(0.26 / 30))


def test_only_the_fresh_signals_count():
    y = np.array([[1.0], [1.0]])
    problem = Problem(y, y, np.eye(1), np.zeros(2), 1, slice(1), slice(1, 2))
    (row,) = measured(problem, {"OMP": lambda: np.array([[0.9]])}, repeats=1)
    assert row["worst_db"] == row["nmse_db"] == row["median_db"] == pytest.approx(-20)


def test_solvers_are_judged_on_the_signals_of_the_first():
    y = np.ones((3, 1))
    problem = Problem(y, y, np.eye(1), np.zeros(3), 1, slice(3), slice(3))
    codes = {"OMP": y[:2] - 0.1, "slow": y[:1] - 0.9, "ours": y - [[0.1], [0.5], [0.9]]}
    rows = measured(problem, {name: lambda c=code: c for name, code in codes.items()}, repeats=1)
    assert [row["far_worse"] for row in rows] == [0, 1, 1]
    errors = 10 * np.log10([0.01, 0.81, 0.26 / 2])
    assert [row["nmse_db"] for row in rows] == pytest.approx(list(errors))


def test_what_grows_has_the_nonzeros_it_names():
    given = ["10x20", "20x40"], [0.05, 0.1], "50x200", [2, 10]
    found = dict(sweep for what in SWEEPS for sweep in problems(what, *given))
    assert found == {
        "atoms, 5% nonzeros": [(20, "10x20", 0.05), (40, "20x40", 0.05)],
        "atoms, 10% nonzeros": [(20, "10x20", 0.1), (40, "20x40", 0.1)],
        "nonzeros, 50x200": [(2, "50x200", 0.01), (10, "50x200", 0.05)],
    }


def written(rows, tmp_path):
    """Return the lines of the table that results become."""
    pd.DataFrame(rows).to_csv(tmp_path / "result.csv", index=False)
    frontier_table.main(tmp_path / "table.csv", tmp_path / "result.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8") as table:
        return list(csv.DictReader(table))


def test_the_table_of_growth_ends_a_sweep_with_its_exponents(tmp_path):
    rows = [
        {"sweep": sweep, "shape": shape, "nonzeros": k, "method": method, "us_per_signal": us,
         "exponent": slope, "nmse_db": -30.04, "worst_db": -20.4, "fit_seconds": fit}
        for sweep, shape, k, us, slope in (
            ("atoms, 5% nonzeros", "10x20", 1, 7.0, None),
            ("atoms, 5% nonzeros", "15x30", 2, 21.0, 2.71),
            ("atoms, 5% nonzeros", "20x40", 2, 28.0, 2.0),
            ("atoms, 5% nonzeros", "40x80", 4, 140.0, 2.16),
            ("nonzeros, 20x40", "20x40", 2, 28.0, None),
            ("nonzeros, 20x40", "20x40", 4, 56.0, 1.0),
        )
        for method, fit in (("HyperLISTA 8", 3.0), ("HyperLISTA 8, debias", 0.25), ("OMP", None))
    ]  # fmt: skip
    lines = written(rows, tmp_path)
    assert [line["shape"] for line in lines] == [
        "10x20", "15x30", "20x40", "40x80", "exponent of atoms",
        "20x40", "20x40", "exponent of nonzeros",
    ]  # fmt: skip
    assert [line["nonzeros"] for line in lines] == ["1", "2", "2", "4", "", "2", "4", ""]
    assert lines[2]["HyperLISTA 8"] == lines[2]["OMP"] == "28: -30.0 (-20)"
    assert lines[4]["OMP"] == "2.16" and lines[7]["HyperLISTA 8"] == "1.00"
    assert [line["fit, s"] for line in lines] == [*["0.25"] * 4, "", "0.25", "0.25", ""]


def test_the_table_of_the_frontier_takes_the_omp_that_is_fast_and_as_accurate(tmp_path):
    problem = {"shape": "10x20", "sparsity": 0.05, "snr_db": 30.0, "worst_db": -20.4}
    rows = [
        problem | {"method": name, "us_per_signal": us, "nmse_db": error, "frontier": on}
        for name, us, error, on in (
            ("spams OMP, float32", 1.0, -29.0, 0),  # fast, but a dB worse
            ("spams OMP, float64", 20.0, -30.0, 0),
            ("HyperLISTA 8", 2.0, -29.8, 1),
            ("HyperLISTA 8, debias", 4.0, -30.5, 1),
            ("HyperLISTA 12, debias", 5.0, -30.4, 0),
        )
    ]
    (line,) = written(rows, tmp_path)
    assert line["OMP of spams: dB (worst), µs"] == "-30.0 (-20), 20"
    assert line["fastest HyperLISTA"] == "8: -29.8 (-20), 10 times"
    assert line["fastest as accurate"] == "8, debias: -30.5 (-20), 5 times"
    assert line["on the frontier"] == "8 8+d"
