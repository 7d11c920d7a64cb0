"""LassoCoder by an error, an l1 norm, a ridge, without a weight, and a dictionary a sample."""

import sys

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn import set_config
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet
from sklearn.pipeline import make_pipeline

from sklearn_unroll import LassoCoder, OMPCoder
from sklearn_unroll.datasets import make_sparse_recovery

SOLVERS = sys.modules["sklearn_unroll.estimators._lasso_solvers"]


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(60, 20, 40, sparsity=3, snr_db=20, random_state=0)


@pytest.fixture(params=["compiled", "torch"])
def arithmetic(request, monkeypatch):
    if request.param == "torch":
        for name in ("estimators._lasso_solvers", "solvers.bounded"):
            module = sys.modules[f"sklearn_unroll.{name}"]
            monkeypatch.setattr(module, "compiled_available", lambda: False)
    else:
        pytest.importorskip("numba")


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_error_is_met_in_any_units(data, arithmetic, factor, dtype):
    X = (factor * data.X).astype(dtype)
    error = 20 * float(factor * data.noise_std.mean()) ** 2
    coder = LassoCoder(data.dictionary, error=error).fit(X)
    found = coder.solve(X)
    assert found.codes.dtype == dtype and found.converged.all()
    left = np.sum((X - found.codes @ data.dictionary) ** 2, axis=1)
    met = error if dtype == np.float64 else error * (1 + 1e-5)
    assert left.max() <= met * (1 + 1e-10)
    # The same codes as at the alpha found, in one call.
    alone = coder.solve(X, alpha=found.alpha)
    np.testing.assert_allclose(alone.codes, found.codes, atol=1e-3 * factor)
    norm = np.abs(found.codes).sum(1)
    by_norm = LassoCoder(data.dictionary, l1_radius=1.0).fit(X).solve(X, l1_radius=norm)
    np.testing.assert_allclose(by_norm.codes, found.codes, atol=2e-3 * factor)
    np.testing.assert_allclose(by_norm.alpha, found.alpha, rtol=2e-2)


def test_bounds_may_differ_from_sample_to_sample(data):
    coder = LassoCoder(data.dictionary).fit(data.X)
    error = np.linspace(0.1, 1.1, 60) * np.sum(data.X**2, axis=1)
    found = coder.solve(data.X, error=error)
    assert found.converged.all()
    zero = error >= np.sum(data.X**2, axis=1)
    assert zero.sum() == 6 and (~found.codes.any(1) == zero).all()
    peak = np.abs(data.X @ data.dictionary.T).max(1)
    np.testing.assert_allclose(found.alpha[zero], peak[zero])
    one = coder.solve(data.X[7:8], error=error[7])
    np.testing.assert_allclose(one.codes[0], found.codes[7], atol=1e-10)


def test_the_problem_and_the_score_are_at_the_alpha_found(data):
    coder = LassoCoder(data.dictionary, error=20 * float(data.noise_std.mean()) ** 2).fit(data.X)
    found = coder.solve(data.X)
    value = coder.problem(data.X).value
    objective = 0.5 * np.sum((data.X - found.codes @ data.dictionary) ** 2, axis=1)
    objective += found.alpha * np.abs(found.codes).sum(1)
    import torch

    np.testing.assert_allclose(value(torch.from_numpy(found.codes)), objective, rtol=1e-6)
    assert coder.score(data.X) == pytest.approx(-objective.mean(), rel=1e-6)
    assert coder.certify(data.X).max() <= coder.tol
    assert coder.score(data.X, data.y) > 0.8


def test_an_error_out_of_reach_is_told():
    data = make_sparse_recovery(20, 30, 10, sparsity=3, snr_db=10, random_state=1)
    coder = LassoCoder(data.dictionary, error=1e-9).fit(data.X)
    with pytest.warns(ConvergenceWarning, match="20 of 20 samples did not reach.*raise the error"):
        found = coder.solve(data.X)
    assert not found.converged.any() and np.isfinite(found.codes).all()


