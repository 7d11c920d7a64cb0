import pytest
import torch

from sklearn_unroll.functional import soft, support_select


@pytest.fixture
def z():
    return torch.randn(40, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def one_by_one(z, theta, count):
    """The definition, entry by entry."""
    out = soft(z, theta)
    for i, row in enumerate(z):
        order = row.abs().argsort(descending=True)
        k = int(count[i]) if isinstance(count, torch.Tensor) else count
        for j in order[:k]:
            t = theta[i] if isinstance(theta, torch.Tensor) and theta.ndim else theta
            if row[j].abs() > t:
                out[i, j] = row[j]
    return out


@pytest.mark.parametrize("count", [0, 1, 3, 11, 12, 50])
@pytest.mark.parametrize("theta", [0.0, 0.3, 1.5, 10.0])
def test_equals_the_definition(z, theta, count):
    torch.testing.assert_close(support_select(z, theta, count), one_by_one(z, theta, count))


def test_per_sample_threshold_and_count(z):
    theta = torch.linspace(0.1, 1.5, 40, dtype=torch.float64)[:, None]
    count = torch.arange(40)[:, None] % 14
    torch.testing.assert_close(support_select(z, theta, count), one_by_one(z, theta, count))


def test_its_two_ends_are_soft_and_hard(z):
    torch.testing.assert_close(support_select(z, 0.5, 0), soft(z, 0.5))
    hard = torch.where(z.abs() > 0.5, z, torch.zeros_like(z))
    torch.testing.assert_close(support_select(z, 0.5, 12), hard)


def test_ties_let_no_more_pass_than_may():
    z = torch.ones(1, 6)
    assert int((support_select(z, 0.5, 2) == 1).sum()) == 2


def test_gradients_do_not_see_the_selection(z):
    theta = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    z = z.clone().requires_grad_()
    out = support_select(z, theta, 3)
    out.sum().backward()
    assert bool(((z.grad == 0) | (z.grad == 1)).all())
    shrunk = ((z.abs() > 0.5).sum(1) - 3).clamp_min(0).sum()
    signs = torch.sign(z)[(z.abs() > 0.5) & (out != z)].detach()
    assert len(signs) == int(shrunk)
    assert float(theta.grad) == pytest.approx(-float(signs.sum()))
