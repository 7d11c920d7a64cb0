"""Networks of the guarantees: equations written out in numpy, sizes, starts, and laws."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import Dense, Observation, smooth_soft_constants
from sklearn_unroll.nn import (
    dense_admm,
    equivalent_depth,
    feed_forward,
    smooth_admm,
    smooth_lista,
)
from sklearn_unroll.solvers import ADMM, iterates
from tests.conftest import make_problem

RECIPES = {"LISTA": smooth_lista, "ADMM": smooth_admm, "plain": feed_forward}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sigma(z, theta, b):
    return (np.logaddexp(0, b * (z - theta)) - np.logaddexp(0, b * (-z - theta))) / b


def matrices(network):
    weights = [layer.weights for layer in network.layers]
    return [tuple(W.detach().numpy() for W in part.parameters()) for part in weights]


@pytest.mark.parametrize("shape", [(10, 20), (12, 5)])
@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_the_three_networks_equal_their_equations(shape, sharpness):
    obs, _ = make_problem(n_samples=5, n_features=shape[0], n_components=shape[1])
    (n, m), y = shape, obs.b.numpy()
    options = {"n_layers": 4, "theta": 0.6, "sharpness": sharpness}
    networks = {
        name: make(obs.A, generator=generator(), **options) for name, make in RECIPES.items()
    }
    x = np.zeros((5, m))
    for W1, W2 in matrices(networks["LISTA"]):
        x = sigma(y @ W1.T / n**0.5 + x @ W2.T / m**0.5, 0.6, sharpness)
    expected = {"LISTA": x}
    z, u = np.zeros((5, m)), np.zeros((5, m))
    for W1, W2 in matrices(networks["ADMM"]):
        x = y @ W1.T / n**0.5 + (z - u) @ W2.T / m**0.5
        z = sigma(x + u, 0.6, sharpness)
        u = u + x - z
    expected["ADMM"] = z
    x = y
    for (W,) in matrices(networks["plain"]):
        x = sigma(x @ W.T / x.shape[1] ** 0.5, 0.6, sharpness)
    expected["plain"] = x
    for name, network in networks.items():
        with torch.no_grad():
            found = network(obs).numpy()
        np.testing.assert_allclose(found, expected[name], atol=1e-12, err_msg=name)
        assert np.abs(found).max() > 1e-3
    assert not np.allclose(expected["LISTA"], expected["ADMM"])


def test_learned_rate_of_the_multipliers():
    obs, x = make_problem()
    network = smooth_admm(obs.A, generator=generator(), n_layers=3, gamma=0.7, learn_gamma=True)
    fixed = smooth_admm(obs.A, generator=generator(), n_layers=3, gamma=0.7)
    with torch.no_grad():
        torch.testing.assert_close(network(obs), fixed(obs), rtol=0, atol=0)
    assert len(list(network.parameters())) == len(list(fixed.parameters())) + 3
    (network(obs) - x).square().sum().backward()
    rates = [layer.gamma for layer in network.layers]
    assert [bool(rate.grad is not None and rate.grad != 0) for rate in rates] == [
        True,
        True,
        False,
    ]
    with torch.no_grad():
        rates[0].fill_(-1.0)
    network.project_()
    assert [round(float(rate.detach()), 6) for rate in rates] == [0, 0.7, 0.7]


@pytest.mark.parametrize("shape", [(10, 20), (12, 5)])
@pytest.mark.parametrize("rho", [None, 0.3])
@pytest.mark.parametrize("tied", [False, True])
def test_untrained_dense_admm_equals_admm_step_by_step(shape, rho, tied):
    """The classical method too is started at u = 0, as the network is, and not relaxed."""
    obs, _ = make_problem(n_features=shape[0], n_components=shape[1])
    alpha = 0.07
    network = dense_admm(obs.A, n_layers=12, alpha=alpha, rho=rho, tied=tied)
    method = ADMM(obs, alpha, rho=rho, relaxation=1.0)
    state = method.init(obs)
    state = state._replace(u=torch.zeros_like(state.u))
    A, b = obs.A.D.T.numpy(), obs.b.numpy()
    inverse = np.linalg.inv(A.T @ A + method.rho * np.eye(shape[1]))
    z, u = np.zeros((len(b), shape[1])), np.zeros((len(b), shape[1]))
    with torch.no_grad():
        learned = network.iterates(obs)
    assert len(learned) == 13
    assert not learned[0].any()
    for found in learned[1:]:
        state = method.step(state, obs)
        x = (b @ A + method.rho * (z - u)) @ inverse.T
        z = np.sign(x + u) * np.maximum(np.abs(x + u) - alpha / method.rho, 0)
        u = u + x - z
        torch.testing.assert_close(found, state.x, atol=1e-12, rtol=0)
        np.testing.assert_allclose(found.numpy(), z, atol=1e-12, rtol=0)
    assert float(learned[-1].abs().max()) > 1e-3


def test_dense_admm_in_many_layers_solves_the_lasso():
    obs, _ = make_problem()
    with torch.no_grad():
        x = dense_admm(obs.A, n_layers=600, alpha=0.05, rho=0.5, tied=True)(obs)
    *_, solved = iterates(ADMM(obs, 0.05), obs, 600)
    torch.testing.assert_close(x, solved, atol=1e-8, rtol=0)


def test_dense_admm_continues_from_the_layer_before():
    obs, _ = make_problem()
    network = dense_admm(obs.A, n_layers=3)
    with torch.no_grad():
        for parameter in network.layers[0].parameters():
            parameter.mul_(1.3)
    network.continue_(2)
    first, second, third = (dict(layer.named_parameters()) for layer in network.layers)
    for name, parameter in first.items():
        assert torch.equal(second[name], parameter), name
        assert not torch.equal(third[name], parameter), name


@pytest.mark.parametrize(
    "n_features, n_components, n_layers, depth, size",
    [(20, 100, 6, 8, 72_000), (10, 50, 6, 8, 18_000)],
)
def test_networks_of_equal_size(n_features, n_components, n_layers, depth, size):
    assert equivalent_depth(n_features, n_components, n_layers) == depth
    A = Dense(torch.empty(n_components, n_features))
    for name, make in RECIPES.items():
        network = make(A, generator=generator(), n_layers=depth if name == "plain" else n_layers)
        assert sum(p.numel() for p in network.parameters()) == size


def test_a_depth_that_is_no_integer_is_told():
    with pytest.warns(
        UserWarning, match="the depth would be 7.6. With 8 layers it has 74,000"
    ) as said:
        assert equivalent_depth(40, 100, 5) == 8
    assert "against 70,000" in str(said[0].message)
    with pytest.warns(UserWarning, match="would be 7.4"):
        assert equivalent_depth(35, 100, 5) == 7
    assert equivalent_depth(7, 100, 1) == 2  # one layer has no second observation
    with pytest.raises(ValueError, match="at least 1, got n_features=0"):
        equivalent_depth(0, 100, 5)


@pytest.mark.parametrize("make", RECIPES.values(), ids=RECIPES)
def test_first_weights_are_standard_normal_and_the_same_in_every_precision(make):
    A = Dense(torch.empty(40, 30))
    network = make(A, generator=generator(), n_layers=4)
    entries = torch.cat([p.detach().flatten() for p in network.parameters()])
    assert entries.dtype == torch.float32
    assert abs(float(entries.mean())) < 0.05
    assert abs(float(entries.std()) - 1) < 0.05
    again = make(Dense(torch.empty(40, 30).double()), generator=generator(), n_layers=4)
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-6, atol=1e-6)
    other = make(A, generator=generator(1), n_layers=4)
    assert not torch.equal(next(other.parameters()), next(network.parameters()))


@pytest.mark.parametrize("make", [smooth_lista, smooth_admm])
def test_tied_weights_are_one_module(make):
    network = make(Dense(torch.empty(6, 4)), generator=generator(), n_layers=5, tied=True)
    assert len({id(layer.weights) for layer in network.layers}) == 1
    assert sum(p.numel() for p in network.parameters()) == 6 * 10


def test_an_infinite_sharpness_is_the_soft_threshold():
    obs, _ = make_problem()
    with torch.no_grad():
        x = smooth_lista(obs.A, generator=generator(), sharpness=float("inf"), theta=0.3)(obs)
        near = smooth_lista(obs.A, generator=generator(), sharpness=100.0, theta=0.3)(obs)
    assert 0.05 < float((x == 0).double().mean()) < 0.95
    assert not bool((near == 0).any())
    torch.testing.assert_close(near, x, atol=0.1, rtol=0)


def test_rescaled_weights_keep_signals_from_fading():
    A = Dense(torch.empty(200, 40))
    obs = Observation(torch.randn(20, 40, generator=generator(3)), A)
    slope = smooth_soft_constants(1.0).smallest_slope
    with torch.no_grad():
        faded = feed_forward(A, generator=generator())(obs).norm()
        kept = feed_forward(A, generator=generator(), scale=1 / slope)(obs).norm()
    assert faded < 0.05 * kept


def test_bad_operators_are_told():
    obs, _ = make_problem(per_sample=True)
    with pytest.raises(ValueError, match="one operator for all samples"):
        dense_admm(obs.A)
    A = Dense(torch.eye(3))
    for rho in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="rho must be a positive number"):
            dense_admm(A, rho=rho)
    zero = dense_admm(Dense(torch.zeros(3, 2)), n_layers=2)
    with torch.no_grad():
        assert not zero(Observation(torch.ones(2, 2), Dense(torch.zeros(3, 2)))).any()
