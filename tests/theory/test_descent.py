"""The bound that descent gives, against what is measured."""

import numpy as np
import pytest
import torch

from sklearn_unroll import HyperLISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.solvers import ista
from sklearn_unroll.theory import convergence_report
from sklearn_unroll.training import Descent


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(400, 20, 30, sparsity=2, random_state=0)


@pytest.fixture(scope="module")
def model(data):
    trainer = Trainer(max_epochs=2, constraint=Descent(epsilon=0.2))
    return LISTARegressor(data.dictionary, n_layers=5, trainer=trainer).fit(data.X, data.y)


@pytest.mark.parametrize("kind", ["distance", "gradient", "objective"])
@pytest.mark.parametrize("epsilon", [0.01, 0.2, 0.7])
def test_the_mean_never_exceeds_its_bound(data, model, kind, epsilon):
    report = convergence_report(model, data.X, data.y, kind=kind, epsilon=epsilon)
    assert (report.sizes <= report.bound + 1e-12).all()
    assert report.radius == pytest.approx(report.slack / epsilon)


def test_sizes_and_descent_are_those_of_the_stages(data, model):
    report = convergence_report(model, data.X, data.y)
    assert report.epsilon == 0.2  # the constraint's
    stages = [np.zeros_like(data.y), *model.staged_predict(data.X)]
    distance = np.array([np.linalg.norm(codes - data.y, axis=1) for codes in stages])
    np.testing.assert_allclose(report.sizes, distance.mean(1), rtol=1e-10)
    np.testing.assert_allclose(report.descending, (distance[1:] < distance[:-1]).mean(1))
    excess = (distance[1:] - 0.8 * distance[:-1]).mean(1)
    np.testing.assert_allclose(report.excess, excess, atol=1e-12)


def test_the_margin_is_hoeffdings_and_shrinks_with_the_samples(data, model):
    few = convergence_report(model, data.X[:40], data.y[:40], epsilon=0.5)
    X, y = np.tile(data.X[:40], (100, 1)), np.tile(data.y[:40], (100, 1))
    many = convergence_report(model, X, y, epsilon=0.5)
    np.testing.assert_allclose(few.excess, many.excess, atol=1e-12)
    assert few.slack - few.excess.max() > 5 * (many.slack - many.excess.max()) > 0


def test_the_slack_is_hoeffdings_for_all_layers_at_once(data, model):
    report = convergence_report(model, data.X, data.y, epsilon=0.3, confidence=0.9)
    stages = [np.zeros_like(data.y), *model.staged_predict(data.X)]
    g = np.array([np.linalg.norm(codes - data.y, axis=1) for codes in stages])
    excess = g[1:] - 0.7 * g[:-1]
    # Each of the five layers may fail with a fifth of the probability.
    margin = np.ptp(excess, 1) * np.sqrt(np.log(5 / 0.1) / (2 * 400))
    assert report.slack == pytest.approx((excess.mean(1) + margin).max(), rel=1e-9)
    np.testing.assert_allclose(report.radius, report.slack / 0.3)


def test_the_descent_asked_is_that_of_the_constraint_of_its_kind(data):
    both = [Descent("gradient", epsilon=0.1), Descent("distance", epsilon=0.3)]
    model = LISTARegressor(data.dictionary, n_layers=2, random_state=0)
    model.set_params(trainer=Trainer(max_epochs=1, constraint=both)).fit(data.X, data.y)
    # It is the training that counts, not what is set for the next one.
    model.set_params(trainer=Trainer(constraint=Descent(epsilon=0.9)))
    found = {
        kind: convergence_report(model, data.X, data.y, kind=kind).epsilon
        for kind in ("gradient", "distance", "objective")
    }
    assert found == {"gradient": 0.1, "distance": 0.3, "objective": 0.05}
    untrained = HyperLISTARegressor(data.dictionary, n_layers=2).fit(data.X)
    assert convergence_report(untrained, data.X, data.y).epsilon == 0.05


def test_the_bound_of_half_the_samples_holds_on_the_other_half(data, model):
    seen = convergence_report(model, data.X[:200], data.y[:200], epsilon=0.1)
    fresh = convergence_report(model, data.X[200:], data.y[200:], epsilon=0.1)
    start = fresh.sizes[0] / seen.sizes[0]
    assert (fresh.sizes <= seen.bound * max(start, 1)).all()


def test_ista_descends_in_every_sample(data):
    alpha = 0.1
    obs = Observation(torch.from_numpy(data.X), Dense(torch.from_numpy(data.dictionary)))
    best = ista(obs, alpha, max_iter=20_000, tol=1e-13).x.numpy()
    still = Trainer(max_epochs=0)
    untrained = LISTARegressor(data.dictionary, alpha=alpha, n_layers=5, trainer=still)
    untrained.fit(data.X)
    report = convergence_report(untrained, data.X, best, kind="objective")
    assert (report.descending >= 0.98).all()  # a few signals are zero
    assert " 99 %" in str(report)


def test_it_says_what_it_needs(data, model):
    with pytest.raises(ValueError, match="kind='distance' needs y"):
        convergence_report(model, data.X)
    with pytest.raises(ValueError, match="kind must be"):
        convergence_report(model, data.X, data.y, kind="speed")
    with pytest.raises(ValueError, match="epsilon must lie between 0 and 1, got 1.5"):
        convergence_report(model, data.X, data.y, epsilon=1.5)


def test_the_model_is_left_as_it_was(data, model):
    before = nmse_db(data.y, model.predict(data.X))
    convergence_report(model, data.X, data.y)
    assert nmse_db(data.y, model.predict(data.X)) == before
