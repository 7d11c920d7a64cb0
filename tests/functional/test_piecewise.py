import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from sklearn_unroll.functional import piecewise_linear, soft

KNOTS = torch.linspace(-1, 1, 101, dtype=torch.float64)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_at_the_knots_it_has_the_values():
    values = normal(101)
    torch.testing.assert_close(piecewise_linear(KNOTS, KNOTS, values), values)


def test_between_knots_it_is_numpys_interpolation():
    values, z = normal(101), 2 * torch.rand(500, dtype=torch.float64) - 1
    expected = np.interp(z.numpy(), KNOTS.numpy(), values.numpy())
    np.testing.assert_allclose(piecewise_linear(z, KNOTS, values), expected, atol=1e-12)


def test_beyond_the_knots_the_last_pieces_go_on():
    values = KNOTS.square()
    z = torch.tensor([-50.0, -3.0, 2.0, 1e6], dtype=torch.float64)
    slope = float((values[1] - values[0]) / (KNOTS[1] - KNOTS[0]))
    expected = 1 - slope * (z.abs() - 1)
    torch.testing.assert_close(piecewise_linear(z, KNOTS, values), expected)


def test_soft_threshold_at_a_knot_is_the_soft_threshold_everywhere():
    z = 3 * normal(1000)
    found = piecewise_linear(z, KNOTS, soft(KNOTS, 0.06))
    torch.testing.assert_close(found, soft(z, 0.06), atol=1e-14, rtol=0)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 4, 5)])
def test_channels_have_functions_of_their_own(shape):
    z, values = normal(*shape), normal(3, 101, seed=1)
    found = piecewise_linear(z, KNOTS, values)
    for c in range(3):
        torch.testing.assert_close(found[:, c], piecewise_linear(z[:, c], KNOTS, values[c]))


def test_derivatives():
    z = (0.7 * normal(2, 3, 4)).requires_grad_()
    knots = torch.linspace(-1, 1, 7, dtype=torch.float64)
    values = normal(3, 7, seed=1).requires_grad_()
    assert gradcheck(lambda z, v: piecewise_linear(z, knots, v), (z, values))
    one = normal(7).requires_grad_()
    assert gradcheck(lambda z, v: piecewise_linear(z, knots, v), (z, one))


def test_float32_and_empty():
    z = torch.zeros(0, 3)
    found = piecewise_linear(z, KNOTS.float(), KNOTS.float().repeat(3, 1))
    assert found.shape == (0, 3) and found.dtype == torch.float32


def test_nan_stays_nan():
    z = torch.tensor([np.nan, np.inf, -np.inf])
    found = piecewise_linear(z, KNOTS.float(), KNOTS.float())
    assert found.isnan()[0] and found[1] == np.inf and found[2] == -np.inf


@pytest.mark.parametrize(
    "z, knots, values",
    [((4,), (5,), (6,)), ((4,), (1,), (1,)), ((2, 4), (5,), (3, 5)), ((4,), (5,), (4, 5)),
     ((2, 3), (5,), (1, 3, 5))],
)  # fmt: skip
def test_shapes_that_do_not_fit(z, knots, values):
    with pytest.raises(ValueError, match=r"values must have shape \(n_knots,\)"):
        piecewise_linear(torch.zeros(z), torch.zeros(knots), torch.zeros(values))
