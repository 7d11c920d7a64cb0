"""The lasso's path: against scikit-learn, scipy and cvxpy, and where atoms are alike."""

import sys

import cvxpy as cp
import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.linear_model import ElasticNet, lars_path

from sklearn_unroll.functional import (
    Dense,
    Observation,
    alpha_max,
    duality_gap,
    error_gap,
    l1_radius_gap,
)
from sklearn_unroll.solvers import bounded_lasso, certified_lasso, coordinate_descent, homotopy
from sklearn_unroll.solvers._homotopy_loops import ALPHA, ERROR, RADIUS, follow
from tests.conftest import make_problem

pytest.importorskip("numba")
BOUNDED = sys.modules[bounded_lasso.__module__]


def noisy(seed, n_samples=6, n_features=12, n_components=20):
    """Return signals that no few atoms explain."""
    obs, _ = make_problem(n_samples, n_features=n_features, n_components=n_components, seed=seed)
    noise = torch.randn(obs.b.shape, generator=torch.Generator().manual_seed(seed))
    return Observation(obs.b + 0.2 * noise.double(), obs.A)


def decays(n_samples=40, seed=0):
    """Return sums of decaying exponentials, whose atoms are alike to five digits."""
    rng = np.random.default_rng(seed)
    D = np.exp(-np.linspace(0, 1, 40) * np.geomspace(0.5, 60, 64)[:, None])
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    codes = rng.random((n_samples, 64)) * (rng.random((n_samples, 64)) < 0.05)
    b = codes @ D + 0.01 * rng.standard_normal((n_samples, 40))
    return Observation(torch.from_numpy(b), Dense(torch.from_numpy(D)))


def test_a_path_is_that_of_scikit_learn():
    obs = noisy(0)
    D, fractions = obs.A.D.numpy(), torch.linspace(0.9, 0.01, 15).double()
    alphas = fractions[:, None] * alpha_max(obs)
    found = homotopy(obs, alphas)
    assert bool(found.converged.all()) and found.x.shape == (15, 6, 20)
    for sample, b in enumerate(obs.b.numpy()):
        knots, _, codes = lars_path(D.T, b, method="lasso")
        for nth, alpha in enumerate(alphas[:, sample].numpy() / 12):
            expected = [np.interp(alpha, knots[::-1], code[::-1]) for code in codes]
            np.testing.assert_allclose(found.x[nth, sample], expected, atol=1e-10)


def generic(seed, n_samples, n_components, n_features):
    rng = np.random.default_rng(seed)
    b, D = (rng.standard_normal((n, n_features)) for n in (n_samples, n_components))
    return Observation(torch.from_numpy(b), Dense(torch.from_numpy(D)))


@pytest.mark.parametrize("positive", [False, True])
def test_no_path_is_lost_where_atoms_come_back_with_the_other_sign(positive):
    obs = generic(0, 200, 15, 10)
    fractions = torch.tensor([0.5, 0.1, 0.01, 1e-3, 1e-5], dtype=torch.float64)
    found = homotopy(
        obs, fractions[:, None] * alpha_max(obs, positive=positive), positive=positive
    )
    assert bool(found.converged.all())


def test_rounding_breaks_no_bound():
    obs = generic(1, 1, 20, 20)
    exact = homotopy(obs._replace(b=3 * obs.A.D), 0.0, positive=True)
    assert float(exact.x.min()) == 0.0
    obs = generic(9, 200, 6, 10)
    radius = 0.9 * homotopy(obs, 1e-7 * alpha_max(obs)).x.abs().sum(1)
    found = homotopy(obs, l1_radius=radius)
    assert bool((found.x.abs().sum(1) <= radius * (1 + 1e-15)).all())


def test_a_radius_that_holds_nothing_back_is_met():
    obs = generic(2, 5, 30, 10)
    found = bounded_lasso(obs, l1_radius=1e10)
    assert bool(found.converged.all())
    assert float(obs.residual(found.x).abs().max()) < 1e-10


def test_where_a_path_is_lost_the_search_comes_to_an_end():
    rng = np.random.default_rng(0)
    D = rng.standard_normal(20) + 1e-6 * rng.standard_normal((15, 20))
    b = torch.from_numpy(rng.standard_normal((1, 20)))
    error = 0.6 * float(b.square().sum())
    obs = Observation(b, Dense(torch.from_numpy(D)))
    found = bounded_lasso(obs, error=error, max_iter=8)
    assert int(found.n_iter.max()) < 8 * 600


def test_steps_in_plain_python_are_the_compiled_ones():
    obs = noisy(1)
    D, b = obs.A.D.numpy(), obs.b.numpy()
    aims = (ALPHA, "alpha", 0.05), (ERROR, "error", 0.3), (RADIUS, "l1_radius", 0.7)
    for kind, name, target in aims:
        for gram in (D @ D.T, np.empty((0, 0))):
            x, kinks = np.zeros((1, 6, 20)), np.zeros(6, np.int64)
            alpha, gap = np.zeros((1, 6)), np.full((1, 6), np.inf)
            out = x, alpha, gap, kinks
            targets, zero = np.full((1, 6), target), np.zeros(20)
            follow(gram, D, b, b @ D.T, (b**2).sum(1), targets, kind, 12, 1000, False, zero, *out)
            found = homotopy(obs, **{name: target})
            np.testing.assert_allclose(found.x.numpy(), x[0], atol=1e-12)
            np.testing.assert_allclose(found.alpha.numpy(), alpha[0], atol=1e-12)
            assert found.n_iter.tolist() == kinks.tolist()
            assert bool(found.converged.all()) and kinks.max() > 3


