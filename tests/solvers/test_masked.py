"""Codes on seen entries: scikit-learn's and cvxpy's row by row, by both implementations."""

import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, orthogonal_mp

from sklearn_unroll.functional import (
    Composed,
    Dense,
    Mask,
    Observation,
    alpha_max,
    duality_gap,
    lasso_value,
)
from sklearn_unroll.solvers import cvxpy_lasso, fista, masked_lasso, masked_pursuit
from tests.conftest import make_problem

MODULE = sys.modules["sklearn_unroll.solvers.masked"]


@pytest.fixture(autouse=True, params=["batched", "compiled"])
def implementation(request, monkeypatch):
    """Run every test with torch, and with numba where that is possible."""
    if request.param == "compiled":
        pytest.importorskip("numba")
    for name in ("_LASSO_FROM", "_PURSUIT_FROM"):
        monkeypatch.setattr(MODULE, name, 0 if request.param == "compiled" else 10**12)
    return request.param


def make(n_samples=12, share=0.5, seed=0, noise=0.05, **shape):
    """Return an Observation of which a share is seen, at least one entry of each sample."""
    obs, _ = make_problem(n_samples=n_samples, seed=seed, **{"n_features": 16, **shape})
    rng = np.random.default_rng(seed + 1)
    visible = rng.random(obs.b.shape) < share
    visible[np.arange(n_samples), rng.integers(0, obs.b.shape[1], n_samples)] = True
    b = obs.b + noise * torch.from_numpy(rng.standard_normal(obs.b.shape))
    A = Composed(obs.A, Mask(visible))
    return Observation(A.second(b), A)


def on_its_own(obs, i):
    """Return the problem of a sample on its seen entries alone."""
    seen = obs.A.second.visible[i]
    return Observation(obs.b[i : i + 1, seen], Dense(obs.A.first.D[:, seen]))


def alphas(obs, low=0.02, high=0.7):
    return torch.linspace(low, high, len(obs.b), dtype=torch.float64) * alpha_max(obs)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("share", [0.8, 0.3])
def test_the_lasso_of_every_sample_is_that_on_its_own_entries(share, positive):
    obs = make(share=share)
    alpha = alphas(obs)
    found = masked_lasso(obs, alpha, positive=positive, tol=1e-13)
    assert bool(found.converged.all())
    for i in range(len(obs.b)):
        own, x = on_its_own(obs, i), found.x[i : i + 1]
        D, b = own.A.D.numpy(), own.b[0].numpy()
        lasso = Lasso(
            alpha[i].item() / len(b), positive=positive, fit_intercept=False, tol=1e-14,
            max_iter=100_000,
        )  # fmt: skip
        expected = torch.from_numpy(lasso.fit(D.T, b).coef_)
        torch.testing.assert_close(x[0], expected, atol=1e-6, rtol=0)
        optimum = lasso_value(cvxpy_lasso(own, alpha[i], positive=positive), own, alpha[i])
        torch.testing.assert_close(lasso_value(x, own, alpha[i]), optimum, rtol=1e-8, atol=1e-12)
        gap = duality_gap(x, own, alpha[i], positive=positive)
        torch.testing.assert_close(found.gap[i : i + 1], gap, rtol=0, atol=1e-14)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.1])
def test_the_elastic_net_of_every_sample_is_that_on_its_own_entries(share, positive):
    obs = make(n_samples=40, share=share, n_components=30)  # more nonzeros than seen entries
    alpha = alphas(obs, 1e-3, 0.5)
    found = masked_lasso(obs, alpha, l2=0.2, positive=positive, tol=1e-13)
    assert bool(found.converged.all())
    assert share > 0.5 or bool(((found.x != 0).sum(1) > obs.A.second.visible.sum(1)).any())
    for i in range(0, 40, 5):
        own, x = on_its_own(obs, i), found.x[i : i + 1]
        D, b, weight = own.A.D.numpy(), own.b[0].numpy(), alpha[i].item() + 0.2
        net = ElasticNet(
            weight / len(b), l1_ratio=alpha[i].item() / weight, positive=positive,
            fit_intercept=False, tol=1e-14, max_iter=100_000,
        )  # fmt: skip
        expected = torch.from_numpy(net.fit(D.T, b).coef_)
        torch.testing.assert_close(x[0], expected, atol=1e-6, rtol=0)
        gap = duality_gap(x, own, alpha[i], positive=positive, l2=0.2)
        torch.testing.assert_close(found.gap[i : i + 1], gap, rtol=0, atol=1e-12)


