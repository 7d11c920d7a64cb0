"""Optimisers, what they take the gradient of, penalties and truncated back-propagation."""

import copy

import pytest
import torch
from sklearn.base import BaseEstimator

from sklearn_unroll import Trainer
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import lista
from sklearn_unroll.training import SGD, Adam, Lasso

PLAIN = {
    "optimizer": "sgd",
    "loss": "mean",
    "batch_size": None,
    "decay": "constant",
    "max_grad_norm": None,
    "early_stopping": False,
    "max_epochs": 1,
}
ALPHA = 0.1


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    A = Dense(torch.randn(12, 8, generator=generator, dtype=torch.float64) / 3)
    return Observation(torch.randn(20, 8, generator=generator, dtype=torch.float64), A)


def network_of(obs, n_layers=3):
    return lista(obs.A, n_layers=n_layers, alpha=ALPHA)


def train(network, obs, **changes):
    generator = torch.Generator().manual_seed(0)
    trainer = Trainer(**{"objective": "lasso"} | PLAIN | changes)
    return trainer.run(network, obs, alpha=ALPHA, generator=generator)


def mean_loss(network, obs):
    return Lasso(ALPHA).value(network.iterates(obs), obs, None).mean()


def test_plain_gradient_descent_is_one_step_against_the_gradient(problem):
    network = network_of(problem)
    before = [p.detach().clone() for p in network.parameters()]
    gradients = torch.autograd.grad(mean_loss(network, problem), list(network.parameters()))
    train(network, problem, learning_rate=1e-3)
    for new, old, gradient in zip(network.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(new.detach(), old - 1e-3 * gradient, rtol=0, atol=1e-14)


def test_relative_and_log_steps_are_scaled_gradients(problem):
    start = network_of(problem)
    loss = float(mean_loss(start, problem).detach())
    steps = {}
    for kind in ("mean", "relative", "log"):
        network = copy.deepcopy(start)
        train(network, problem, learning_rate=1.0, loss=kind)
        W = network.layers[0].weights.W - start.layers[0].weights.W
        steps[kind] = W.detach()
    torch.testing.assert_close(steps["relative"] * loss, steps["mean"], rtol=0, atol=1e-13)
    torch.testing.assert_close(steps["log"] * loss, steps["mean"], rtol=0, atol=1e-13)


def test_momentum_goes_on_with_the_last_step(problem):
    network, twin = network_of(problem), network_of(problem)
    train(network, problem, learning_rate=1e-3, optimizer=SGD(momentum=0.9), max_epochs=2)
    names = [name for name, _ in twin.named_parameters()]
    velocity = dict.fromkeys(names, 0.0)
    for _ in range(2):
        parameters = dict(twin.named_parameters())
        gradients = torch.autograd.grad(mean_loss(twin, problem), list(parameters.values()))
        for (name, p), gradient in zip(parameters.items(), gradients, strict=True):
            velocity[name] = 0.9 * velocity[name] + gradient
            p.data -= 1e-3 * velocity[name]
    for new, expected in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(new, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "optimizer, match",
    [
        (SGD(momentum=1.0), "'momentum' parameter of SGD"),
        (Adam(betas=0.9), "'betas' parameter of Adam"),
        (Adam(betas=(0.9, 1.0)), r"betas must be two numbers .* got \(0.9, 1.0\)"),
        (Adam(betas=(0.9, "high")), "betas must be two numbers"),
        (Adam(betas=[0.9]), "betas must be two numbers"),
        ("rmsprop", "'optimizer' parameter of Trainer"),
    ],
)
def test_settings_of_an_optimiser_are_checked(problem, optimizer, match):
    with pytest.raises(ValueError, match=match):
        train(network_of(problem), problem, optimizer=optimizer)


class SquaredNorm(BaseEstimator):
    """The weights' energy."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def value(self, network):
        return self.factor * sum(p.square().sum() for p in network.parameters())


def test_a_penalty_is_added_to_the_mean_objective(problem):
    network, twin = network_of(problem), network_of(problem)
    penalty = SquaredNorm(0.3)
    history = train(network, problem, learning_rate=1e-3, penalty=penalty)
    goal = mean_loss(twin, problem) + penalty.value(twin)
    gradients = torch.autograd.grad(goal, list(twin.parameters()))
    for new, old, gradient in zip(network.parameters(), twin.parameters(), gradients, strict=True):
        torch.testing.assert_close(new, old - 1e-3 * gradient, rtol=0, atol=1e-14)
    scale = float(Lasso(ALPHA).scale(problem, None).mean())
    assert history.epochs[0].monitor == pytest.approx(float(goal.detach()) / scale, rel=1e-12)


def test_a_penalty_must_be_one_number(problem):
    class PerLayer(SquaredNorm):
        def value(self, network):
            return torch.ones(3)

    with pytest.raises(ValueError, match="PerLayer.value must return one number"):
        train(network_of(problem), problem, penalty=PerLayer())


def test_segments_are_the_iterates_cut(problem):
    network = network_of(problem, n_layers=5)
    whole = network.iterates(problem)
    parts = list(network.segments(problem, 2))
    assert [len(part) for part in parts] == [3, 3, 2]
    joined = [parts[0][0], *(x for part in parts for x in part[1:])]
    for one, other in zip(joined, whole, strict=True):
        assert torch.equal(one, other)
    assert not parts[1][0].requires_grad
    assert len(next(network.segments(problem, 2, depth=0))) == 1


def test_truncation_takes_a_step_after_every_segment(problem):
    network, twin = network_of(problem, n_layers=4), network_of(problem, n_layers=4)
    train(network, problem, learning_rate=1e-3, truncate=2)
    objective, x = Lasso(ALPHA), None
    for layers in (twin.layers[:2], twin.layers[2:]):
        state = layers[0].init(problem) if x is None else x
        for layer in layers:
            state = layer(state, problem)
        loss = objective.value([state.x, state.x], problem, None).mean()
        moving = [p for layer in layers for p in layer.parameters()]
        for p, gradient in zip(moving, torch.autograd.grad(loss, moving), strict=True):
            p.data -= 1e-3 * gradient
        x = state._replace(x=state.x.detach())
    for new, expected in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(new, expected, rtol=0, atol=1e-14)


def test_a_segment_as_long_as_the_network_truncates_nothing(problem):
    network, twin = network_of(problem), network_of(problem)
    train(network, problem, truncate=3)
    train(twin, problem)
    for one, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)
