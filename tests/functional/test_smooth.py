"""The smooth threshold against numpy's own logarithms, and its constants against fine grids."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import smooth_soft, smooth_soft_constants, soft


@pytest.fixture
def z():
    return torch.linspace(-12, 12, 24_001, dtype=torch.float64)


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("theta", [0.0, 0.4, 1.0, 3.0])
def test_against_the_published_formula(z, theta, sharpness):
    x = sharpness * z.numpy()
    t = sharpness * theta
    expected = (np.log(1 + np.exp(x - t)) - np.log(1 + np.exp(-x - t))) / sharpness
    found = smooth_soft(z, theta, sharpness)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    broadcast = torch.tensor([[theta], [2 * theta]], dtype=torch.float64)
    torch.testing.assert_close(smooth_soft(z.expand(2, -1), broadcast, sharpness)[0], found)


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 50.0])
def test_odd_strictly_increasing_nonexpansive_and_zero_only_at_zero(z, sharpness):
    shrunk = smooth_soft(z, 0.7, sharpness)
    torch.testing.assert_close(shrunk, -shrunk.flip(0), rtol=0, atol=1e-14)
    near = smooth_soft(z[z.abs() < 1.5], 0.7, sharpness).diff()
    assert bool((near > 0).all())
    assert bool((shrunk.diff() <= z.diff() * (1 + 1e-9)).all())
    assert float(smooth_soft(torch.zeros(()), 0.7, sharpness)) == 0
    assert bool((smooth_soft(torch.tensor([1e-3, 0.2]), 0.7, sharpness) > 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sharpness", [1.0, 1e3])
def test_stable_far_out(dtype, sharpness):
    z = torch.tensor([-1e30, -1e4, 1e4, 1e30], dtype=dtype, requires_grad=True)
    shrunk = smooth_soft(z, 1.0, sharpness)
    expected = torch.tensor([-1e30, -9999.0, 9999.0, 1e30], dtype=dtype)
    torch.testing.assert_close(shrunk.detach(), expected)
    (slope,) = torch.autograd.grad(shrunk.sum(), z, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), z)
    torch.testing.assert_close(slope.detach(), torch.ones(4, dtype=dtype))
    assert not curvature.any()


@pytest.mark.parametrize("theta", [0.2, 1.0])
def test_it_tends_to_the_soft_threshold(z, theta):
    for sharpness in (1.0, 10.0, 100.0):
        distance = (smooth_soft(z, theta, sharpness) - soft(z, theta)).abs()
        bound = np.log(2 / (1 + np.exp(-2 * sharpness * theta))) / sharpness
        assert float(distance.max()) == pytest.approx(bound, rel=1e-6)
        assert abs(abs(float(z[distance.argmax()])) - theta) < 2e-3
    assert torch.equal(smooth_soft(z, theta, float("inf")), soft(z, theta))


@pytest.mark.parametrize(
    "theta, sharpness", [(1.0, 1.0), (0.1, 1.0), (3.0, 1.0), (1.0, 5.0), (0.4, 0.5)]
)
def test_constants_are_the_extremes_of_the_derivatives(z, theta, sharpness):
    z = (4 * z).requires_grad_()
    (slope,) = torch.autograd.grad(smooth_soft(z, theta, sharpness).sum(), z, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), z)
    found = smooth_soft_constants(theta, sharpness)
    assert found.lipschitz == 1
    assert float(slope.detach().max()) == pytest.approx(1, abs=1e-4)
    assert float(slope.detach().min()) == pytest.approx(found.smallest_slope, rel=1e-12)
    assert float(slope.detach()[12_000]) == float(slope.detach().min())  # at zero
    assert float(curvature.abs().max()) == pytest.approx(found.curvature, rel=1e-5)
    assert float(curvature.abs().max()) <= found.curvature * (1 + 1e-12)


def test_constants_of_the_published_network():
    constants = smooth_soft_constants(1.0)
    assert constants.smallest_slope == pytest.approx(0.5379, abs=5e-5)
    assert constants.curvature == pytest.approx(0.1649, abs=5e-5)


def test_constants_at_the_ends():
    assert smooth_soft_constants(0.0) == (1.0, 1.0, 0.0)  # the identity
    assert smooth_soft_constants(1e5, 2.0) == pytest.approx((1.0, 0.0, 0.5))


def test_gradcheck_and_gradgradcheck():
    z = torch.tensor([-3.0, -0.9, 0.0, 0.4, 2.0], dtype=torch.float64, requires_grad=True)
    theta = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, t: smooth_soft(z, t, 2.0), (z, theta))
    assert torch.autograd.gradgradcheck(lambda z, t: smooth_soft(z, t, 2.0), (z, theta))


@pytest.mark.parametrize(
    "theta, sharpness",
    [(-1.0, 1.0), (1.0, 0.0), (1.0, -2.0), (1.0, np.inf), (np.nan, 1.0), (np.inf, 1.0)],
)
def test_constants_that_do_not_exist(theta, sharpness):
    with pytest.raises(ValueError, match="theta must be nonnegative and sharpness positive"):
        smooth_soft_constants(theta, sharpness)