def test_a_start_on_atoms_that_are_not_seen_goes_to_zero():
    obs = make()
    D = obs.A.first.D.clone()
    D[3] = 0
    obs = obs._replace(A=Composed(Dense(D), obs.A.second))
    x0 = torch.zeros(12, len(D), dtype=torch.float64)
    x0[:, 3] = 5.0
    found = masked_lasso(obs, 0.1, x0=x0, tol=1e-12)
    assert bool(found.converged.all()) and not bool(found.x[:, 3].any())
    assert int(found.n_iter.max()) < 100  # by the loop itself, whoever would finish it


def test_what_is_not_seen_does_not_matter():
    obs = make()
    other = torch.where(obs.A.second.visible, obs.b, 1e6)
    found = [masked_lasso(obs._replace(b=b), 0.1, tol=1e-10).x for b in (obs.b, other)]
    assert torch.equal(*found)
    found = [masked_pursuit(obs._replace(b=b), 3).x for b in (obs.b, other)]
    assert torch.equal(*found)


def test_samples_that_share_a_mask_are_solved_as_others_are():
    obs = make(n_samples=90)
    visible = obs.A.second.visible.clone()
    visible[::2] = visible[0]
    visible[1:81:2] = True
    A = Composed(obs.A.first, Mask(visible))
    obs = Observation(A.second(obs.b), A)
    groups, rest = MODULE.by_masks(obs)
    assert [len(rows) for rows, _ in groups] == [45, 40]
    assert len(rest) == 5
    alpha = alphas(obs)
    found, few = masked_lasso(obs, alpha, tol=1e-12), masked_pursuit(obs, 3)
    for rows in (slice(0, 7), slice(80, 90)):  # too few to share
        own = masked_lasso(obs.take(rows), alpha[rows], tol=1e-12)
        torch.testing.assert_close(own.x, found.x[rows], atol=1e-8, rtol=0)
        own = masked_pursuit(obs.take(rows), 3)
        torch.testing.assert_close(own.x, few.x[rows], atol=1e-10, rtol=0)


def test_one_mask_for_all():
    obs = make()
    A = Composed(obs.A.first, Mask(obs.A.second.visible[0]))
    found = masked_lasso(obs._replace(A=A), 0.1, tol=1e-10)
    spread = Composed(obs.A.first, Mask(obs.A.second.visible[:1].expand(12, -1)))
    expected = masked_lasso(obs._replace(A=spread), 0.1, tol=1e-10)
    torch.testing.assert_close(found.x, expected.x, atol=1e-8, rtol=0)


def test_fista_takes_the_same_operator():
    obs = make()
    found = fista(obs, 0.1, tol=1e-11, max_iter=100_000)
    torch.testing.assert_close(found.x, masked_lasso(obs, 0.1, tol=1e-12).x, atol=1e-4, rtol=0)


