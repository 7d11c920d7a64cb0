"""ADMM under filters: its step of the multiplier, and what it refuses."""

import pytest
import torch

from sklearn_unroll.functional import (
    MaskedFourier,
    Observation,
    dct_filters,
    filter_pictures,
)
from sklearn_unroll.solvers import analysis_admm
from tests.conftest import make_problem

FILTERS = dct_filters(3)


def sampled(zero=True):
    mask = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[0, 0] = zero
    A = MaskedFourier(mask)
    x = torch.rand(2, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Observation(A(x), A)


@pytest.mark.parametrize("rate", [0.5, 1.0, 1.6])
def test_printed_steps_for_every_rate(rate):
    obs, rho, alpha = sampled(), 0.3, 0.02
    eye = torch.eye(30, dtype=torch.float64)
    A = obs.A(eye).T
    C = filter_pictures(eye.reshape(30, 6, 5), FILTERS).reshape(30, -1).T
    z = u = torch.zeros(len(C), 2, dtype=torch.float64)
    for found in analysis_admm(obs, FILTERS, alpha, rho=rho, n_iter=8, rate=rate):
        x = torch.linalg.solve(A.T @ A + rho * C.T @ C, A.T @ obs.b.T + rho * C.T @ (z - u))
        torch.testing.assert_close(found, x.T, atol=1e-11, rtol=0)
        z = torch.nn.functional.softshrink(C @ x + u, alpha / rho)
        u = u + rate * (C @ x - z)


def test_what_it_refuses():
    # Filters of mean zero say nothing about the mean, so the samples have to.
    for size in (3, 5):
        with pytest.raises(ValueError, match="singular"):
            list(analysis_admm(sampled(zero=False), dct_filters(size), 0.1, rho=1.0, n_iter=1))
    with pytest.raises(TypeError, match="MaskedFourier operator, got Dense"):
        list(analysis_admm(make_problem()[0], FILTERS, 0.1, rho=1.0, n_iter=1))
    for options in ({"alpha": 0.0, "rho": 1.0}, {"alpha": 0.1, "rho": -1.0}):
        with pytest.raises(ValueError, match="must be positive"):
            list(analysis_admm(sampled(), FILTERS, n_iter=1, **options))
