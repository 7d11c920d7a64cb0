"""The benchmarks run, and every solver in them solves the problem it is timed on. No times."""

import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import issparse

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is not installed

from benchmarks import (
    bfloat16,
    plot,
    prediction_floor,
    recovery_frontier,
    robust_training,
    run,
    training_time,
)
from benchmarks.base import Dataset, Solver
from benchmarks.datasets import all_datasets
from benchmarks.floor import Floor
from benchmarks.objective import Objective
from benchmarks.solvers import all_solvers
from benchmarks.timing import limit_threads, measure
from sklearn_unroll.datasets import make_sparse_recovery

SOLVERS = all_solvers()
SETTINGS = [
    pytest.param(cls, settings, id=f"{name}-{i}")
    for name, cls in SOLVERS.items()
    for i, settings in enumerate(cls.parameters)
]
LASSO_SETTINGS = [param for param in SETTINGS if param.values[0].gap_bound is not None]
EVERYWHERE = {"dataset", "solver", "dtype", "threads", "n_samples", "versions", "cpu", "baseline"}
EVERYWHERE |= {"seconds_median", "seconds_min", "seconds_max", "microseconds_per_signal"}
EVERYWHERE |= {"ratio_to_floor", "prepare_seconds"}
QUALITY = {"gap_mean", "gap_max", "objective", "objective_excess"}


def tiny(alpha):
    """Two atoms in every signal, 40 dB, 20 features: a slip by a factor of 20 would show."""
    data = make_sparse_recovery(340, 20, 30, sparsity=2, snr_db=40, random_state=0)
    return Dataset(
        name="tiny",
        X=data.X[:40],
        X_train=data.X[40:],
        dictionary=data.dictionary,
        alpha=alpha,
        n_nonzero=2,
        codes=data.y[:40],
        noise_energy=20 * data.noise_std[:40] ** 2,
    )


@pytest.fixture(scope="module")
def dataset():
    return tiny(alpha=0.1)


@pytest.fixture(scope="module")
def objective(dataset):
    return Objective(dataset)


def make(cls, settings):
    if not cls.available():
        pytest.skip(f"{cls.requires} is not installed")
    few_epochs = {"max_epochs": 3} if "max_epochs" in settings else {}
    return cls(threads=1, **(settings | few_epochs))


def codes_of(solver, dataset):
    data = dataset.astype(solver.dtype)
    solver.prepare(data)
    X = data.X.copy()
    codes = solver.solve(data.X)
    np.testing.assert_array_equal(data.X, X)  # a solver leaves the signals to the next one
    return codes


@pytest.mark.parametrize("cls, settings", SETTINGS)
def test_codes_are_as_near_the_optimum_as_the_solver_says(cls, settings, dataset, objective):
    found = objective.evaluate(codes_of(make(cls, settings), dataset))
    if cls.gap_bound is not None:
        assert found["gap_max"] <= cls.gap_bound
        assert found["objective_excess"] > -1e-8
    else:  # orthogonal matching pursuit: judged by recovery, which is easy here
        assert found["nmse_db"] < -30
        if settings.get("stop") != "noise":
            assert found["n_nonzero"] == dataset.n_nonzero


@pytest.mark.parametrize("cls, settings", LASSO_SETTINGS)
def test_a_wrong_alpha_would_be_caught(cls, settings, dataset, objective):
    for factor in (20, 1 / 20):
        found = objective.evaluate(codes_of(make(cls, settings), tiny(factor * dataset.alpha)))
        assert found["gap_max"] > cls.gap_bound


@pytest.mark.parametrize("cls", SOLVERS.values(), ids=SOLVERS)
def test_a_zero_signal_has_a_zero_code(cls, dataset):
    X = dataset.X.copy()
    X[2] = 0  # a flat patch: several peers need care with it
    noise_energy = dataset.noise_energy.copy()
    noise_energy[2] = 0
    flat = replace(dataset, X=X, noise_energy=noise_energy)
    for settings in cls.grid(quick=True):
        codes = codes_of(make(cls, settings), flat)
        codes = codes.toarray() if issparse(codes) else codes
        assert np.isfinite(codes).all() and not codes[2].any() and codes[3].any()


def test_objective_agrees_with_a_known_optimum():
    # Orthogonal atoms: the optimum is soft(x, alpha), 0.5 (0.5^2 + 0.2^2) + 0.5 * 1.5.
    X = np.array([[2.0, 0.2]])
    objective = Objective(Dataset("known", X, X, np.eye(2), alpha=0.5, codes=np.array([[2.0, 0]])))
    assert objective.optimum == pytest.approx(0.895)
    assert objective.optimal_n_nonzero == 1
    found = objective.evaluate(np.zeros((1, 2)))
    assert found["objective_excess"] == pytest.approx(2.02 / 0.895 - 1)
    assert found["nmse_db"] == pytest.approx(0)
    assert objective.evaluate(np.array([[1.5, 0.0]]))["support_f1"] == 1


