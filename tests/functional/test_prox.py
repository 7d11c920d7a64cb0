import pytest
import torch

from sklearn_unroll.functional import soft


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
