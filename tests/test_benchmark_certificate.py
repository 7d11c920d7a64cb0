"""The benchmark of the certificate runs, and what it times solves the problem. No times."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is not installed

from benchmarks import certificate


def test_quick_mode_writes_times_and_gaps(tmp_path):
    path = certificate.main(["--quick", "--repeats", "1", "--output", str(tmp_path)])
    table = pd.read_csv(path)
    assert path == tmp_path / "certificate.csv"
    assert set(table["part"]) == {"gap", "alpha"}
    assert {"lasso_coder", "fista", "sklearn_lasso_cd", "sklearn_lasso_gram"} <= set(
        table["solver"]
    )
    numbers = table[["us_per_signal", "gap_max", "n_nonzero", "times_slower_than_lasso_coder"]]
    assert np.isfinite(numbers).all(axis=None)
    assert (table["us_per_signal"] > 0).all()
    assert set(table.loc[table["part"] == "alpha", "alpha"]) == {0.5, 0.05}
    ours = table[table["solver"] == "lasso_coder"]
    assert (ours["gap_max"] <= 1e-4).all()
    assert (ours.loc[ours["part"] == "alpha", "gap_max"] <= 1e-10).all()
    assert (table["gap_max"] < 2e-2).all()


def test_every_solver_it_names_exists():
    assert set(certificate.EXTRA) <= set(certificate.all_solvers())
    assert set(certificate.SINGLE) <= set(certificate.EXTRA)
    assert set(certificate.EXTRA) >= certificate.SLOW