def test_runner_writes_a_row_per_setting_and_the_plotter_draws_them(tmp_path, capsys):
    argv = ["--quick", "--n-samples", "30", "--repeats", "2", "--name", "smoke"]
    path = run.main([*argv, "--output", str(tmp_path)])
    assert "threads: torch 1" in capsys.readouterr().out
    table = pd.read_csv(path)
    assert path == tmp_path / "smoke.csv"

    expected = set()
    for dataset in all_datasets():
        for cls in (Floor, *(cls for cls in SOLVERS.values() if cls.available())):
            for settings in cls.grid(quick=True):
                if (dataset, settings.get("stop")) != ("patches", "noise"):
                    solver = cls(**settings)
                    expected.add((dataset, cls.name, solver.describe(), solver.dtype))
    keys = table[["dataset", "solver", "parameters", "dtype"]].fillna("")
    assert len(table) == len(expected)
    assert {tuple(row) for row in keys.to_numpy()} == expected

    assert table[sorted(EVERYWHERE)].notna().all(axis=None)
    assert np.isfinite(table[sorted(EVERYWHERE)].select_dtypes("number")).all(axis=None)
    solved = table[table["solver"] != "floor"]
    assert np.isfinite(solved[sorted(QUALITY)]).all(axis=None)
    assert np.isfinite(solved.loc[solved["dataset"] == "gaussian", "nmse_db"]).all()
    assert (table["n_samples"] == 30).all()
    assert (table.loc[table["solver"] == "floor", "ratio_to_floor"] == 1).all()
    for dataset in ("gaussian", "patches"):
        here = solved[solved["dataset"] == dataset].set_index("solver")
        assert here.loc["lista", "objective"] < here.loc["ista_untrained", "objective"]

    with mpl.rc_context({"backend": "Agg"}):
        figure = plot.main(["--output", str(tmp_path), "--name", "smoke"])
    assert figure.suffix == ".png" and figure.stat().st_size > 10_000
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_every_solver_in_the_table_is_drawn(tmp_path):
    argv = ["--quick", "--n-samples", "10", "--repeats", "1", "--dataset", "gaussian"]
    path = run.main([*argv, "--solver", "fista", "sklearn_omp", "--output", str(tmp_path)])
    figure = plot.draw(pd.read_csv(path))
    (ax,) = figure.axes
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["floor, float32", "floor, float64", "fista", "sklearn_omp"]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    plt.close(figure)


def test_a_missing_peer_is_skipped_with_its_reason(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(SOLVERS["fista"], "requires", "no_such_module")
    argv = ["--quick", "--n-samples", "10", "--repeats", "1", "--dataset", "gaussian"]
    path = run.main([*argv, "--solver", "fista", "sklearn_omp", "--output", str(tmp_path)])
    assert "skipped fista: no_such_module is not installed" in capsys.readouterr().out
    assert set(pd.read_csv(path)["solver"]) == {"floor", "sklearn_omp"}


def test_prediction_floor_writes_its_ratios(tmp_path):
    path = prediction_floor.main(["--quick", "--repeats", "2", "--output", str(tmp_path)])
    table = pd.read_csv(path)
    assert list(table["batch"]) == [100, 100, 100, 600, 600, 600] * 2
    assert set(table["network"]) == {"LISTA", "ALISTA", "HyperLISTA"}
    assert (table[["floor_us", "predict_us", "ratio", "ratio_of_minima"]] > 0).all(axis=None)


def test_the_frontier_has_rivals_and_says_who_is_beaten(tmp_path):
    pytest.importorskip("spams")
    path = recovery_frontier.main(["--quick", "--repeats", "1", "--output", str(tmp_path)])
    table = pd.read_csv(path).set_index("method")
    assert {"spams OMP, float32", "FISTA, best alpha", "TISTA 12"} <= set(table.index)
    assert table.loc["spams OMP, float32", "nmse_db"] < -30
    assert (table["frontier"] == "yes").any()
    assert table["frontier"].isna().any()


def test_bfloat16_says_what_it_costs(tmp_path):
    table = pd.read_csv(bfloat16.main(["--quick", "--output", str(tmp_path)]))
    full, half, mixed = table["nmse_db"]
    assert full < mixed + 3 < half + 6
    assert (table["times_faster"] > 0).all()


def test_robust_training_has_every_network_on_both_problems(tmp_path):
    table = pd.read_csv(robust_training.main(["--quick", "--output", str(tmp_path)]))
    assert table.groupby("problem").size().to_dict() == {"gaussian 30x60": 13, "tiles 8x8": 13}
    assert (table["noise_30"] > table["noise_1"]).all()
    from_ista = table["network"].str.endswith("from ISTA")
    assert (
        table[from_ista]["clean"].max() < table[~from_ista].groupby("problem")["clean"].min().max()
    )


def test_training_time_counts_steps(tmp_path):
    table = pd.read_csv(
        training_time.main(["--quick", "--threads", "1", "--output", str(tmp_path)])
    )
    assert list(table["steps"]) == [240_000, 300]
    assert (table["minutes"] > 0).all()


def test_plotter_says_how_to_get_the_csv(tmp_path, capsys):
    with pytest.raises(SystemExit):
        plot.main(["--output", str(tmp_path)])
    assert "python -m benchmarks.run" in capsys.readouterr().err


def test_jobs_are_timed_in_turn():
    calls = []
    seconds = measure({name: lambda name=name: calls.append(name) for name in "AB"}, repeats=3)
    assert calls == list("ABABAB")
    assert {key: len(value) for key, value in seconds.items()} == {"A": 3, "B": 3}


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    with limit_threads(before + 1) as line:
        assert torch.get_num_threads() == before + 1
        assert line.startswith(f"threads: torch {before + 1}")
    assert torch.get_num_threads() == before


def test_every_solver_declares_the_contract():
    assert {"lista", "fista", "sklearn_lasso_cd", "spams_lasso", "celer_path"} <= set(SOLVERS)
    for name, cls in SOLVERS.items():
        assert issubclass(cls, Solver) and cls.name == name and cls.__doc__
        for settings in [*cls.grid(quick=False), *cls.grid(quick=True)]:
            assert settings["dtype"] in ("float32", "float64")
