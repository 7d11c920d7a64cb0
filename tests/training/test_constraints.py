"""Descent as a constraint: what it measures, how its multipliers move, what it refuses."""

import copy
import itertools

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.functional import Dense, Observation, lasso_value
from sklearn_unroll.nn import lista
from sklearn_unroll.training import Descent, LayerNoise, Supervised

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

ALPHA = 0.1
PLAIN = {
    "optimizer": "sgd",
    "loss": "mean",
    "batch_size": None,
    "decay": "constant",
    "max_grad_norm": None,
    "early_stopping": False,
    "learning_rate": 1e-3,
}


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    A = Dense(torch.randn(12, 8, generator=generator, dtype=torch.float64) / 3)
    y = torch.randn(20, 12, generator=generator, dtype=torch.float64)
    y = y * (torch.rand(20, 12, generator=generator) < 0.3)
    y[0] = 0
    return Observation(A(y), A), y


def wild(obs, n_layers=3):
    """Return a network whose layers go astray."""
    network = lista(obs.A, n_layers=n_layers, alpha=ALPHA)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in network.layers:
            noise = torch.randn(layer.weights.W.shape, generator=generator, dtype=torch.float64)
            layer.weights.W += noise
    return network


def train(network, obs, y, **changes):
    trainer = Trainer(**{"objective": "supervised", "max_epochs": 1} | PLAIN | changes)
    generator = torch.Generator().manual_seed(0)
    return trainer.run(network, obs, y, alpha=ALPHA, generator=generator)


def sizes_by_hand(kind, iterates, obs, y):
    if kind == "distance":
        return [(x - y).norm(dim=1) for x in iterates]
    if kind == "gradient":
        return [((x @ obs.A.D - obs.b) @ obs.A.D.T).norm(dim=1) for x in iterates]
    return [lasso_value(x, obs, ALPHA) - lasso_value(y, obs, ALPHA) for x in iterates]


