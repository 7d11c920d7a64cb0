"""The lasso's path on seen entries: scikit-learn's, scipy's and cvxpy's, row by row."""

import sys

import cvxpy as cp
import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.linear_model import lars_path

from sklearn_unroll.functional import (
    Composed,
    Dense,
    Mask,
    Observation,
    alpha_max,
    duality_gap,
    error_gap,
    l1_radius_gap,
)
from sklearn_unroll.solvers import bounded_lasso, homotopy
from sklearn_unroll.solvers._homotopy_loops import ALPHA, ERROR, RADIUS
from sklearn_unroll.solvers._masked_path_loops import follow_seen
from tests.conftest import make_problem

BOUNDED = sys.modules[bounded_lasso.__module__]
GAPS = {"alpha": duality_gap, "error": error_gap, "l1_radius": l1_radius_gap}


@pytest.fixture
def numba():
    pytest.importorskip("numba")


@pytest.fixture(params=["compiled", "torch"])
def arithmetic(request, monkeypatch):
    if request.param == "compiled":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(BOUNDED, "compiled_available", lambda: False)


def make(n_samples=12, share=0.5, seed=0, **shape):
    """Return noisy signals of which a share is seen, at least one entry of each sample."""
    shape = {"n_features": 16, "n_components": 24, **shape}
    obs, _ = make_problem(n_samples=n_samples, seed=seed, **shape)
    rng = np.random.default_rng(seed + 1)
    visible = rng.random(obs.b.shape) < share
    visible[np.arange(n_samples), rng.integers(0, obs.b.shape[1], n_samples)] = True
    b = obs.b + 0.1 * torch.from_numpy(rng.standard_normal(obs.b.shape))
    A = Composed(obs.A, Mask(visible))
    return Observation(A.second(b), A)


def on_its_own(obs, i):
    """Return the problem of a sample on its seen entries alone."""
    seen = obs.A.second.visible[i]
    return Observation(obs.b[i : i + 1, seen], Dense(obs.A.first.D[:, seen]))


def test_a_path_is_that_of_scikit_learn(numba):
    obs = make()
    alphas = torch.linspace(0.9, 0.01, 6).double()[:, None] * alpha_max(obs)
    found = homotopy(obs, alphas)
    assert bool(found.converged.all()) and found.x.shape == (6, 12, 24)
    torch.testing.assert_close(found.alpha, alphas, rtol=1e-9, atol=0)
    for i in range(12):
        own = on_its_own(obs, i)
        b = own.b[0].numpy()
        knots, _, codes = lars_path(own.A.D.T.numpy(), b, method="lasso")
        for nth, alpha in enumerate(alphas[:, i].numpy() / len(b)):
            expected = [np.interp(alpha, knots[::-1], code[::-1]) for code in codes]
            np.testing.assert_allclose(found.x[nth, i], expected, atol=1e-9)
            gap = duality_gap(found.x[nth, i : i + 1], own, alphas[nth, i])
            assert float(gap) <= float(found.gap[nth, i]) + 1e-14


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("name", ["error", "l1_radius"])
def test_a_bound_is_met_as_cvxpy_meets_it(name, positive, arithmetic):
    obs = make(6, share=0.6)
    D, seen = obs.A.first.D.numpy(), obs.A.second.visible.numpy()
    bound = torch.linspace(0.2, 0.8, 6).double()
    if name == "error":  # of the energy that is seen, none out of reach of nonnegative codes
        least = [nnls(D[:, m].T, b[m])[1] ** 2 for b, m in zip(obs.b.numpy(), seen, strict=True)]
        least, energy = torch.tensor(least).double(), obs.b.square().sum(1)
        bound = least + bound * (energy - least)
    found = bounded_lasso(obs, **{name: bound}, positive=positive, tol=1e-9)
    assert bool(found.converged.all())
    for i in range(6):
        own, x = on_its_own(obs, i), cp.Variable(24, nonneg=positive)
        left = cp.sum_squares(own.A.D.T.numpy() @ x - own.b[0].numpy())
        norm, limit = cp.norm1(x), bound[i].item()
        aim, by = (norm, left) if name == "error" else (left, norm)
        cp.Problem(cp.Minimize(aim), [by <= limit]).solve(solver=cp.CLARABEL)
        np.testing.assert_allclose(found.x[i], x.value, atol=2e-4)
        codes = found.x[i : i + 1]
        assert float(GAPS[name](codes, own, bound[i], positive=positive)) <= 1e-9
        # The alpha found is that of the lasso with these codes.
        assert float(duality_gap(codes, own, found.alpha[i], positive=positive)) <= 1e-9


def test_nonnegative_least_squares_is_scipys(numba):
    obs = make(20, n_components=14)
    found = homotopy(obs, 0.0, positive=True, tol=1e-10)
    assert bool(found.converged.all()) and not bool(found.alpha.any())
    for i in range(20):
        own = on_its_own(obs, i)
        best = nnls(own.A.D.T.numpy(), own.b[0].numpy())[1] ** 2
        left = float(own.residual(found.x[i : i + 1]).square().sum())
        assert bool((found.x[i] >= 0).all()) and left <= best + 1e-10


