"""The gap of given codes: zero at the optimum, a bound everywhere else."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Lasso

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import (
    duality_gap,
)

ALPHA = 0.1
DATA = make_sparse_recovery(8, 10, 20, sparsity=3, snr_db=20, random_state=0)


def objective(z, X=DATA.X, D=DATA.dictionary, alpha=ALPHA):
    return 0.5 * np.sum((X - z @ D) ** 2, axis=1) + alpha * np.abs(z).sum(axis=1)


def lasso(X, D, alpha):
    """Solve sample by sample with scikit-learn, whose objective is divided by n_features."""
    model = Lasso(alpha / D.shape[1], fit_intercept=False, tol=1e-14, max_iter=10**6)
    return np.stack([model.fit(D.T, x).coef_ for x in X])


@pytest.fixture(scope="module")
def optimum():
    return lasso(DATA.X, DATA.dictionary, ALPHA)


def test_gap_is_zero_at_the_optimum_of_scikit_learn(optimum):
    gap = duality_gap(DATA.X, optimum, DATA.dictionary, ALPHA)
    assert gap.shape == (8,)
    assert gap.dtype == np.float64
    assert_allclose(gap, 0, atol=1e-9)
    off = optimum + 1e-3 * np.random.RandomState(0).standard_normal(optimum.shape)
    assert (duality_gap(DATA.X, off, DATA.dictionary, ALPHA) > 1e-6).all()


def test_gap_is_zero_at_the_optimum_of_cvxpy():
    import cvxpy as cp

    z = cp.Variable(DATA.y.shape)
    value = 0.5 * cp.sum_squares(DATA.X - z @ DATA.dictionary) + ALPHA * cp.sum(cp.abs(z))
    best = cp.Problem(cp.Minimize(value)).solve(solver=cp.CLARABEL)
    gap = duality_gap(DATA.X, z.value, DATA.dictionary, ALPHA, relative=False)
    assert_allclose(gap, 0, atol=1e-6)
    # The sum of the gaps certifies that cvxpy's value is the best.
    assert_allclose(objective(z.value).sum(), best, rtol=1e-6)


@pytest.mark.parametrize("size", [0, 1e-4, 1e-2, 1, 100])
def test_weak_duality(optimum, size):
    z = optimum + size * np.random.RandomState(0).standard_normal(optimum.shape)
    excess = objective(z) - objective(optimum)
    gap = duality_gap(DATA.X, z, DATA.dictionary, ALPHA, relative=False)
    assert (gap >= excess - 1e-12).all()
    assert (gap >= 0).all()


def test_gap_relative_to_the_zero_code():
    X, D = DATA.X, DATA.dictionary
    absolute = duality_gap(X, DATA.y, D, ALPHA, relative=False)
    assert_allclose(duality_gap(X, DATA.y, D, ALPHA), absolute / (0.5 * np.sum(X**2, axis=1)))
    zero = np.zeros_like(DATA.y)
    assert (duality_gap(X, zero, D, ALPHA) <= 1).all()
    # From alpha = max |x D^T| on, the zero code is the optimum.
    assert_allclose(duality_gap(X, zero, D, np.abs(X @ D.T).max(axis=1)), 0, atol=1e-14)
    assert_array_equal(duality_gap(0 * X, zero, D, ALPHA), 0)


def test_gap_with_alpha_and_dictionary_per_sample():
    data = make_sparse_recovery(4, 5, 9, sparsity=2, per_sample_dictionary=True, random_state=0)
    alpha = np.array([0.1, 0.2, 0.3, 0.4])
    z = 0.9 * data.y
    together = duality_gap(data.X, z, data.dictionary, alpha)
    alone = [duality_gap(data.X[[j]], z[[j]], data.dictionary[j], alpha[j])[0] for j in range(4)]
    assert (together > 0).all()
    assert_allclose(together, alone, rtol=1e-12)


def test_gap_of_tensors_readonly_and_single_precision():
    expected = duality_gap(DATA.X, DATA.y, DATA.dictionary, ALPHA)
    tensors = [torch.tensor(a, requires_grad=True) for a in (DATA.X, DATA.y, DATA.dictionary)]
    assert_array_equal(duality_gap(*tensors, torch.tensor(ALPHA, dtype=torch.float64)), expected)
    readonly = [a.copy() for a in (DATA.X, DATA.y, DATA.dictionary)]
    for array in readonly:
        array.setflags(write=False)
    assert_array_equal(duality_gap(*readonly, ALPHA), expected)
    single = duality_gap(*(a.astype(np.float32) for a in readonly), ALPHA)
    assert single.dtype == np.float64
    assert_allclose(single, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dictionary": DATA.dictionary.T}, r"transposed: pass dictionary\.T"),
        (
            {"dictionary": DATA.dictionary[:-1]},
            r"ask for \(n_components, n_features\) = \(20, 10\)",
        ),
        ({"dictionary": np.ones((7, 20, 10))}, "with n_samples=8"),
        ({"dictionary": np.ones((8, 10, 20))}, r"pass dictionary\.transpose\(0, 2, 1\)"),
        ({"dictionary": DATA.dictionary * np.nan}, "dictionary contains NaN"),
        ({"X": DATA.X + np.inf}, "X contains infinity"),
        ({"X": DATA.X[:-1]}, "inconsistent numbers of samples"),
        ({"codes": DATA.y * np.nan}, "codes contains NaN"),
        ({"codes": DATA.y[0]}, "Expected 2D array"),
        ({"alpha": 0}, "alpha must be one positive number"),
        ({"alpha": -0.1}, "alpha must be one positive number"),
        ({"alpha": [0.1] * 7}, r"of shape \(8,\); got shape \(7,\)"),
        ({"alpha": np.nan}, "alpha contains NaN"),
    ],
)
def test_bad_gap_input(change, message):
    params = {"X": DATA.X, "codes": DATA.y, "dictionary": DATA.dictionary, "alpha": ALPHA}
    with pytest.raises(ValueError, match=message):
        duality_gap(**(params | change))
