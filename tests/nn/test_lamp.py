"""LAMP: untrained it is AMP; its Onsager term, its scale, and what training adds."""

import numpy as np
import pytest
import torch

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation, analytic_weight
from sklearn_unroll.nn import lamp, lista
from sklearn_unroll.solvers import AMP, iterates
from sklearn_unroll.training import Trainer
from tests.conftest import make_problem


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("lam", [0.6, 1.1, 2.0])
@pytest.mark.parametrize("shape", [(10, 20), (12, 5), (60, 120)])
def test_untrained_it_is_amp_step_by_step(shape, lam, tied):
    obs, _ = make_problem(n_features=shape[0], n_components=shape[1])
    D = obs.A.D * torch.linspace(0.9, 1.1, shape[1], dtype=torch.float64)[:, None]
    for scale in (1.0, 3.0):
        data = Observation(obs.b, Dense(scale * D))
        network = lamp(data.A, n_layers=9, lam=lam, tied=tied)
        with torch.no_grad():
            learned = network.iterates(data)
        for x, known in zip(learned, iterates(AMP(data, lam), data, 9), strict=True):
            size = max(1.0, float(known.abs().max()))  # where AMP diverges
            torch.testing.assert_close(x, known, atol=1e-12 * size, rtol=0)
        assert float(learned[-1].abs().max()) > 1e-3


def test_it_equals_its_equations_after_training():
    obs, _ = make_problem(n_samples=4)
    network = lamp(obs.A, n_layers=4)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        x = network(obs).numpy()
    A = obs.A.D.T.numpy()
    for i, b in enumerate(obs.b.numpy()):
        current, v = np.zeros(20), np.zeros(10)
        for layer in network.layers:
            lam, gamma, beta, B = (
                layer.get_parameter(name).detach().numpy()
                for name in ("rule.lam", "rule.gamma", "rule.beta", "weights.W")
            )
            v = b - A @ current + beta * np.count_nonzero(current) / 10 * v
            z = current + gamma * B @ v
            theta = lam * np.linalg.norm(v) / np.sqrt(10)
            current = np.sign(z) * np.maximum(np.abs(z) - theta, 0)
        np.testing.assert_allclose(x[i], current, atol=1e-12)
    assert np.count_nonzero(x) > 4


@pytest.mark.parametrize("factor", [1e-6, 1024.0, 1e6])
def test_codes_scale_with_the_data(factor):
    obs, _ = make_problem()
    network = lamp(obs.A, n_layers=6, W=analytic_weight(obs.A.D))
    with torch.no_grad():
        x = network(obs)
        found = network(Observation(factor * obs.b, obs.A))
    torch.testing.assert_close(found, factor * x, rtol=1e-10, atol=0)


def test_the_number_of_nonzeros_has_no_derivative():
    """So the next point moves with x as v does, ``1 - gamma B A``, wherever x has jumps."""
    obs, _ = make_problem()
    layer = lamp(obs.A, n_layers=1).layers[0]
    state = layer(layer.init(obs), obs)
    x = state.x.detach().requires_grad_()
    z, how, _ = layer.rule(x, state.memory.detach(), obs, layer.weights)
    (found,) = torch.autograd.grad(z.sum(), x)
    ones = torch.ones_like(z)
    torch.testing.assert_close(found, ones - obs.A.adjoint(obs.A(ones)))
    assert how.theta.shape == (len(x), 1)


def test_another_start_and_bad_input():
    obs, _ = make_problem()
    W = analytic_weight(obs.A.D)
    network = lamp(obs.A, n_layers=2, W=W)
    assert torch.equal(network.layers[1].weights.W.detach(), W)
    with pytest.raises(ValueError, match="lam must be nonnegative, got -1"):
        lamp(obs.A, lam=-1.0)


def test_with_the_same_training_it_is_far_ahead_of_lista_cp():
    data = make_sparse_recovery(700, 40, 80, sparsity=0.05, random_state=0)
    A = Dense(torch.from_numpy(data.dictionary))
    X, y = torch.from_numpy(data.X), torch.from_numpy(data.y)
    errors = {}
    trainer = Trainer(
        learning_rate=0.01, max_epochs=4, batch_size=100, loss="log", max_grad_norm=None,
        early_stopping=False,
    )  # fmt: skip
    for make in (lista, lamp):
        network = make(A, n_layers=6, tied=True)
        trainer.run(
            network, Observation(X[:500], A), y[:500], alpha=0.1,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        with torch.no_grad():
            error = (network(Observation(X[500:], A)) - y[500:]).square().sum()
        errors[make.__name__] = 10 * np.log10(float(error / y[500:].square().sum()))
    print(errors)
    assert errors["lamp"] < errors["lista"] - 5
