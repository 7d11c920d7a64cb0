"""The LISTA family: every recipe against its iteration written out in numpy."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import (
    Dense,
    Observation,
    analytic_weight,
    pseudo_inverse,
)
from sklearn_unroll.nn import (
    AdaptiveRule,
    ada_lista,
    alista,
    calibrate_thresholds,
    hyperlista,
    lista,
    support_counts,
)
from tests.conftest import make_problem

WEIGHTS = ("W1", "W2")


def hybrid(z, theta, count):
    """Support selection for one sample, by sorting."""
    out = np.sign(z) * np.maximum(np.abs(z) - theta, 0)
    keep = np.argsort(-np.abs(z))[:count]
    keep = keep[np.abs(z[keep]) > theta]
    out[keep] = z[keep]
    return out


def test_hyperlista_equals_its_equations():
    obs, _ = make_problem(n_samples=5)
    D = obs.A.D
    W, mu, (c1, c2, c3) = analytic_weight(D), 0.4, (0.05, 0.02, 4.0)
    network = hyperlista(W, AdaptiveRule(pseudo_inverse(D), mu, c1, c2, c3), n_layers=9)
    with torch.no_grad():
        x = network(obs).numpy()
    A, w, pinv = D.T.numpy(), W.numpy(), np.linalg.pinv(D.T.numpy())
    for i, b in enumerate(obs.b.numpy()):
        current = previous = np.zeros(20)
        for _ in range(9):
            r = b - A @ current
            error = np.abs(pinv @ r).sum()
            p = min(c3 * np.log(np.abs(pinv @ b).sum() / error), 20)
            beta = c2 * mu * np.count_nonzero(current)
            z = current + w @ r + beta * (current - previous)
            current, previous = hybrid(z, c1 * mu * error, round(max(p, 0))), current
        np.testing.assert_allclose(x[i], current, atol=1e-9)


def test_leverages_stand_in_for_the_pseudo_inverse():
    obs, _ = make_problem()
    D = obs.A.D
    W, pinv = analytic_weight(D), pseudo_inverse(D)
    constants = (0.4, 0.05, 0.02, 4.0)
    with torch.no_grad():
        x = hyperlista(W, AdaptiveRule(pinv, *constants))(obs)
        torch.testing.assert_close(
            hyperlista(W, AdaptiveRule((pinv * D).sum(1), *constants))(obs), x
        )


def test_hyperlista_scales_with_the_data_and_is_safe_at_zero():
    obs, _ = make_problem()
    D = obs.A.D
    rule = AdaptiveRule(pseudo_inverse(D), 0.4, 0.05, 0.02, float("inf"))
    network = hyperlista(analytic_weight(D), rule)
    with torch.no_grad():
        x = network(obs)
        torch.testing.assert_close(network(Observation(1e6 * obs.b, obs.A)), 1e6 * x)
        zero = network(Observation(0 * obs.b, obs.A))
    assert not zero.any()
    assert bool(torch.isfinite(x).all())


def test_hyperlistas_momentum_is_one_half_at_most():
    obs, _ = make_problem(n_samples=3)
    D = obs.A.D
    rule = AdaptiveRule(pseudo_inverse(D), 0.4, 0.05, 0.2, 4.0)  # beta = 0.08 ||x||_0
    x = torch.zeros(3, 20, dtype=torch.float64)
    for row, count in enumerate((5, 7, 20)):
        x[row, :count] = 1.0
    last, first = torch.full_like(x, 0.3), torch.ones(3, 1, dtype=torch.float64)
    weights = hyperlista(analytic_weight(D), rule).layers[0].weights
    z, _, _ = rule(x, (last, first), obs, weights)
    momentum = (z - x - weights.correction(x, obs)[1]) / (x - last)
    expected = torch.tensor([0.4, 0.5, 0.5], dtype=torch.float64)[:, None].expand_as(x)
    torch.testing.assert_close(momentum, expected)


@pytest.mark.parametrize("counts", [None, [0, 1, 2, 3]])
def test_calibrated_thresholds_are_those_of_the_calibrated_network(counts):
    """Each from the point that the layers before it, with their new thresholds, lead to."""
    obs, y = make_problem(n_samples=40)
    W = analytic_weight(obs.A.D)
    network = alista(obs.A, W, n_layers=4, counts=counts, theta=3.0)
    calibrate_thresholds(network, obs, y, factor=2.0)
    with torch.no_grad():
        iterates = network.iterates(obs)
        for layer, x in zip(network.layers, iterates, strict=False):
            z = x + obs.A.residual(obs.b, x) @ W.T
            rms = (z - y)[y == 0].square().mean().sqrt()
            torch.testing.assert_close(layer.rule.theta, 2.0 * rms)
    assert len({float(layer.rule.theta.detach()) for layer in network.layers}) == 4


@pytest.mark.parametrize("counts", [None, [1, 2, 3]])
def test_alista_equals_its_equations(counts):
    obs, _ = make_problem(n_samples=4)
    W = analytic_weight(obs.A.D)
    network = alista(obs.A, W, n_layers=3, counts=counts, theta=0.2, gamma=0.8)
    with torch.no_grad():
        x = network(obs).numpy()
    A = obs.A.D.T.numpy()
    for i, b in enumerate(obs.b.numpy()):
        current = np.zeros(20)
        for k in range(3):
            z = current + 0.8 * W.numpy() @ (b - A @ current)
            current = hybrid(z, 0.2, counts[k] if counts else 0)
        np.testing.assert_allclose(x[i], current, atol=1e-12)
    assert sum(p.numel() for p in network.parameters()) == 6


@pytest.mark.parametrize("counts", [None, [1, 2, 3]])
def test_step_lista_equals_its_equations(counts):
    obs, _ = make_problem(n_samples=4)
    steps, alpha = [0.3, 0.05, 0.4], 0.2
    network = lista(obs.A, n_layers=3, weights="adjoint", counts=counts, alpha=alpha)
    with torch.no_grad():
        for layer, step in zip(network.layers, steps, strict=True):
            layer.rule.gamma.fill_(step)
        x = network(obs).numpy()
    A = obs.A.D.T.numpy()
    for i, b in enumerate(obs.b.numpy()):
        current = np.zeros(20)
        for k, step in enumerate(steps):
            z = current + step * A.T @ (b - A @ current)
            current = hybrid(z, alpha * step, counts[k] if counts else 0)
        np.testing.assert_allclose(x[i], current, atol=1e-12)
    assert sum(p.numel() for p in network.parameters()) == 3


def test_ada_lista_equals_its_equations(problem):
    obs, _ = problem
    generator = torch.Generator().manual_seed(0)
    network = ada_lista(obs.A, n_layers=3, alpha=0.1)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(1 + 0.3 * torch.rand(p.shape, generator=generator, dtype=p.dtype))
            p.add_(0.05 * torch.randn(p.shape, generator=generator, dtype=p.dtype).abs())
        x = network(obs).numpy()
    W1, W2 = (network.layers[0].weights.get_parameter(name).detach().numpy() for name in WEIGHTS)
    assert np.abs(W1 - W1.T).max() > 0.01  # so that a transposed product would show
    for i, b in enumerate(obs.b.numpy()):
        A = (obs.A.D[i] if obs.A.per_sample else obs.A.D).numpy().T
        current = np.zeros(20)
        for layer in network.layers:
            gamma, theta = float(layer.rule.gamma.detach()), float(layer.rule.theta.detach())
            z = current + gamma * A.T @ (W2.T @ b - W1.T @ W1 @ A @ current)
            current = hybrid(z, theta, 0)
        np.testing.assert_allclose(x[i], current, atol=1e-12)


def test_parameter_counts_are_the_published_ones():
    A = Dense(torch.randn(500, 250, generator=torch.Generator().manual_seed(0)))

    def count(**kw):
        return sum(p.numel() for p in lista(A, n_layers=16, **kw).parameters())

    assert count(weights="free") == 6_000_016
    assert count(weights="free", tied=True) == 375_016
    assert count(weights="coupled") == 2_000_016
    assert count(weights="coupled", tied=True) == 125_016
    assert count(weights="coupled", tied=True, learn_step=True) == 125_032
    assert count(weights="adjoint") == 16
    # Ada-LISTA: two matrices on signals, two scalars a layer; the number of atoms is not in it.
    assert sum(p.numel() for p in ada_lista(A, n_layers=16).parameters()) == 125_032


def test_the_published_support_schedule():
    counts = support_counts(16, 500)
    assert counts[:3] == [6, 12, 18]
    assert counts[9:] == [60, 65, 65, 65, 65, 65, 65]