@pytest.mark.parametrize("fraction", [0.3, 0.01, 1e-4])
@pytest.mark.parametrize("positive", [False, True])
def test_atoms_that_are_alike_take_few_corners(fraction, positive):
    obs = decays()
    alpha = (fraction * alpha_max(obs, positive=positive)).clamp_min(1e-3 * fraction)
    found = homotopy(obs, alpha, positive=positive, tol=1e-10)
    assert bool(found.converged.all())
    assert float(duality_gap(found.x, obs, alpha, positive=positive).max()) <= 1e-10
    assert int(found.n_iter.max()) < 400
    few = coordinate_descent(obs, alpha, positive=positive, max_passes=400, tol=1e-10)
    assert not bool(few.converged.all())


def test_nonnegative_least_squares_are_those_of_scipy():
    for obs in (decays(), noisy(2)):
        D = obs.A.D.numpy()
        found = homotopy(obs, 0.0, positive=True)
        for b, x in zip(obs.b.numpy(), found.x.numpy(), strict=True):
            value = 0.5 * np.sum((b - x @ D) ** 2)
            assert value <= 0.5 * nnls(D.T, b)[1] ** 2 * (1 + 1e-10) + 1e-15
        assert float(found.x.min()) >= 0 and not found.alpha.any()
        assert bool(found.converged.all())


def test_the_gap_of_nonnegative_least_squares_is_a_bound():
    obs = noisy(3)
    best = homotopy(obs, 0.0, positive=True).x
    least = 0.5 * obs.residual(best).square().sum(1) / (0.5 * obs.b.square().sum(1))
    for shrink in (0.0, 0.5, 0.99):
        x = shrink * best
        gap = duality_gap(x, obs, 0.0, positive=True)
        excess = 0.5 * obs.residual(x).square().sum(1) / (0.5 * obs.b.square().sum(1)) - least
        assert bool((gap >= excess - 1e-14).all())
        assert float(gap.max()) > 1e-3 * (1 - shrink)


@pytest.mark.parametrize("positive", [False, True])
def test_the_elastic_net_is_that_of_scikit_learn(positive):
    obs = noisy(4)
    alpha, l2 = 0.05, 0.3
    D = obs.A.D.numpy()
    for solve in (homotopy, coordinate_descent):
        found = solve(obs, alpha, l2=l2, positive=positive, tol=1e-10)
        assert bool(found.converged.all())
        for b, x in zip(obs.b.numpy(), found.x.numpy(), strict=True):
            net = ElasticNet(
                (alpha + l2) / 12, l1_ratio=alpha / (alpha + l2), fit_intercept=False,
                positive=positive, tol=1e-12, max_iter=100_000,
            ).fit(D.T, b)  # fmt: skip
            np.testing.assert_allclose(x, net.coef_, atol=1e-6)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("name", ["error", "l1_radius"])
def test_bounds_are_met_as_by_cvxpy(name, positive):
    obs = noisy(5, n_samples=3)
    if name == "error":
        least = obs.residual(homotopy(obs, 0.0, positive=True).x).square().sum(1)
        bound = 0.5 * least + 0.5 * obs.b.square().sum(1)
    else:
        bound = torch.tensor([0.3, 0.6, 1.0]).double()
    found = homotopy(obs, positive=positive, **{name: bound})
    assert bool(found.converged.all())
    alone = certified_lasso(obs, found.alpha, positive=positive, tol=1e-13)
    torch.testing.assert_close(found.x, alone.x, atol=1e-7, rtol=0)
    for b, x, value in zip(obs.b.numpy(), found.x.numpy(), bound.tolist(), strict=True):
        z = cp.Variable(20, nonneg=positive)
        error, norm = cp.sum_squares(b - z @ obs.A.D.numpy()), cp.norm1(z)
        goal, limit = (norm, error) if name == "error" else (error, norm)
        best = cp.Problem(cp.Minimize(goal), [limit <= value]).solve(solver="CLARABEL")
        residual, length = np.sum((b - x @ obs.A.D.numpy()) ** 2), np.abs(x).sum()
        got, bounded = (length, residual) if name == "error" else (residual, length)
        assert got == pytest.approx(best, rel=1e-6)
        assert bounded <= value * (1 + 1e-12)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("aim", [{"error": 0.3}, {"l1_radius": 0.7}])