@pytest.mark.parametrize("kind", ["distance", "gradient", "objective"])
@pytest.mark.parametrize("form", ["ratio", "difference"])
def test_the_excess_is_that_of_the_equation(problem, kind, form):
    obs, y = problem
    network = wild(obs)
    iterates = network.iterates(obs)
    descent = Descent(kind, epsilon=0.2, form=form, alpha=ALPHA)
    excess = descent.excess(iterates, obs, y, network)
    sizes = sizes_by_hand(kind, iterates, obs, y)
    kept = torch.stack(sizes).amin(0) > 1e-2  # away from sizes that count as zero
    assert kept.sum() > 10
    for layer, (before, after) in enumerate(itertools.pairwise(sizes)):
        expected = after / before - 0.8 if form == "ratio" else after - 0.8 * before
        torch.testing.assert_close(excess[kept, layer], expected[kept], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", ["ratio", "difference"])
def test_a_sample_whose_code_is_zero_gives_no_nan(problem, form):
    obs, y = problem
    assert not y[0].any()
    network = wild(obs)
    excess = Descent(form=form).excess(network.iterates(obs), obs, y, network)
    assert excess.isfinite().all()
    gradients = torch.autograd.grad(excess.mean(), list(network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_sample_that_has_arrived_does_not_outweigh_the_others(problem):
    obs, y = problem
    before, after = y + 1, y + 0.5
    before[1] = y[1] + 1e-9
    size = (before - y).norm(dim=1)
    excess = Descent(epsilon=0.5).excess([before, after], obs, y, None)[:, 0]
    assert size[1] < 1e-3 * size.mean()
    torch.testing.assert_close(excess[1], (after - y).norm(dim=1)[1] / (1e-3 * size.mean()) - 0.5)
    others = torch.arange(len(y)) != 1
    torch.testing.assert_close(excess[others], torch.zeros_like(excess[others]))


def test_without_y_the_objective_itself_must_fall(problem):
    obs, _ = problem
    network = wild(obs)
    iterates = network.iterates(obs)
    excess = Descent("objective", 0.1, alpha=ALPHA).excess(iterates, obs, None, network)
    before, after = (lasso_value(x, obs, ALPHA) for x in iterates[:2])
    kept = before > 1e-2 * before.mean()  # one signal is zero
    torch.testing.assert_close(excess[kept, 0], (after / before - 0.9)[kept])


def test_multipliers_ascend_from_zero_by_the_mean_excess(problem):
    obs, y = problem
    network = wild(obs)
    constraint = Descent(dual_learning_rate=0.5)
    history = train(network, obs, y, constraint=constraint, learning_rate=1e-9, max_epochs=3)
    excess = constraint.excess(network.iterates(obs), obs, y, network).mean(0).detach().numpy()
    assert excess.max() > 0
    expected, found = np.zeros(3), history.column("multipliers")[1:]
    for row in found:
        expected = np.maximum(expected + 0.5 * excess, 0)
        np.testing.assert_allclose(row, expected, rtol=1e-5)
    np.testing.assert_allclose(history.column("excess")[1:], [excess] * 3, rtol=1e-5)


def test_a_layer_that_descends_keeps_its_multiplier_at_zero(problem):
    obs, _ = problem
    x = lista(obs.A, n_layers=400, alpha=ALPHA)(obs).detach()
    network = lista(obs.A, n_layers=3, alpha=ALPHA)  # ISTA approaches the solution
    history = train(network, obs, x, constraint=Descent(epsilon=0.01), max_epochs=2)
    assert (history.column("excess")[1:] < 0).all()
    assert (history.column("multipliers")[1:] == 0).all()


@pytest.mark.parametrize("loss", ["mean", "relative"])
def test_the_step_is_against_the_gradient_of_the_lagrangian(problem, loss):
    """The relative loss is that over its first value: so are rate and multipliers' weight."""
    obs, y = problem
    network = wild(obs)
    twin = copy.deepcopy(network)
    constraint = Descent(dual_learning_rate=0.5)
    objective = Supervised()
    scale = objective.scale(obs, y).mean()
    first = objective.value(network.iterates(obs), obs, y).mean().detach()
    rate = 1e-3 if loss == "mean" else 1e-3 * float(first)
    history = train(
        network, obs, y, constraint=constraint, max_epochs=2, loss=loss, learning_rate=rate
    )
    multipliers = torch.tensor(history.column("multipliers")[1])
    assert multipliers.max() > 0
    for nu in (torch.zeros(3, dtype=torch.float64), multipliers):
        iterates = twin.iterates(obs)
        goal = objective.value(iterates, obs, y).mean()
        goal = goal + scale * nu @ constraint.excess(iterates, obs, y, twin).mean(0)
        parameters = list(twin.parameters())
        for p, gradient in zip(parameters, torch.autograd.grad(goal, parameters), strict=True):
            p.data -= 1e-3 * gradient
        twin.project_()
    # The best state is kept, so compare only if that is the last.
    monitor = history.column("monitor")
    assert monitor[2] < monitor[1] < monitor[0]
    for new, expected in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(new, expected, rtol=0, atol=1e-12)


def test_update_batch_moves_multipliers_in_every_minibatch(problem):
    obs, y = problem
    kwargs = {"learning_rate": 1e-9, "batch_size": 5}
    constraint = Descent(dual_learning_rate=0.5)
    once = train(wild(obs), obs, y, constraint=constraint, **kwargs)
    often = train(wild(obs), obs, y, constraint=constraint.set_params(update="batch"), **kwargs)
    ratio = often.column("multipliers")[1] / once.column("multipliers")[1]
    assert 2 < np.median(ratio) < 6  # 4 minibatches


def test_noise_reaches_the_constraint_but_not_the_prediction(problem):
    obs, y = problem
    X, D, codes = obs.b.numpy(), obs.A.D.numpy(), y.numpy()
    trainer = Trainer(
        max_epochs=3, constraint=Descent(), perturbation=LayerNoise(scale=5.0), learning_rate=1e-4
    )
    model = LISTARegressor(D, n_layers=3, trainer=trainer, random_state=0).fit(X, codes)
    quiet = clone(model).set_params(trainer__perturbation=None).fit(X, codes)
    noisy_excess = model.history_.column("excess")[1]
    assert np.abs(noisy_excess - quiet.history_.column("excess")[1]).max() > 0.1
    np.testing.assert_array_equal(model.predict(X), model.predict(X))
    again = clone(model).fit(X, codes)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_the_best_state_counts_violations(problem):
    """A loss that falls by less than what the violation rises keeps the first state."""
    obs, y = problem

    class Growing(Descent):
        def excess(self, iterates, obs, y, network):
            moved = (iterates[-1] - first).square().sum(1, keepdim=True)
            return 1e6 * moved.expand(-1, len(iterates) - 1)

    network = wild(obs)
    first = network(obs).detach()
    before = copy.deepcopy(network)
    history = train(network, obs, y, constraint=Growing(), learning_rate=1e-4)
    assert history.column("monitor")[1] < history.column("monitor")[0]
    for one, other in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, other)


def test_more_slack_than_is_asked_for_is_no_merit(problem):
    """A loss that falls is better, however much less a constraint is over-fulfilled."""
    obs, y = problem

    class Shrinking(Descent):
        def excess(self, iterates, obs, y, network):
            moved = (iterates[-1] - first).square().sum(1, keepdim=True)
            return -1 / (1e-9 + moved.expand(-1, len(iterates) - 1))

    network = wild(obs)
    first = network(obs).detach()
    before = copy.deepcopy(network)
    history = train(network, obs, y, constraint=Shrinking(), learning_rate=1e-4)
    assert history.column("monitor")[1] < history.column("monitor")[0]
    assert (history.column("excess")[1] < 0).all()
    pairs = zip(network.parameters(), before.parameters(), strict=True)
    assert not any(torch.equal(one, other) for one, other in pairs)


def test_constraints_are_checked_copies_with_the_estimators_alpha():
    given = [Descent("objective"), Descent("distance"), Descent("objective", alpha=0.5)]
    trainer = Trainer("lasso", constraint=given)
    found = trainer.resolve_constraints(True, 0.2)
    assert [part.alpha for part in found] == [0.2, 0.2, 0.5]
    assert [part.alpha for part in given] == [None, None, 0.5]
    assert trainer.requires_y(trainer.resolve_objective(True, 0.2))
    free = Trainer("lasso", constraint=given[0])
    assert not free.requires_y(free.resolve_objective(False, 0.2))
    assert Trainer().resolve_constraints(False, 0.2) == []
    with pytest.raises(ValueError, match="'form' parameter of Descent"):
        Trainer(constraint=Descent(form="power")).resolve_constraints(True, 0.2)


@pytest.mark.parametrize("epsilon", [0.0, 1.0, -0.1, 3])
def test_epsilon_outside_its_range_is_refused(problem, epsilon):
    obs, y = problem
    with pytest.raises(ValueError, match="'epsilon' parameter of Descent"):
        train(wild(obs), obs, y, constraint=Descent(epsilon=epsilon))


def test_a_distance_needs_codes(problem):
    obs, _ = problem
    with pytest.raises(ValueError, match=r"needs y, the codes .* Descent\(kind='gradient'\)"):
        train(wild(obs), obs, None, objective="lasso", constraint=Descent())


def test_labels_are_used_by_a_distance_though_the_objective_is_label_free(problem):
    obs, y = problem
    trainer = Trainer("lasso", max_epochs=1, constraint=Descent("distance"))
    model = LISTARegressor(obs.A.D.numpy(), n_layers=2, trainer=trainer)
    model.fit(obs.b.numpy(), y.numpy())
    assert model.history_.column("multipliers").shape == (2, 2)
    with pytest.raises(ValueError, match="12"):  # so labels of a classifier are refused
        clone(model).fit(obs.b.numpy(), np.arange(20))


@pytest.mark.parametrize("changes", [{"loss": "log"}, {"truncate": 2}])
def test_what_a_constraint_cannot_be_weighed_against_is_refused(problem, changes):
    obs, y = problem
    with pytest.raises(ValueError, match="A constraint is weighed against the loss itself"):
        train(wild(obs), obs, y, constraint=Descent(), **changes)


def test_latents_fall_only_where_there_are_some(problem):
    obs, y = problem
    with pytest.raises(ValueError, match="needs layers with latents, .* has none. Use"):
        train(wild(obs), obs, y, constraint=Descent("latent"))


def test_a_stream_has_no_multipliers(problem):
    obs, y = problem
    model = LISTARegressor(obs.A.D.numpy(), trainer=Trainer(constraint=Descent()))
    with pytest.raises(ValueError, match="A stream of batches has no multipliers"):
        model.partial_fit(obs.b.numpy(), y.numpy())


def test_the_shape_of_an_excess_is_checked(problem):
    obs, y = problem

    class Total(Descent):
        def excess(self, iterates, obs, y, network):
            return super().excess(iterates, obs, y, network).sum(1)

    with pytest.raises(ValueError, match=r"Total.excess must have one number per sample and lay"):
        train(wild(obs), obs, y, constraint=Total())


def test_several_constraints_have_multipliers_of_their_own(problem):
    obs, y = problem
    parts = [Descent("distance", dual_learning_rate=0.5), Descent("gradient")]
    both = train(wild(obs), obs, y, constraint=parts, learning_rate=1e-9)
    alone = [train(wild(obs), obs, y, constraint=part, learning_rate=1e-9) for part in parts]
    expected = np.hstack([history.column("multipliers")[1] for history in alone])
    np.testing.assert_allclose(both.column("multipliers")[1], expected, rtol=1e-6)
    with pytest.raises(TypeError, match="constraint must be a Constraint"):
        train(wild(obs), obs, y, constraint=[Descent(), "distance"])
