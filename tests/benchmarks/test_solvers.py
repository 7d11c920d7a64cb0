"""Every solver of the benchmarks solves the problem that it is timed on. No times."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import issparse

from benchmarks import certificate, sparse_coding
from benchmarks.base import Dataset, Solver
from benchmarks.objective import Objective
from benchmarks.solvers import all_solvers
from benchmarks.timing import installed
from sklearn_unroll.datasets import make_sparse_recovery

SOLVERS = all_solvers()
SETTINGS = [
    pytest.param(cls, settings, id=f"{name}-{i}")
    for name, cls in SOLVERS.items()
    for i, settings in enumerate(cls.parameters)
]
LASSO_SETTINGS = [param for param in SETTINGS if param.values[0].gap_bound is not None]


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
    if not installed(cls.requires, cls.name):
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
@pytest.mark.filterwarnings("ignore:The guard of")
@pytest.mark.filterwarnings("ignore:This fit of")
def test_a_wrong_alpha_would_be_caught(cls, settings, dataset, objective):
    for factor in (20, 1 / 20):
        found = objective.evaluate(codes_of(make(cls, settings), tiny(factor * dataset.alpha)))
        assert found["gap_max"] > cls.gap_bound


@pytest.mark.parametrize("cls, settings", SETTINGS)
def test_a_zero_signal_has_a_zero_code(cls, settings, dataset):
    X = dataset.X.copy()
    X[2] = 0  # a flat patch: several peers need care with it
    noise_energy = dataset.noise_energy.copy()
    noise_energy[2] = 0
    flat = replace(dataset, X=X, noise_energy=noise_energy)
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


def test_a_missing_peer_is_skipped_with_its_reason(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(SOLVERS["fista"], "requires", "no_such_module")
    argv = ["--quick", "--n-samples", "10", "--datasets", "gaussian"]
    argv += ["--solvers", "fista", "sklearn_omp", "--output", str(tmp_path)]
    path = sparse_coding.STUDY.main(argv)
    assert "skipped fista: no_such_module is not installed" in capsys.readouterr().out
    assert set(pd.read_csv(path)["solver"]) == {"floor", "sklearn_omp"}


def test_every_solver_in_the_table_is_drawn():
    kinds = [("floor", "float32"), ("floor", "float64"), ("fista", "float32"), ("omp", "float64")]
    table = pd.DataFrame(
        {"dataset": dataset, "solver": solver, "dtype": dtype, "us_per_signal": 10.0 + i}
        for dataset in ("gaussian", "patches")
        for i, (solver, dtype) in enumerate(kinds)
    ).assign(n_samples=30, alpha=0.1, threads=1, objective_excess=0.0)
    figure = sparse_coding.draw(table)
    for ax in figure.axes:
        *floors, fista, omp = ax.get_lines()
        assert [line.get_xdata()[0] for line in floors] == [10, 11]
        assert list(fista.get_xdata()) == [12] and list(omp.get_xdata()) == [13]
        assert fista.get_ydata()[0] == sparse_coding.LOWEST  # of a logarithmic axis
        assert omp.get_linestyle() == "None" and omp.get_marker() != fista.get_marker()
        assert ax.get_xscale() == ax.get_yscale() == "log"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["floor, float32", "floor, float64", "fista", "omp"]


def test_every_solver_declares_the_contract():
    assert {"lista", "fista", "sklearn_lasso_cd", "spams_lasso", "celer_path"} <= set(SOLVERS)
    for name, cls in SOLVERS.items():
        assert issubclass(cls, Solver) and cls.name == name and cls.__doc__
        for settings in cls.parameters:
            assert settings["dtype"] in ("float32", "float64")


def test_the_certificates_name_solvers_that_exist():
    assert set(certificate.DOUBLE) <= set(SOLVERS)
    assert set(certificate.SINGLE) <= set(certificate.DOUBLE)
