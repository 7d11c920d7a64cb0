"""TISTA against its equations written out in numpy."""

import numpy as np
import pytest
import torch

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import tista
from tests.conftest import make_problem

PRIOR = {"sparsity": 0.2, "variance": 1.5}


def normal(t, variance):
    return np.exp(-0.5 * t**2 / variance) / np.sqrt(2 * np.pi * variance)


def conditional_mean(z, tau2, sparsity, variance):
    """The mean of x given z = x + N(0, tau2), by Bayes' rule."""
    active = sparsity * normal(z, variance + tau2)
    return z * variance / (variance + tau2) * active / (active + (1 - sparsity) * normal(z, tau2))


@pytest.mark.parametrize("noise_variance", [0.0, 0.02, 5.0])
def test_tista_equals_its_equations(noise_variance):
    obs, _ = make_problem(n_samples=5)
    m, n = obs.A.n_features, obs.A.n_components
    network = tista(obs.A, noise_variance=noise_variance, n_layers=4, **PRIOR)
    steps = [0.8, 1.4, 0.6, 1.9]
    with torch.no_grad():
        for layer, step in zip(network.layers, steps, strict=True):
            layer.rule.gamma.fill_(step)
        x = network(obs).numpy()
    A = obs.A.D.T.numpy()
    W = np.linalg.pinv(A)
    trace, trace_W = np.trace(A.T @ A), np.trace(W @ W.T)
    for i, b in enumerate(obs.b.numpy()):
        current = np.zeros(n)
        for gamma in steps:
            r = b - A @ current
            # An observation fainter than its noise leaves no variance but that of rounding.
            v2 = max(r @ r - m * noise_variance, (4 * 2.0**-52) ** 2 * (b @ b)) / trace
            tau2 = max(v2 / n * (n + (gamma**2 - 2 * gamma) * m), 0)
            tau2 += gamma**2 / n * trace_W * noise_variance + 1e-3 * v2  # and never less than that
            current = conditional_mean(current + gamma * W @ r, tau2, **PRIOR)
        np.testing.assert_allclose(x[i], current, atol=1e-10)
    assert np.abs(x).max() > 1e-3
    assert sum(p.numel() for p in network.parameters()) == 4


def test_exact_data_in_single_precision_stay_finite():
    """Without noise the error falls to rounding in some thirty layers, and stays there."""
    data = make_sparse_recovery(40, 60, 120, sparsity=0.05, random_state=0)
    obs = Observation(
        torch.from_numpy(data.X).float(), Dense(torch.tensor(data.dictionary).float())
    )
    network = tista(obs.A, sparsity=0.05, variance=1.0, noise_variance=0.0, n_layers=50)
    with torch.no_grad():
        for layer in network.layers:
            layer.rule.gamma.fill_(2.0)
    x = torch.from_numpy(data.y)
    errors = [(found - x).square().sum() / x.square().sum() for found in network.iterates(obs)]
    assert max(float(error.detach()) for error in errors[40:]) < 1e-12
    errors[-1].backward()
    for parameter in network.parameters():
        assert bool(torch.isfinite(parameter.grad))


def test_a_residual_of_exactly_zero_is_no_division_by_zero():
    D = torch.eye(6)
    x = torch.tensor([[0.0, 2.0, 0.0, 0.0, -1.0, 0.5]])
    network = tista(Dense(D), sparsity=0.5, variance=1.0, noise_variance=0.0)
    found = network(Observation(x, Dense(D)))
    torch.testing.assert_close(found, x)
    found.sum().backward()
    for parameter in network.parameters():
        assert bool(torch.isfinite(parameter.grad))


def test_scaling_data_prior_and_noise_scales_codes():
    obs, _ = make_problem()
    with torch.no_grad():
        x = tista(obs.A, sparsity=0.2, variance=1.5, noise_variance=0.01)(obs)
        scaled = tista(obs.A, sparsity=0.2, variance=9 * 1.5, noise_variance=9 * 0.01)
        torch.testing.assert_close(scaled(Observation(3 * obs.b, obs.A)), 3 * x)
