"""Estimators whose dictionary is an operator that is only applied, beside its matrix."""

import pickle

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator
from sklearn.base import clone

from sklearn_unroll import LassoCoder, LISTARegressor, MathL2OSolver, Trainer
from sklearn_unroll.functional import Convolution, Observation
from sklearn_unroll.solvers import ADMM, FISTA, minimize

ONE_EPOCH = Trainer(max_epochs=1)


def problem(n_channels=1, boundary="circular", dtype=float):
    """Return a convolution, its matrix, signals, codes."""
    rng = np.random.default_rng(0)
    d = rng.standard_normal((2, n_channels, 5))
    A = Convolution(d / np.linalg.norm(d, axis=(1, 2), keepdims=True), 24, boundary=boundary)
    D = A(torch.eye(A.n_components, dtype=torch.float64)).numpy()
    shape = (30, A.n_components)
    codes = rng.standard_normal(shape) * (rng.random(shape) < 0.1)
    return A, D, (codes @ D).astype(dtype), codes.astype(dtype)


@pytest.mark.parametrize(
    "solver, boundary",
    [("auto", "circular"), ("auto", "full"), ("auto", "same"), ("auto", "valid"),
     ("admm", "circular")],
)  # fmt: skip
def test_lasso_coder_finds_the_codes_of_the_matrix_certified(solver, boundary):
    A, D, X, _ = problem(2, boundary)
    found = LassoCoder(A, 0.1, solver=solver, tol=1e-9).fit(X).solve(X)
    expected = LassoCoder(D, 0.1, tol=1e-9).fit(X).solve(X)
    assert found.converged.all() and found.gap.max() <= 1e-9
    np.testing.assert_allclose(found.codes, expected.codes, atol=1e-3)


@pytest.mark.parametrize("boundary, taken", [("circular", ADMM), ("full", FISTA)])
def test_auto_takes_admm_where_a_transform_solves_its_systems(boundary, taken):
    A, _, X, _ = problem(2, boundary)
    obs = Observation(torch.from_numpy(X), A)
    expected = minimize(taken(obs, 0.01), obs, tol=1e-7, max_iter=10_000)
    found = LassoCoder(A, 0.01, tol=1e-7).fit(X).solve(X)
    np.testing.assert_array_equal(found.n_iter, expected.n_iter)
    whole = LassoCoder(A, 0.01, tol=1e-7).fit(X.round().astype(int)).solve(X.round().astype(int))
    assert whole.converged.all() and whole.codes.dtype == np.float64


@pytest.mark.parametrize("given", [{"positive": True}, {"alpha_relative": True}])
def test_what_lasso_coder_does_with_a_matrix_it_does_with_what_acts_as_one(given):
    A, D, X, _ = problem()
    ours, theirs = (LassoCoder(one, 0.2, tol=1e-10, **given).fit(X) for one in (A, D))
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-3)
    assert ours.score(X) == pytest.approx(theirs.score(X), rel=1e-6)
    path, expected = ours.path(X, [0.2, 0.4]), theirs.path(X, [0.2, 0.4])
    np.testing.assert_allclose(path.codes, expected.codes, atol=1e-3)
    codes = theirs.predict(X)
    np.testing.assert_allclose(ours.inverse_transform(codes), codes @ D, atol=1e-12)
    again = LassoCoder(A, 0.2, tol=1e-10, warm_start_from=ours, **given).fit(X).solve(X)
    assert again.n_iter.max() == 0


def test_a_linear_operator_and_single_precision():
    A, D, X, _ = problem(dtype=np.float32)
    exact = LassoCoder(D, 0.1).fit(X).predict(X)
    for one in (aslinearoperator(D.T), A):
        coder = pickle.loads(pickle.dumps(clone(LassoCoder(one, 0.1)).fit(X)))
        found = coder.solve(X)
        assert found.codes.dtype == np.float32 and found.converged.all()
        np.testing.assert_allclose(found.codes, exact, atol=0.01)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_lasso_coders_codes_follow_the_units(unit):
    A, _, X, _ = problem()
    codes = LassoCoder(A, 0.1).fit(X).predict(X)
    scaled = LassoCoder(A, 0.1 * unit).fit(unit * X).predict(unit * X)
    np.testing.assert_allclose(scaled / unit, codes, atol=1e-3)


@pytest.mark.parametrize("given, message", [
    ({"atom_weights": np.ones(48)}, "atom_weights needs a matrix"),
    ({"l2": 0.1}, "Convolution, which is only applied, but l2 needs"),
    ({"error": 1.0}, "error needs a matrix"),
    ({"solver": "active_set"}, "solver='active_set' needs a matrix.*'admm'"),
])  # fmt: skip
def test_what_needs_a_matrix_says_so(given, message):
    A, _, X, _ = problem()
    with pytest.raises(ValueError, match=message):
        LassoCoder(A, 0.1, **given).fit(X)
    if "error" in given:
        with pytest.raises(ValueError, match=message):
            LassoCoder(A, 0.1).fit(X).solve(X, **given)


@pytest.mark.parametrize("make", [
    LassoCoder, MathL2OSolver, lambda A: LISTARegressor(A, weights="adjoint"),
])  # fmt: skip
def test_channels_that_do_not_match_are_named(make):
    A, _, X, _ = problem(2)
    with pytest.raises(ValueError, match=r"X has 24 features.*gives 48.*shape \(2, 24\), \(n_cha"):
        make(A).fit(X[:, :24])


@pytest.mark.parametrize("pairs", [False, True])
def test_step_lista_is_that_of_the_matrix(pairs):
    A, D, X, y = problem()
    given = {"weights": "adjoint", "n_layers": 3, "trainer": ONE_EPOCH, "random_state": 0}
    given |= {"normalize": False}
    ours, theirs = (LISTARegressor(one, **given).fit(X, y if pairs else None) for one in (A, D))
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-8)
    np.testing.assert_allclose(ours.certify(X, 0.1), theirs.certify(X, 0.1), atol=1e-8)
    assert ours.dictionary_.kernels.dtype == torch.float64
    copy = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(copy.predict(X), ours.predict(X))
    np.testing.assert_allclose(ours.inverse_transform(y), X, atol=1e-12)
    assert type(ours.network_operator()) is Convolution
    ours.set_params(warm_start=True).fit(X, y if pairs else None)


def test_step_lista_of_pairs_follows_their_units():
    A, _, X, y = problem()
    given = {"weights": "adjoint", "n_layers": 4, "trainer": ONE_EPOCH, "random_state": 0}
    model = LISTARegressor(A, **given).fit(X, y)
    scaled = LISTARegressor(A, **given).fit(1e4 * X, 1e4 * y)
    assert model.score(X, y) > 0
    np.testing.assert_allclose(scaled.predict(1e4 * X) / 1e4, model.predict(X), atol=1e-9)


@pytest.mark.parametrize("weights", ["coupled", "free"])
def test_weights_as_large_as_the_dictionary_want_a_matrix(weights):
    A, _, X, y = problem()
    with pytest.raises(TypeError, match=r"got the operator Convolution.*weights='adjoint'"):
        LISTARegressor(A, weights=weights).fit(X, y)


def test_math_l2o_solves_convolutions_as_it_solves_matrices():
    A, D, X, _ = problem()
    given = {"alpha": 0.1, "n_layers": 10, "trainer": ONE_EPOCH, "random_state": 0}
    found = MathL2OSolver(A, **given).fit(X).solve(X, n_iter=200)
    expected = MathL2OSolver(D, **given).fit(X).solve(X, n_iter=200)
    assert np.max(found.gap) < 1e-5
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-5)
