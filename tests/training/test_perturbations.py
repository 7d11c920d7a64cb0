"""Noise between layers: how much, where, and never in a prediction."""

import math

import pytest
import torch

from sklearn_unroll.functional import Dense, Observation, analytic_weight
from sklearn_unroll.nn import lista, na_alista, tista
from sklearn_unroll.training import LayerNoise


@pytest.fixture
def obs():
    generator = torch.Generator().manual_seed(0)
    D = torch.randn(30, 20, generator=generator, dtype=torch.float64)
    A = Dense(D / D.norm(dim=1, keepdim=True))
    return Observation(torch.randn(50, 20, generator=generator, dtype=torch.float64), A)


def moved_by(noise, number, x, obs):
    generator = torch.Generator().manual_seed(0)
    return noise.perturb(number, x, obs, generator) - x


@pytest.mark.parametrize("number", [0, 1, 4])
def test_unit_norm_noise_falls_with_the_layer(obs, number):
    x = torch.ones(50, 30, dtype=torch.float64)
    moved = moved_by(LayerNoise("unit_norm", 3.0), number, x, obs)
    torch.testing.assert_close(moved.norm(dim=1), torch.full((50,), 3 / (number + 1)).double())


def test_constant_noise_has_the_scale_as_deviation(obs):
    x = torch.zeros(50, 30, dtype=torch.float64)
    moved = moved_by(LayerNoise("constant", 0.5), 2, x, obs)
    assert float(moved.std()) == pytest.approx(0.5, rel=0.1)


def test_log_gradient_noise_follows_the_gradient_and_vanishes_with_it(obs):
    x = torch.randn(50, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    moved = moved_by(LayerNoise("log_gradient"), 1, x, obs)
    plain = moved_by(LayerNoise("constant"), 1, x, obs)
    size = moved.norm(dim=1) / plain.norm(dim=1)
    gradient = (x @ obs.A.D - obs.b) @ obs.A.D.T
    expected = [math.log(1 + float(g)) for g in gradient.norm(dim=1)]
    torch.testing.assert_close(size, torch.tensor(expected, dtype=torch.float64))
    solved = Observation(x @ obs.A.D, obs.A)
    assert moved_by(LayerNoise("log_gradient"), 1, x, solved).abs().max() < 1e-12


NETWORKS = {
    "lista": lambda A: lista(A, n_layers=3, alpha=0.1),
    "na_alista": lambda A: na_alista(
        analytic_weight(A.D), n_layers=3, counts=[1, 2, 3], generator=torch.Generator()
    ),
    "tista": lambda A: tista(A, n_layers=3, sparsity=0.1, variance=1.0, noise_variance=0.1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_iterate_but_the_last_may_be_disturbed(obs, name):
    network = NETWORKS[name](obs.A)
    asked = []

    def shift(number, x, obs):
        asked.append(number)
        return x + 0.1

    with torch.no_grad():
        plain = network.iterates(obs)
        disturbed = network.iterates(obs, perturb=shift)
    assert asked == [0, 1, 2]
    torch.testing.assert_close(disturbed[0], plain[0] + 0.1)
    assert not torch.allclose(disturbed[-1], plain[-1])


def test_what_the_next_layer_sees_is_what_is_reported(obs):
    network = lista(obs.A, n_layers=2, alpha=0.1)
    fixed = torch.full((50, 30), 0.3, dtype=torch.float64)
    with torch.no_grad():
        iterates = network.iterates(obs, perturb=lambda number, x, obs: fixed.clone())
        assert torch.equal(iterates[1], fixed)
        layer = network.layers[1]
        state = layer.init(obs)._replace(x=fixed.clone())
        assert torch.equal(iterates[2], layer.readout(layer(state, obs)))


def test_the_global_generator_is_left_alone(obs):
    state = torch.get_rng_state()
    x = torch.zeros(50, 30, dtype=torch.float64)
    assert torch.equal(moved_by(LayerNoise(), 0, x, obs), moved_by(LayerNoise(), 0, x, obs))
    assert torch.equal(torch.get_rng_state(), state)
