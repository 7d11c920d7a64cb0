"""Noise between layers: how much, where, and never in a prediction."""

import math

import pytest
import torch

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import lista
from sklearn_unroll.training import LayerNoise, Trainer
from tests.networks import NETWORKS


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


@pytest.mark.parametrize("name", ["LAMP", "dense ADMM", "Math-L2O", "Math-L2O, guarded"])
def test_noise_is_felt_by_networks_whose_next_step_is_made_of_more_than_x(name):
    losses = []
    for noise in (None, LayerNoise("constant", 1.0)):
        network, obs, y = NETWORKS[name]()
        trainer = Trainer("supervised", max_epochs=1, perturbation=noise, early_stopping=False)
        generator = torch.Generator().manual_seed(0)
        losses.append(trainer.run(network, obs, y, alpha=0.1, generator=generator)[-1].loss)
    assert losses[1] > 1.05 * losses[0]
