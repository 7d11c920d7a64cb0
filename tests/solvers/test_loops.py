"""The compiled loops: as plain Python, as machine code, and the torch paths beside them."""

import sys

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import Dense, Observation, alpha_max, duality_gap, lasso_value
from sklearn_unroll.solvers import certified_lasso, coordinate_descent, orthogonal_matching_pursuit
from sklearn_unroll.solvers._descent_loops import cycle, descend
from sklearn_unroll.solvers._loops import pursue
from sklearn_unroll.solvers._pursuit_batch import Groups
from sklearn_unroll.solvers._samples import products_of
from sklearn_unroll.solvers.coordinate import descend_roughly
from tests.conftest import make_problem

GREEDY = sys.modules[orthogonal_matching_pursuit.__module__]


def problem(seed, n_samples=4):
    """Return signals that no few atoms explain, and a dictionary with an atom of no use."""
    obs, _ = make_problem(n_samples, n_features=9, n_components=14, seed=seed)
    D = obs.A.D.clone()
    D[5] = 0
    noise = torch.randn(obs.b.shape, generator=torch.Generator().manual_seed(seed))
    return Observation(obs.b + 0.2 * noise.double(), Dense(D))


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("seed", [0, 1])
def test_coordinate_descent_step_by_step_is_the_lasso(seed, fraction, positive):
    obs = problem(seed)
    alpha = fraction * alpha_max(obs, positive=positive)
    expected = certified_lasso(obs, alpha, positive=positive, tol=1e-13)
    D, b = obs.A.D.numpy(), obs.b.numpy()
    X, passes = np.zeros((4, 14)), np.zeros(4, np.int64)
    given = (
        D @ D.T,
        D @ D.T,
        D,
        b,
        b @ D.T,
        (b * b).sum(1),
        X,
        passes,
        np.zeros(4),
        alpha.numpy(),
        np.zeros(14),
    )
    descend(*given, 1e-12, 10_000, positive)
    torch.testing.assert_close(torch.from_numpy(X), expected.x, atol=1e-6, rtol=0)
    gap = duality_gap(torch.from_numpy(X), obs, alpha, positive=positive)
    assert float(gap.max()) <= 1e-12
    assert passes.max() < 1000


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_pass_minimises_over_one_code_after_the_other(dtype, positive):
    rng, size, weight = np.random.default_rng(0), 9, 0.3
    A = rng.standard_normal((12, size))
    gram = np.zeros((size + 1, size + 1), dtype)
    gram[:size, :size] = A.T @ A
    q, x = A.T @ rng.standard_normal(12), np.where(rng.random(size) < 0.5, 0, rng.random(size))
    expected, inverse = x.copy(), (1 / gram.diagonal()[:size]).astype(dtype)
    for i in range(size):
        z = q[i] - gram[i, :size] @ expected + gram[i, i] * expected[i]
        least = 0 if positive else -np.inf
        expected[i] = max(np.sign(z) * max(abs(z) - weight, 0), least) / gram[i, i]
    before = x.copy()
    near = np.append(q - gram[:size, :size] @ x, np.nan).astype(dtype)
    moved = cycle(gram, inverse, weight, positive, near, x, size)
    close = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(x, expected, atol=close)
    np.testing.assert_array_equal(x == 0, expected == 0)
    np.testing.assert_allclose(near[:size], q - gram[:size, :size] @ x, atol=10 * close)
    np.testing.assert_allclose(
        moved, np.max(abs(x - before) * gram.diagonal()[:size]), rtol=10 * close
    )


def taken(obs, alpha):
    """Return codes, passes, and what the descent takes with them, in float64."""
    D, b = obs.A.D.numpy(), obs.b.numpy()
    X, passes = np.zeros((len(b), len(D))), np.zeros(len(b), np.int64)
    products = D @ D.T, D @ D.T, D, b, b @ D.T, (b * b).sum(1)
    given = np.zeros(len(b)), np.full(len(b), alpha), np.zeros(len(D))
    return X, passes, (*products, X, passes, *given)


def test_coordinate_descent_compiled_takes_the_same_steps():
    pytest.importorskip("numba")
    obs = problem(2)
    for max_passes in (1, 3, 8, 1000):
        X, passes, given = taken(obs, 0.05)
        descend(*given, 1e-9, max_passes, False)
        found = coordinate_descent(obs, 0.05, tol=1e-9, max_passes=max_passes)
        np.testing.assert_allclose(found.x.numpy(), X, atol=1e-11, rtol=0)
        assert found.n_iter.tolist() == passes.tolist()
        assert passes.max() <= max_passes


@pytest.mark.parametrize("positive", [False, True])
def test_no_pass_of_coordinate_descent_raises_the_objective(positive):
    obs = problem(4)
    D = obs.A.D.clone()
    D[7] = D[2]  # no leap may start from both
    obs = Observation(obs.b, Dense(D))
    before = 0.5 * obs.b.square().sum(1)
    for max_passes in range(1, 60):
        X, _, given = taken(obs, 0.02)
        descend(*given, 0.0, max_passes, positive)
        value = lasso_value(torch.from_numpy(X), obs, 0.02)
        assert bool((value <= before * (1 + 1e-14)).all())
        assert not positive or X.min() >= 0
        before = value


def test_coordinate_descent_ends_at_rounding_where_no_gap_is_small_enough():
    obs = problem(5)
    X, passes, given = taken(obs, 0.05)
    descend(*given, -1.0, 1000, False)
    assert float(duality_gap(torch.from_numpy(X), obs, 0.05).max()) < 1e-14
    assert passes.max() < 1000


