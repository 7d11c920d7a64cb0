"""Approximate message passing: what its fixed points solve, and where it works."""

import numpy as np
import pytest
import torch

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, MaskedFourier, Observation
from sklearn_unroll.solvers import AMP, amp, fista, iterates
from tests.conftest import make_problem


def gaussian(noise_std=0.0, *, sparsity=0.1, size=(20, 125, 250)):
    data = make_sparse_recovery(*size, sparsity=sparsity, random_state=0)
    A = Dense(torch.from_numpy(data.dictionary))
    noise = np.random.default_rng(1).standard_normal(data.X.shape)
    return Observation(torch.from_numpy(data.X + noise_std * noise), A), torch.from_numpy(data.y)


def test_it_is_written_out_in_numpy():
    obs, _ = gaussian()
    A = obs.A.D.T.numpy()
    found = list(iterates(AMP(obs, 1.3), obs, 5))
    for i, b in enumerate(obs.b.numpy()):
        x, v = np.zeros(250), b
        for k in range(5):
            np.testing.assert_allclose(found[k][i].numpy(), x, atol=1e-12)
            z = x + A.T @ v
            x = np.sign(z) * np.maximum(np.abs(z) - 1.3 * np.linalg.norm(v) / 125**0.5, 0)
            v = b - A @ x + np.count_nonzero(x) / 125 * v


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_fixed_point_solves_the_lasso_it_says(scale):
    obs, _ = gaussian(0.05)
    obs = Observation(obs.b, Dense(scale * obs.A.D))
    found = amp(obs, lam=1.6, tol=1e-12)
    assert bool(found.converged.all())
    alpha = 1.6 * scale * obs.A.residual(obs.b, found.x).norm(dim=1) / 125**0.5
    known = fista(obs, alpha, tol=1e-13).x
    torch.testing.assert_close(found.x, known, atol=1e-5 / scale, rtol=0)


def test_on_random_matrices_it_recovers_sparse_codes_in_few_iterations():
    obs, y = gaussian(sparsity=0.05)
    *_, x = iterates(AMP(obs), obs, 30)
    errors = ((x - y).square().sum(1) / y.square().sum(1)).log10() * 10
    assert float(errors.median()) < -90
    assert float(errors.max()) < -40


def test_the_onsager_term_keeps_the_noise_level_honest():
    """Without it ``||v|| / sqrt(m)`` is far below the error of the point; with it they agree."""
    obs, y = gaussian(size=(20, 500, 1000))
    method = AMP(obs)
    state = method.init(obs)
    for _ in range(6):
        state = method.step(state, obs)
    error = (state.x + obs.A.adjoint(state.v) - y).std(1)
    level = state.v.norm(dim=1) / 500**0.5
    torch.testing.assert_close(level, error, rtol=0.15, atol=0)
    r = obs.A.residual(obs.b, state.x)
    assert bool((r.norm(dim=1) / 500**0.5 < 0.8 * error).all())


def test_codes_scale_with_the_data_and_zero_data_have_zero_codes():
    obs, _ = gaussian(0.05)
    b = obs.b.clone()
    b[3] = 0
    *_, x = iterates(AMP(obs), Observation(b, obs.A), 10)
    *_, scaled = iterates(AMP(obs), Observation(1e4 * b, obs.A), 10)
    torch.testing.assert_close(scaled, 1e4 * x, rtol=1e-10, atol=0)
    assert not x[3].any()
    solution = amp(Observation(b, obs.A))
    assert bool(torch.isfinite(solution.gap).all()) and float(solution.gap[3]) == 0
    assert not solution.x[3].any()


def test_every_sample_may_have_its_own_operator():
    obs, _ = make_problem(9, 40, 60, per_sample=True)
    together = amp(obs, lam=1.5, tol=1e-4)
    for i in range(9):
        alone = amp(Observation(obs.b[i : i + 1], Dense(obs.A.D[i])), lam=1.5, tol=1e-4)
        torch.testing.assert_close(together.x[i], alone.x[0], atol=1e-12, rtol=0)


def test_on_other_matrices_it_may_diverge_and_says_so():
    obs, y = gaussian(size=(5, 125, 250))
    D = obs.A.D + 0.1  # not of mean zero
    A = Dense(D / D.norm(dim=1, keepdim=True))
    data = Observation(A(y), A)
    with pytest.raises(FloatingPointError, match="AMP diverged: .* i.i.d. .* or fista"):
        amp(data)
    assert bool(fista(data, 0.1, tol=1e-2).converged.all())


def test_bad_input():
    obs, _ = gaussian()
    with pytest.raises(ValueError, match="lam must be nonnegative, got -1"):
        amp(obs, lam=-1.0)
    A = MaskedFourier(np.ones((4, 4)))
    with pytest.raises(TypeError, match="AMP needs a Dense operator, got MaskedFourier"):
        amp(Observation(A(torch.zeros(2, 16, dtype=torch.float64)), A))