def test_without_a_compiler_a_search_finds_the_same(aim, per_sample, monkeypatch):
    obs = noisy(6)
    found = homotopy(obs, **aim)
    monkeypatch.setattr(BOUNDED, "compiled_available", lambda: False)
    if per_sample:
        obs = Observation(obs.b, Dense(obs.A.D.expand(6, -1, -1).contiguous()))
    searched = bounded_lasso(obs, **aim, tol=1e-10)
    assert bool(searched.converged.all())
    torch.testing.assert_close(searched.x, found.x, atol=1e-9, rtol=0)
    torch.testing.assert_close(searched.alpha, found.alpha, atol=1e-9, rtol=0)


@pytest.mark.parametrize("compiled", [True, False])
def test_an_error_out_of_reach_has_no_flag(compiled, monkeypatch):
    monkeypatch.setattr(BOUNDED, "compiled_available", lambda: compiled)
    obs = noisy(7, n_features=30, n_components=10)
    energy = obs.b.square().sum(1)
    error = torch.full_like(energy, 1e-6)
    error[0], error[1] = 2 * energy[0], 0.9 * energy[1]
    found = bounded_lasso(obs, error=error, max_iter=40)
    assert found.converged.tolist() == [True, True, False, False, False, False]
    assert not found.x[0].any() and bool(found.x.isfinite().all())
    # What is left is what least squares leave.
    least = torch.linalg.lstsq(obs.A.D.T, obs.b.T).solution.T
    left, best = (obs.residual(x).square().sum(1)[2:] for x in (found.x, least))
    torch.testing.assert_close(left, best, rtol=1e-6, atol=0)


def test_repeated_atoms_are_certified_or_told():
    obs = noisy(8)
    D = obs.A.D.clone()
    D[7], D[9], D[11] = D[2], -D[2], 0.5 * (D[3] + D[4])
    obs = Observation(obs.b, Dense(D))
    found = homotopy(obs, 0.02, tol=1e-9)
    gap = duality_gap(found.x, obs, 0.02)
    assert bool((found.converged == (gap <= 1e-9)).all())
    assert bool(found.converged.any())


def test_one_signal_looks_nothing_up():
    obs = noisy(9)
    whole = homotopy(obs, 0.05)
    for solve in (homotopy, coordinate_descent):
        parts = [solve(obs.take(slice(i, i + 1)), 0.05, tol=1e-11).x for i in range(6)]
        torch.testing.assert_close(torch.cat(parts), whole.x, atol=1e-9, rtol=0)


def test_error_gap_is_a_bound():
    obs = noisy(10)
    best = homotopy(obs, error=0.3).x.abs().sum(1)
    for error in (0.25, 0.3 * (1 - 1e-6)):
        x = homotopy(obs, error=error).x
        gap = error_gap(x, obs, 0.3)
        assert bool((gap >= 1 - best / x.abs().sum(1) - 1e-12).all())
    assert bool(torch.isinf(error_gap(0.9 * x, obs, 0.3)).all())
    # Squares of squares would leave the range of float32.
    units = (1.0, 2.0**-40)
    small, large = (
        error_gap((s * x).float(), Observation((s * obs.b).float(), Dense(obs.A.D.float())), s * s)
        for s in units
    )
    assert float(small.min()) > 0 and small.equal(large)


@pytest.mark.parametrize(
    "aim, message",
    [
        ({}, "exactly one of alpha, error and l1_radius, got none"),
        ({"alpha": 0.1, "error": 1.0}, "alpha and error"),
        ({"alpha": 0.0}, "Zero is for positive=True"),
        ({"error": -1.0}, "error must be positive"),
        ({"alpha": torch.ones(5)}, "one for each of 6"),
        ({"alpha": torch.tensor([[0.1], [0.2]])}, "alpha must fall"),
        ({"l1_radius": torch.tensor([[0.2], [0.1]])}, "l1_radius must rise"),
        ({"error": 1.0, "l2": 0.1}, "l2 goes with alpha only"),
    ],
)
def test_wrong_aims_are_told(aim, message):
    with pytest.raises(ValueError, match=message):
        homotopy(noisy(0), **aim)


def test_wrong_operators_and_no_numba_are_told(monkeypatch):
    obs = noisy(0)
    with pytest.raises(TypeError, match="one Dense operator"):
        homotopy(Observation(obs.b, Dense(obs.A.D.expand(6, -1, -1))), 0.1)
    with pytest.raises(ValueError, match="either error or l1_radius"):
        bounded_lasso(obs)
    monkeypatch.setattr(sys.modules[homotopy.__module__], "compiled_available", lambda: False)
    with pytest.raises(ImportError, match="sklearn-unroll.fast"):
        homotopy(obs, 0.1)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("name, certify", [("error", error_gap), ("l1_radius", l1_radius_gap)])
def test_gaps_to_a_bound_are_no_less_than_those_written_out(name, certify, positive):
    obs = noisy(4, n_samples=30)
    bound = torch.linspace(0.1, 0.9, 30, dtype=torch.float64)
    if name == "error":
        bound = bound * obs.b.square().sum(1)
    found = homotopy(obs, positive=positive, tol=1e-11, **{name: bound})
    gap = certify(found.x, obs, bound, positive=positive)
    close = found.gap < 1e-9
    assert int(close.sum()) >= 20
    assert bool((gap <= found.gap)[close].all())
    assert float((found.gap - gap)[close].max()) <= 1e-11
