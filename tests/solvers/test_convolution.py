"""Convolutional sparse coding: the solvers with an operator, beside matrices, cvxpy, sporco."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import (
    Convolution,
    Dense,
    Observation,
    PartialDCT,
    alpha_max,
    analytic_weight,
    convolution_weight,
    duality_gap,
    lasso_value,
)
from sklearn_unroll.nn import CoupledWeights, alista, calibrate_thresholds
from sklearn_unroll.solvers import ADMM, admm, cvxpy_lasso, fista, minimize


def problem(kernels=(3, 2, 4, 3), shape=(9, 8), boundary="circular", n_samples=4):
    generator = torch.Generator().manual_seed(0)
    d = torch.randn(kernels, generator=generator, dtype=torch.float64)
    A = Convolution(d / d.flatten(1).norm(dim=1).reshape(-1, *[1] * (d.ndim - 1)), shape,
                    boundary=boundary)  # fmt: skip
    size = (n_samples, A.n_components)
    chosen = torch.rand(size, generator=generator) < 0.05
    x = torch.randn(size, generator=generator, dtype=torch.float64) * chosen
    return Observation(A(x), A), x


def dense(obs):
    return obs._replace(A=Dense(obs.A(torch.eye(obs.A.n_components, dtype=torch.float64))))


@pytest.mark.parametrize("boundary", ["circular", "full", "same", "valid"])
def test_fista_takes_the_steps_it_takes_with_the_matrix(boundary):
    obs, _ = problem(boundary=boundary)
    step = 1 / float(obs.A.lipschitz())
    found = fista(obs, 0.1, step=step, tol=1e-8)
    expected = fista(dense(obs), 0.1, step=step, tol=1e-8)
    assert found.converged.all() and torch.equal(found.n_iter, expected.n_iter)
    torch.testing.assert_close(found.x, expected.x, atol=1e-9, rtol=0)
    # The certificate is that of the codes, whoever computes it.
    torch.testing.assert_close(duality_gap(found.x, dense(obs), 0.1), found.gap)


@pytest.mark.parametrize("boundary", ["circular", "valid"])
@pytest.mark.parametrize("rho", [None, 0.5])
def test_admm_divides_where_it_would_factor(boundary, rho):
    obs, _ = problem(kernels=(3, 4), shape=12, boundary=boundary)
    found = admm(obs, 0.1, rho=rho, tol=1e-9)
    assert found.converged.all()
    expected = fista(dense(obs), 0.1, tol=1e-9)
    torch.testing.assert_close(
        lasso_value(found.x, obs, 0.1), lasso_value(expected.x, obs, 0.1), rtol=1e-7, atol=0
    )


def test_rho_follows_each_samples_residuals_and_its_dual_stays():
    obs, _ = problem(kernels=(3, 5), shape=40, n_samples=3)
    alpha = torch.tensor([0.5, 0.02, 0.002]).double()
    method = ADMM(obs, alpha)
    state, rhos, duals = method.init(obs), [], []
    for _ in range(2102):
        dual = state.rho * state.u
        state = method.step(state, obs)
        rhos.append(state.rho[:, 0])
        duals.append((state.rho * state.u - dual).abs().max())
    rhos = torch.stack(rhos) / method.rho
    changes = (rhos.diff(dim=0) != 0).any(1).nonzero()[:, 0] + 1
    # Step k is counted from 0: a change comes in step 20, 40, ..., 100, 200, ..., 2000.
    assert set(changes.tolist()) <= {*range(20, 101, 20), *range(200, 2001, 100)}
    assert len(changes) > 2 and bool((rhos[0] == 1).all())
    assert bool((rhos[:101] >= 0.5).all() and (rhos >= 0.05).all() and (rhos <= 2).all())
    ratios = rhos[1:] / rhos[:-1]
    assert bool(((ratios > 1 / 4.001) & (ratios < 4.001)).all())
    assert rhos[150, 0] > rhos[150, 2]  # the smaller alpha, the smaller
    # A new rho is a new unit of the dual, which goes on where it was.
    assert max(duals[int(k)] for k in changes) < 10 * max(duals[1:20])
    for row in range(3):
        alone = minimize(ADMM(obs.take([row]), float(alpha[row])), obs.take([row]), tol=1e-5,
                         max_iter=3000)  # fmt: skip
        every = minimize(method, obs, tol=1e-5, max_iter=3000)
        assert int(alone.n_iter) == int(every.n_iter[row])
        torch.testing.assert_close(alone.x[0], every.x[row], atol=1e-12, rtol=0)


def test_a_rho_that_adapts_saves_a_third_of_the_iterations():
    obs, _ = problem(kernels=(4, 3, 3), shape=(14, 15), n_samples=3)
    noise = torch.randn(obs.b.shape, generator=torch.Generator().manual_seed(1)).double()
    obs = obs._replace(b=obs.b + 0.05 * noise)
    alpha = 0.01 * alpha_max(obs)
    adapts, fixed = (
        minimize(ADMM(obs, alpha, rho=rho), obs, tol=1e-5, max_iter=5000) for rho in (None, 1.0)
    )
    assert adapts.converged.all() and fixed.converged.all()
    assert 3 * int(adapts.n_iter.sum()) < 2 * int(fixed.n_iter.sum())


def test_admm_takes_any_operator_and_each_sample_by_itself():
    A = PartialDCT(16, rows=range(0, 16, 2))
    obs = Observation(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)).double(), A)
    found = admm(obs, 0.1, tol=1e-10)
    torch.testing.assert_close(found.x, fista(obs, 0.1, tol=1e-12).x, atol=1e-5, rtol=0)
    one = admm(obs.take(slice(2, 3)), 0.1, tol=1e-10)
    torch.testing.assert_close(one.x, found.x[2:3], atol=1e-12, rtol=0)


def test_cvxpy_finds_the_same_objective():
    obs, _ = problem(kernels=(2, 3), shape=8, n_samples=2)
    exact = lasso_value(cvxpy_lasso(dense(obs), 0.1), obs, 0.1)
    for solver in (fista, admm):
        value = lasso_value(solver(obs, 0.1, tol=1e-10).x, obs, 0.1)
        torch.testing.assert_close(value, exact, rtol=1e-6, atol=0)


def test_sporco_finds_the_same_objective():
    cbpdn = pytest.importorskip("sporco.admm.cbpdn")
    obs, _ = problem(kernels=(4, 3, 3), shape=(16, 12), n_samples=1)
    A, alpha = obs.A, 0.05
    given = {"MaxMainIter": 500, "RelStopTol": 1e-5, "rho": 1.0, "AutoRho": {"Enabled": False}}
    theirs = cbpdn.ConvBPDN(
        A.kernels[:, 0].permute(1, 2, 0).numpy(), obs.b.reshape(A.shape).numpy(), alpha,
        cbpdn.ConvBPDN.Options(given), dimK=0,
    )  # fmt: skip
    theirs.solve()
    x = torch.from_numpy(np.array(theirs.var_y().squeeze())).permute(2, 0, 1).reshape(1, -1)
    value, best = (lasso_value(z, obs, alpha) for z in (x, fista(obs, alpha, tol=1e-9).x))
    assert float(best) * (1 - 1e-9) <= float(value) <= float(best) * (1 + 1e-7)


@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_alista_of_a_convolution_is_that_of_its_matrix(gamma):
    obs, y = problem(kernels=(2, 3, 4), shape=15, n_samples=7)
    whole = dense(obs)
    ours = alista(obs.A, convolution_weight(obs.A), n_layers=4, gamma=gamma)
    theirs = alista(whole.A, analytic_weight(whole.A.D), n_layers=4, gamma=gamma)
    for network, seen in ((ours, obs), (theirs, whole)):
        calibrate_thresholds(network, seen, y)
    torch.testing.assert_close(ours(obs), theirs(whole), atol=1e-11, rtol=0)
    ours(obs).square().sum().backward()
    assert all(p.grad is not None for p in ours.parameters())


def test_a_weight_that_is_an_operator_cannot_be_learned():
    obs, _ = problem()
    with pytest.raises(ValueError, match="W is a Convolution, but only a matrix can be learned"):
        CoupledWeights(obs.A)