def test_an_elastic_net_may_use_more_atoms_than_entries(numba):
    obs = make(share=0.3, n_components=40)
    alpha = 1e-3 * alpha_max(obs)
    found = homotopy(obs, alpha, l2=0.2)
    assert bool(found.converged.all())
    assert bool(((found.x != 0).sum(1) > obs.A.second.visible.sum(1)).any())
    for i in range(12):
        gap = duality_gap(found.x[i : i + 1], on_its_own(obs, i), alpha[i], l2=0.2)
        assert float(gap) <= 1e-10


@pytest.mark.parametrize(
    "kind, name, target",
    [(ALPHA, "alpha", 0.05), (ERROR, "error", 0.1), (RADIUS, "l1_radius", 2.0)],
)
def test_steps_in_plain_python_are_the_compiled_ones(numba, kind, name, target):
    obs = make(4)
    D, seen = obs.A.first.D.numpy(), obs.A.second.visible.numpy()
    x, kinks = np.zeros((1, 4, 24)), np.zeros(4, np.int64)
    alpha, gap = np.zeros((1, 4)), np.full((1, 4), np.inf)
    targets, zero = np.full((1, 4), target), np.zeros(24)
    given = D, np.ascontiguousarray(D.T), obs.b.numpy(), seen, targets, kind
    follow_seen(*given, 16, 1000, False, zero, x, alpha, gap, kinks)
    found = homotopy(obs, **{name: target})
    np.testing.assert_allclose(found.x.numpy(), x[0], atol=1e-12)
    np.testing.assert_allclose(found.alpha.numpy(), alpha[0], atol=1e-12)
    assert found.n_iter.tolist() == kinks.tolist() and kinks.max() > 3


def test_same_data_same_bits(numba):
    obs = make(200)
    found, kept = homotopy(obs, error=0.05).x, []
    for size in range(40):
        kept.append(np.empty(10 + 97 * size))  # so that the loops' arrays lie elsewhere
        assert torch.equal(homotopy(obs, error=0.05).x, found)


def test_samples_that_share_a_mask_are_solved_as_others_are(arithmetic):
    obs = make(45)
    visible = obs.A.second.visible.clone()
    visible[:40] = visible[0]
    A = Composed(obs.A.first, Mask(visible))
    obs = Observation(A.second(obs.b), A)
    error = torch.linspace(0.3, 0.7, 45).double() * obs.b.square().sum(1)
    found = bounded_lasso(obs, error=error)
    assert bool(found.converged.all())
    for rows in (slice(0, 6), slice(38, 45)):  # too few to share
        own = bounded_lasso(obs.take(rows), error=error[rows])
        for one, other in zip(own[:3], found[:3], strict=True):
            torch.testing.assert_close(one, other[rows], atol=1e-7, rtol=0)
    single = Composed(obs.A.first, Mask(visible[0]))
    one = bounded_lasso(Observation(obs.b[:12], single), error=error[:12])
    torch.testing.assert_close(one.x, found.x[:12], atol=1e-7, rtol=0)


@pytest.mark.parametrize("shared", [0, 58])
def test_what_the_path_loses_is_searched_for(numba, monkeypatch, shared):
    obs = make(60)
    visible = obs.A.second.visible.clone()
    visible[:shared] = visible[0]
    A = Composed(obs.A.first, Mask(visible))
    obs = Observation(A.second(obs.b), A)
    error = torch.linspace(1.1, 0.1, 60).double() * obs.b.square().sum(1)
    found = bounded_lasso(obs, error=error)
    monkeypatch.setattr(BOUNDED, "_CORNERS", 1)
    searched = bounded_lasso(obs, error=error)
    assert int(searched.n_iter.max()) > 1 and int(searched.n_iter.min()) <= 1
    assert bool(searched.converged.all()) and bool(found.converged.all())
    torch.testing.assert_close(searched.x, found.x, atol=1e-6, rtol=0)
    # An error above the energy that is seen is met by zero codes.
    above = error > obs.b.square().sum(1)
    assert int(above.sum()) == 6 and not bool(found.x[above].any())


def test_an_error_out_of_reach_has_no_flag(arithmetic):
    obs = make(8, share=0.8, n_components=4)
    error = torch.full((8,), 1e-9).double()
    error[0], error[1] = 2 * obs.b[0].square().sum(), 0.9 * obs.b[1].square().sum()
    found = bounded_lasso(obs, error=error, max_iter=30)
    assert found.converged.tolist() == [True, True] + 6 * [False]
    assert bool(found.x.isfinite().all())


def test_what_is_not_seen_does_not_matter(arithmetic):
    obs = make()
    other = torch.where(obs.A.second.visible, obs.b, 1e6)
    found = [bounded_lasso(obs._replace(b=b), l1_radius=0.5).x for b in (obs.b, other)]
    assert torch.equal(*found)


def test_refuses(numba):
    obs = make()
    own = Composed(Dense(obs.A.first.D.expand(12, -1, -1).contiguous()), obs.A.second)
    for solve, match in ((homotopy, "one Dense operator"), (bounded_lasso, "got Composed")):
        with pytest.raises(TypeError, match=match):
            solve(Observation(obs.b, own), error=1.0)
        with pytest.raises(ValueError, match="12 masks do not fit 5 observations"):
            solve(Observation(obs.b[:5], obs.A), error=1.0)
        with pytest.raises(ValueError, match="error must be positive"):
            solve(obs, error=0.0)
