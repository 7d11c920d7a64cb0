import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from sklearn_unroll.functional import bernoulli_gauss_mean, soft


@pytest.fixture
def z():
    return 3 * torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("theta", [0.7, torch.tensor(0.7, dtype=torch.float64)])
def test_soft_is_the_prox_of_the_l1_norm(z, theta):
    # Against brute force: the argmin of 0.5 (u - z)^2 + theta |u| on a fine grid.
    grid = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    values = 0.5 * (grid - z[..., None]).square() + theta * grid.abs()
    torch.testing.assert_close(soft(z, theta), grid[values.argmin(-1)], atol=6e-4, rtol=0)


def test_soft_is_odd_and_zero_inside(z):
    torch.testing.assert_close(soft(-z, 1.0), -soft(z, 1.0))
    assert torch.equal(soft(z, 1.0) == 0, z.abs() <= 1)
    assert torch.equal(soft(z, 0.0), z)


def test_soft_is_monotone_and_nonexpansive(z):
    ordered = z.flatten().sort().values
    shrunk = soft(ordered, 0.5)
    assert bool((shrunk.diff() >= 0).all())
    assert bool((shrunk.diff() <= ordered.diff() + 1e-15).all())


def test_every_path_of_soft_agrees(z):
    theta = torch.tensor(0.4, dtype=torch.float64)
    with torch.enable_grad():
        graded = soft(z, theta)
    with torch.no_grad():
        torch.testing.assert_close(soft(z, theta), graded, rtol=0, atol=1e-15)
    torch.testing.assert_close(soft(z, 0.4), graded, rtol=0, atol=1e-15)
    per_sample = torch.full((50, 1), 0.4, dtype=torch.float64)
    torch.testing.assert_close(soft(z, per_sample), graded, rtol=0, atol=1e-15)


def test_soft_gradcheck_away_from_the_kinks(z):
    theta = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    away = z[(z.abs() - 0.9).abs().min(-1).values > 0.05].requires_grad_()
    assert len(away) > 10
    assert torch.autograd.gradcheck(soft, (away, theta))


@pytest.mark.parametrize("tau2", [0.01, 0.5, 4.0])
@pytest.mark.parametrize("sparsity, variance", [(0.1, 1.0), (0.7, 0.3), (1e-3, 20.0)])
def test_bernoulli_gauss_mean_is_the_conditional_mean(tau2, sparsity, variance):
    def integral(z, power):
        def density(x):
            return x**power * norm.pdf(x, scale=variance**0.5) * norm.pdf(z - x, scale=tau2**0.5)

        peak, width = z * variance / (variance + tau2), (1 / (1 / variance + 1 / tau2)) ** 0.5
        return sparsity * quad(density, peak - 12 * width, peak + 12 * width)[0]

    points = [-3.0, -0.4, 0.05, 0.7, 2.0]
    expected = [
        integral(z, 1) / (integral(z, 0) + (1 - sparsity) * norm.pdf(z, scale=tau2**0.5))
        for z in points
    ]
    z = torch.tensor([points], dtype=torch.float64)
    found = bernoulli_gauss_mean(z, tau2, sparsity, variance)
    # Odds below eps^2 count as eps^2.
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-7, atol=1e-30)
    per_sample = torch.tensor([[tau2], [2 * tau2]], dtype=torch.float64)
    stacked = bernoulli_gauss_mean(z.expand(2, -1), per_sample, sparsity, variance)
    torch.testing.assert_close(stacked[:1], found)
    assert not torch.equal(stacked[1:], found)


def test_bernoulli_gauss_mean_is_odd_monotone_and_shrinks():
    z = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    shrunk = bernoulli_gauss_mean(z, 0.04, 0.1, 1.0)
    torch.testing.assert_close(shrunk, -shrunk.flip(0))
    assert bool((shrunk.diff() > 0).all())
    assert bool((shrunk.abs() <= z.abs()).all())
    # Small entries are noise, large ones are not.
    assert float(shrunk[(z - 0.2).abs().argmin()]) < 0.02
    assert float(shrunk[-1]) == pytest.approx(6 / 1.04)


def test_bernoulli_gauss_mean_of_a_wide_dense_prior_is_the_identity(z):
    found = bernoulli_gauss_mean(z, 0.5, sparsity=1 - 1e-12, variance=1e10)
    torch.testing.assert_close(found, z, rtol=1e-4, atol=1e-4)
    # Dense but not wide: the Wiener filter.
    torch.testing.assert_close(
        bernoulli_gauss_mean(z, 0.5, sparsity=1 - 1e-12, variance=1.5), 0.75 * z, rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("tau2", [1e-14, 1e-6, 1e6, 1e14])
@pytest.mark.parametrize("sparsity", [1e-6, 0.1, 1 - 1e-6])
def test_bernoulli_gauss_mean_survives_single_precision(tau2, sparsity):
    """Odds of either sign and any size: nothing overflows, and little is lost."""
    z = torch.tensor([[0.0, 1e-20, 1e-8, 1e-6, 1e-3, 1.0, 300.0]])
    z = torch.cat([z, -z]).requires_grad_()
    found = bernoulli_gauss_mean(z, tau2, sparsity, 1.0)
    reference = bernoulli_gauss_mean(z.detach().double(), tau2, sparsity, 1.0)
    torch.testing.assert_close(found.detach().double(), reference, rtol=1e-4, atol=1e-12)
    found.sum().backward()
    assert bool(torch.isfinite(z.grad).all())


def test_bernoulli_gauss_mean_gradcheck(z):
    z = z[:8].requires_grad_()
    tau2 = torch.linspace(0.2, 3, 8, dtype=torch.float64)[:, None].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z, tau2: bernoulli_gauss_mean(z, tau2, 0.1, 2.0), (z, tau2)
    )