@pytest.mark.parametrize("positive", [False, True])
def test_an_error_that_no_atom_makes_smaller_is_told(positive, arithmetic):
    atoms, X = np.eye(3, 4), np.array([[0.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.5]])
    X[0, 0] = -1.0 if positive else 0.0
    with pytest.warns(ConvergenceWarning, match="1 of 2 samples did not reach"):
        found = LassoCoder(atoms, error=0.5, positive=positive).fit(X).solve(X)
    assert found.converged.tolist() == [False, True] and not found.codes.any()
    assert found.gap.tolist() == [np.inf, 0.0]


@pytest.mark.parametrize("positive", [False, True])
def test_the_elastic_net(data, arithmetic, positive):
    alpha, l2 = 0.05, 0.2
    weights = np.linspace(0.5, 2, 40)
    coder = LassoCoder(data.dictionary, alpha, l2=l2, positive=positive, tol=1e-10).fit(data.X)
    found = coder.solve(data.X)
    assert found.converged.all()
    for x, code in zip(data.X[:10], found.codes, strict=False):
        net = ElasticNet(
            (alpha + l2) / 20, l1_ratio=alpha / (alpha + l2), fit_intercept=False,
            positive=positive, tol=1e-12, max_iter=100_000,
        ).fit(data.dictionary.T, x)  # fmt: skip
        np.testing.assert_allclose(code, net.coef_, atol=1e-5)
    # Weights of atoms are weights of the l1 norm alone.
    weighted = clone(coder).set_params(atom_weights=weights).fit(data.X)
    codes, value = weighted.transform(data.X), -weighted.score(data.X)
    by_hand = 0.5 * np.sum((data.X - codes @ data.dictionary) ** 2, axis=1)
    by_hand += alpha * np.abs(codes) @ weights + 0.5 * l2 * np.sum(codes**2, axis=1)
    assert value == pytest.approx(by_hand.mean(), rel=1e-9)
    rng = np.random.default_rng(0)
    for step in (1e-2, 1e-3):
        moved = codes + step * rng.standard_normal(codes.shape)
        moved = moved.clip(0) if positive else moved
        other = 0.5 * np.sum((data.X - moved @ data.dictionary) ** 2, axis=1)
        other += alpha * np.abs(moved) @ weights + 0.5 * l2 * np.sum(moved**2, axis=1)
        assert (other > by_hand - 1e-12).all()


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_nonnegative_least_squares(data, arithmetic, factor):
    X = factor * data.X
    found = LassoCoder(data.dictionary, 0.0, positive=True).fit(X).solve(X)
    assert found.converged.all() and found.codes.min() >= 0 and not found.alpha.any()
    for x, code in zip(X, found.codes, strict=True):
        best = nnls(data.dictionary.T, x)[1] ** 2
        assert np.sum((x - code @ data.dictionary) ** 2) <= best + 2e-6 * np.sum(x**2)
    path = LassoCoder(data.dictionary, positive=True).fit(X).path(X, [0.0, 0.1 * factor])
    assert path.converged.all() and path.alphas.tolist() == [0.1 * factor, 0.0]


def test_atoms_that_are_alike_take_the_path_or_the_active_set(arithmetic, monkeypatch):
    D = np.exp(-np.linspace(0, 1, 40) * np.geomspace(0.5, 60, 64)[:, None])
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    X = np.abs(np.random.default_rng(0).standard_normal((50, 3))) @ D[[3, 30, 60]]
    coder = LassoCoder(D, 0.01, positive=True, tol=1e-9).fit(X)

    def fail(*args, **kwargs):
        raise AssertionError("thousands of passes")

    monkeypatch.setattr(SOLVERS, "coordinate_descent", fail)
    first = []
    real = SOLVERS.certified_lasso
    monkeypatch.setattr(
        SOLVERS,
        "certified_lasso",
        lambda *a, first_order=True, **k: (
            first.append(first_order) or real(*a, first_order=first_order, **k)
        ),
    )
    assert coder.solve(X).converged.all()
    assert not any(first)