@pytest.mark.parametrize("tol", [0.03, 1e-4])
@pytest.mark.parametrize("positive", [False, True])
def test_rough_codes_keep_their_tolerance_and_the_steps_of_plain_python(positive, tol):
    pytest.importorskip("numba")
    obs, _ = make_problem(40, n_features=30, n_components=50, seed=4)
    alpha = torch.linspace(0.02, 1.1, 40) * alpha_max(obs, positive=positive)
    limits = tol, 1000, positive
    X = descend_roughly(obs.b, obs.A.D, alpha.numpy(), limits)
    assert X.dtype == torch.float32 and not bool(X[-1].any()) and bool(X[0].any())
    assert float(duality_gap(X.double(), obs, alpha, positive=positive).max()) <= tol + 1e-5
    assert not positive or float(X.min()) >= 0
    D, b = obs.A.D.float().numpy(), obs.b.float().numpy()
    plain, energy = np.zeros_like(X.numpy()), obs.b.square().sum(1).numpy()
    counts = np.zeros(40, np.int64), np.zeros(40), alpha.numpy(), np.zeros(50)
    descend(D @ D.T, D @ D.T, D, b, b @ D.T, energy, plain, *counts, *limits)
    np.testing.assert_allclose(X, plain, atol=1e-3 * np.abs(plain).max())


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("l2", [0.0, 0.02])
@pytest.mark.parametrize("positive", [False, True])
def test_descent_in_float32_is_certified_in_float64(positive, l2, size):
    pytest.importorskip("numba")
    obs, _ = make_problem(60, n_features=30, n_components=50, seed=3)
    obs = Observation(obs.b.float().double() * size, obs.A)
    alpha = torch.linspace(0.02, 0.6, 60) * alpha_max(obs, positive=positive)
    given = {"positive": positive, "l2": l2, "tol": 1e-5}
    found = coordinate_descent(obs, alpha, dtype=torch.float32, **given)
    double = coordinate_descent(obs, alpha, positive=positive, l2=l2, tol=1e-13)
    assert found.x.dtype == torch.float32
    # Rounding the codes, and no more: dual points of single digits would be 1e-6 away.
    own = found.x.double(), obs, alpha
    excess = value_of(*own, l2) - value_of(double.x, obs, alpha, l2)
    excess = excess / (0.5 * obs.b.square().sum(1))
    assert bool((excess <= found.gap + 1e-13).all())
    assert bool((found.gap <= 1e-5).all())
    gap = duality_gap(*own, positive=positive, l2=torch.full((50,), l2).double())
    assert float((found.gap - gap).abs().max()) < 1e-6
    large = double.x.abs() > 1e-3 * double.x.abs().amax(1, keepdim=True)
    assert float(((found.x != 0) & large).sum()) >= 0.99 * float(large.sum())


def value_of(x, obs, alpha, l2):
    return lasso_value(x, obs, alpha) + 0.5 * l2 * x.square().sum(1)


def test_descent_in_float32_takes_no_more_passes_than_it_may():
    pytest.importorskip("numba")
    obs, _ = make_problem(8, n_features=20, n_components=30, seed=3)
    D = obs.A.D.clone()
    D[1] = D[0] + 1e-3 * D[2]  # too much alike for a factor in float32
    obs = Observation((D[0] + D[1] - D[5])[None].expand(8, -1) + obs.b, Dense(D))
    given = obs, 1e-2 * alpha_max(obs)
    found = coordinate_descent(*given, tol=1e-5, max_passes=300, dtype=torch.float32)
    double = coordinate_descent(*given, tol=1e-5, max_passes=300)
    assert int(found.n_iter.max()) == 300
    assert found.converged.sum() >= double.converged.sum() > 0


def test_inner_products_in_float32_only_where_it_has_the_range():
    assert products_of(torch.eye(4), 100, True).single is not None
    assert (
        products_of(torch.diag(torch.tensor([1.0, 0.0, 1e-3, 1.0])), 100, True).single is not None
    )
    assert products_of(torch.diag(torch.tensor([1.0, 1e-7, 1.0, 1.0])), 100, True).single is None
    assert products_of(torch.eye(400), 3, True).single is None  # nothing is stored
    assert products_of(torch.eye(4), 100).single is None


def in_plain_python(obs, tol, most):
    """Run the loop of orthogonal matching pursuit on unit atoms, uncompiled."""
    D = np.concatenate([obs.A.D.numpy(), np.zeros((1, 9))])
    b, eps = obs.b.numpy(), np.finfo(float).eps
    result = np.zeros((4, 14)), np.zeros(4, np.int64), np.zeros(4), np.zeros(4, bool)
    q = np.ascontiguousarray((b @ D.T)[:, :-1])
    limits = np.full(4, tol), np.full(4, most), eps, 64 * eps, *Groups(None, 14).arrays()
    pursue(D @ D.T, D, b, q, *limits, *result)
    return result


@pytest.mark.parametrize("tol, most", [(-1.0, 3), (-1.0, 9), (0.05, 9), (0.0, 9), (0.05, 2)])
def test_pursuit_step_by_step_is_the_batched_one(tol, most, monkeypatch):
    monkeypatch.setattr(GREEDY, "_COMPILED_FROM", 10**12)
    obs = problem(3)
    x, n_nonzero, residual, reached = in_plain_python(obs, tol, most)
    found = orthogonal_matching_pursuit(obs, most, None if tol < 0 else tol)
    np.testing.assert_allclose(found.x.numpy(), x, atol=1e-12, rtol=0)
    assert found.n_nonzero.tolist() == n_nonzero.tolist()
    np.testing.assert_allclose(found.residual.numpy(), residual, atol=1e-13, rtol=0)
    if tol >= 0:
        assert found.converged.tolist() == reached.tolist()