def test_a_start_at_the_solution_needs_next_to_nothing(implementation):
    obs = make()
    x = masked_lasso(obs, 0.1, tol=1e-14).x
    again = masked_lasso(obs, 0.1, tol=1e-8, x0=x)
    assert int(again.n_iter.max()) <= (0 if implementation == "compiled" else 1)
    torch.testing.assert_close(again.x, x, atol=1e-8, rtol=0)
    x0 = torch.full_like(x, -1.0)  # of which nothing is left
    found = masked_lasso(obs, 0.1, x0=x0, positive=True, tol=1e-12)
    assert bool((found.x >= 0).all())
    torch.testing.assert_close(
        found.x, masked_lasso(obs, 0.1, positive=True, tol=1e-12).x, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("kind", ["repeated", "unseen", "rank", "coherent"])
def test_atoms_that_seen_entries_cannot_tell_apart(kind):
    obs = make(n_samples=20, share=0.4, n_components=30)
    D = obs.A.first.D.clone()
    if kind == "repeated":
        D = D[:15].repeat(2, 1)
    elif kind == "unseen":  # of a sample
        D[:, obs.A.second.visible[3]] = 0
    elif kind == "rank":
        D = D[:, :2] @ torch.eye(2, 16, dtype=D.dtype)
    else:
        D = D + 30 * D[0]
    obs = obs._replace(A=Composed(Dense(D), obs.A.second))
    alpha = 1e-3 * alpha_max(obs).clamp_min(1e-3)
    found = masked_lasso(obs, alpha, tol=1e-8)
    assert bool(found.converged.all())
    codes = masked_pursuit(obs, tol=0.1)
    assert bool(torch.isfinite(codes.x).all())
    torch.testing.assert_close(codes.residual, obs.residual(codes.x).square().sum(1))


def test_too_few_passes_are_told():
    found = masked_lasso(make(), 1e-4, tol=1e-14, max_iter=1)
    assert not bool(found.converged.all())
    assert torch.equal(found.converged, found.gap <= 1e-14)


@pytest.mark.parametrize("limits", [(3, None), (None, 0.05), (4, 0.02)])
def test_pursuit_is_scikit_learns_on_seen_entries(limits):
    n_nonzero, tol = limits
    obs = make(n_samples=30, share=0.7, n_features=20, n_components=40)
    tols = None if tol is None else tol * torch.linspace(0.5, 5, 30, dtype=torch.float64)
    found = masked_pursuit(obs, n_nonzero, tols)
    for i in range(30):
        own = on_its_own(obs, i)
        norms = own.A.D.norm(dim=1)
        atoms, b = (own.A.D / norms[:, None]).T.numpy(), own.b[0].numpy()
        limit = None if tol is None else tols[i].item()
        # Which takes no notice of the number of atoms where there is a tolerance.
        expected = orthogonal_mp(atoms, b, n_nonzero_coefs=n_nonzero if tol is None else None,
                                 tol=limit)  # fmt: skip
        if None not in limits and (expected != 0).sum() > n_nonzero:
            expected = orthogonal_mp(atoms, b, n_nonzero_coefs=n_nonzero)
        expected = torch.from_numpy(expected) / norms
        torch.testing.assert_close(found.x[i], expected, atol=1e-10, rtol=0)
        left = own.residual(found.x[i : i + 1]).square().sum(1)
        torch.testing.assert_close(found.residual[i : i + 1], left, atol=1e-12, rtol=0)
    assert torch.equal(found.n_nonzero, (found.x != 0).sum(1))
    within = found.residual <= (torch.inf if tol is None else tols)
    assert torch.equal(found.converged, within)


@pytest.mark.parametrize("dtype, rounding", [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_pursuit_ends_at_rounding_with_as_many_atoms_as_entries(dtype, rounding):
    obs = make(n_samples=20, share=0.4)
    A = Composed(Dense(obs.A.first.D.to(dtype)), obs.A.second)
    found = masked_pursuit(Observation(obs.b.to(dtype), A), tol=0.0)
    assert found.x.dtype == found.residual.dtype == dtype
    assert bool(found.converged.all())
    assert bool((found.n_nonzero <= obs.A.second.visible.sum(1)).all())
    assert bool((found.residual.sqrt() <= rounding * (1 + found.x.norm(dim=1))).all())


def test_units_do_not_matter():
    obs = make()
    for factor in (2.0**-40, 2.0**40):
        scaled = obs._replace(b=factor * obs.b)
        found = masked_pursuit(scaled, 3, 0.01 * factor**2)
        assert torch.equal(found.x, factor * masked_pursuit(obs, 3, 0.01).x)


def test_refuses():
    obs = make()
    for solve in (masked_lasso, masked_pursuit):
        with pytest.raises(TypeError, match=r"one dictionary with a mask.*got Dense"):
            solve(Observation(obs.b, obs.A.first), 1)
        with pytest.raises(ValueError, match="12 masks do not fit 5 observations"):
            solve(Observation(obs.b[:5], obs.A), 1)
        with pytest.raises(ValueError, match="NaN or infinity"):
            solve(Observation(obs.b + np.inf, obs.A), 1)
    with pytest.raises(ValueError, match="alpha must be positive"):
        masked_lasso(obs, 0.0)
    with pytest.raises(ValueError, match="n_nonzero, tol or both"):
        masked_pursuit(obs)
    with pytest.raises(ValueError, match="must not be negative"):
        masked_pursuit(obs, -1)