@pytest.mark.parametrize("kind", [list, np.stack])
@pytest.mark.parametrize(
    "coder", [LassoCoder(alpha=0.05, tol=1e-10), OMPCoder(n_nonzero_coefs=3)], ids=["lasso", "omp"]
)
def test_a_dictionary_for_each_sample(data, coder, kind):
    rng = np.random.default_rng(0)
    several = [data.dictionary, data.dictionary[::-1].copy(), rng.standard_normal((40, 20))]
    which = rng.integers(3, size=60)
    operators = kind([several[i] for i in which])
    coder = clone(coder).fit(data.X, operators=operators)
    found = coder.transform(data.X, operators=operators)
    for nth, D in enumerate(several):
        rows = which == nth
        alone = clone(coder).set_params(dictionary=D).fit(data.X).transform(data.X[rows])
        np.testing.assert_allclose(found[rows], alone, atol=1e-6)
    objective = -coder.score(data.X, operators=operators)
    left = data.X - np.einsum("nc,ncf->nf", found, np.stack([several[i] for i in which]))
    value = np.sum(left**2, axis=1)
    if isinstance(coder, LassoCoder):
        value = 0.5 * value + 0.05 * np.abs(found).sum(1)
    assert objective == pytest.approx(value.mean(), rel=1e-6)
    with pytest.raises(ValueError, match="none of its own: pass operators"):
        coder.transform(data.X)
    with pytest.raises(ValueError, match="holds 59 dictionaries, but X has 60 samples"):
        coder.transform(data.X, operators=operators[:59])
    with pytest.raises(ValueError, match=r"features|shape"):
        coder.transform(data.X, operators=[D[:, :19] for D in operators])


def test_bounds_are_routed(data):
    set_config(enable_metadata_routing=True)
    try:
        coder = LassoCoder(data.dictionary).set_transform_request(error=True)
        error = 20 * data.noise_std**2
        codes = make_pipeline(coder).fit(data.X).transform(data.X, error=error)
    finally:
        set_config(enable_metadata_routing=False)
    np.testing.assert_array_equal(codes, coder.transform(data.X, error=error))


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"alpha": 0.0}, "alpha=0, needs positive=True"),
        ({"error": 0.0}, "'error' parameter"),
        ({"l1_radius": -1.0}, "'l1_radius' parameter"),
        ({"l2": -1.0}, "'l2' parameter"),
        ({"error": 1.0, "l1_radius": 1.0}, "Only one of error and l1_radius"),
        ({"error": 1.0, "l2": 0.1}, "l2=0.1 goes with alpha, not with error"),
    ],
)
def test_wrong_parameters_are_told_in_fit(data, parameters, message):
    with pytest.raises(ValueError, match=message):
        LassoCoder(data.dictionary, **parameters).fit(data.X)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"error": 1.0, "alpha": 1.0}, "Only one of alpha and error"),
        ({"error": -1.0}, "error must be positive and finite, it is the largest value of the sq"),
        ({"l1_radius": np.zeros(60)}, "l1_radius must be positive and finite"),
        ({"error": np.ones(3)}, "one number, or one per sample"),
        ({"error": np.nan}, "error must be positive"),
        ({"alpha": 0.0}, "needs positive=True"),
    ],
)
def test_wrong_bounds_are_told(data, given, message):
    coder = LassoCoder(data.dictionary).fit(data.X)
    with pytest.raises(ValueError, match=message):
        coder.solve(data.X, **given)


def test_dictionaries_that_differ_in_the_middle_are_told_apart():
    rng = np.random.default_rng(0)
    D = rng.standard_normal((4, 6, 5))
    D[1] = D[0]
    D[1, 2] *= -2  # of which no sum of the first or the last atom knows
    D[2] = D[0]
    X = rng.standard_normal((40, 5))
    which = rng.integers(4, size=40)
    coder = LassoCoder(D[0], 0.1, tol=1e-10).fit(X)
    for operators in (D[which], [D[i] for i in which], [D[i].copy() for i in which]):
        codes = coder.transform(X, operators=operators)
        for i in range(4):
            own = LassoCoder(D[i], 0.1, tol=1e-10).fit(X).transform(X[which == i])
            np.testing.assert_allclose(codes[which == i], own, atol=1e-9)
