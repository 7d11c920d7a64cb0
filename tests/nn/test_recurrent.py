"""NA-ALISTA: the recurrent network, written out in numpy, and what its inputs promise."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import Observation, analytic_weight
from sklearn_unroll.nn import na_alista
from tests.conftest import make_problem
from tests.nn.test_family import hybrid


def make(seed=0, *, hidden_size=6, n_layers=5, counts=None):
    obs, x = make_problem()
    W = analytic_weight(obs.A.D)
    generator = torch.Generator().manual_seed(seed)
    network = na_alista(
        W, n_layers=n_layers, counts=counts, hidden_size=hidden_size, generator=generator
    )
    return network, obs, x


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


def softplus(t):
    return np.log1p(np.exp(t))


@pytest.mark.parametrize("counts", [None, [0, 1, 2, 3, 4]])
def test_na_alista_equals_its_equations(counts):
    network, obs, _ = make(counts=counts)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in network.parameters():  # as after training: no part of it is neutral any more
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        x = network(obs).numpy()
    controller = network.layers[0].rule.controller
    p = {name: value.detach().numpy() for name, value in controller.named_parameters()}
    A, W = obs.A.D.T.numpy(), network.layers[0].weights.W.numpy()
    for i, b in enumerate(obs.b.numpy()):
        current, (hidden, cell) = np.zeros(20), p["first"]
        first = np.array([np.abs(b).mean(), np.abs(W @ b).mean()])
        for k in range(5):
            r = b - A @ current
            sizes = np.array([np.abs(r).mean(), np.abs(W @ r).mean()])
            gates = p["cell.weight_ih"] @ np.log(sizes / first) + p["cell.bias_ih"]
            gates += p["cell.weight_hh"] @ hidden + p["cell.bias_hh"]
            enter, forget, new, leave = np.split(gates, 4)
            cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
            hidden = sigmoid(leave) * np.tanh(cell)
            gamma, theta = softplus(p["out.weight"] @ hidden + p["out.bias"])
            z = current + gamma * W @ r
            current = hybrid(z, 2 * (1 - 1 / 20) * theta * sizes[1], counts[k] if counts else 0)
        np.testing.assert_allclose(x[i], current, atol=1e-12)
    assert x.any()


def test_codes_scale_with_the_data():
    network, obs, _ = make()
    with torch.no_grad():
        x = network(obs)
        # To the bit for a power of two, which rounds nothing.
        assert torch.equal(network(Observation(1024 * obs.b, obs.A)), 1024 * x)
        torch.testing.assert_close(
            network(Observation(1e3 * obs.b, obs.A)), 1e3 * x, rtol=1e-10, atol=1e-10
        )
        each = torch.logspace(-8, 8, len(x), dtype=x.dtype)[:, None]
        torch.testing.assert_close(
            network(Observation(each * obs.b, obs.A)), each * x, rtol=1e-10, atol=0
        )


def test_first_parameters_come_from_the_generator_alone():
    def parameters(seed):
        return torch.nn.utils.parameters_to_vector(make(seed)[0].parameters())

    state = torch.get_rng_state()
    first = parameters(3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert torch.equal(parameters(3), first)
    assert not torch.equal(parameters(4), first)


def test_untrained_steps_are_about_one_and_thresholds_about_twice_the_mean():
    network, obs, _ = make(hidden_size=64)
    rule, weights = network.layers[0].rule, network.layers[0].weights
    with torch.no_grad():
        x, memory = torch.zeros(7, 20, dtype=torch.float64), None
        for _ in range(10):
            r, update = weights.correction(x, obs)
            gamma, theta, memory = rule.controller(r, update, memory)
            torch.testing.assert_close(gamma, torch.ones_like(gamma), atol=0.1, rtol=0)
            torch.testing.assert_close(
                theta, 1.9 * update.abs().mean(1, keepdim=True), atol=0, rtol=0.1
            )
            x = x + 0.3 * update


@pytest.mark.parametrize("n_layers", [1, 12])
def test_one_recurrent_network_for_all_layers(n_layers):
    network, _, _ = make(n_layers=n_layers, hidden_size=64)
    # Four gates with two biases each, the two outputs, and two first states.
    expected = 4 * 64 * (2 + 64 + 2) + 2 * (64 + 1) + 2 * 64
    assert sum(p.numel() for p in network.parameters()) == expected
