"""Perturbed learning problems: changes vanish with the perturbation, at a measured rate."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import FBSNet, LISTARegressor
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.theory import perturbation_stability


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(100, 10, 20, sparsity=2, snr_db=30, random_state=0)


@pytest.fixture(scope="module")
def model(data):
    model = FBSNet(data.dictionary, n_layers=4, horizon=3.0, random_state=0)
    return model.set_params(trainer__max_epochs=5)


@pytest.fixture(scope="module")
def found(model, data):
    return perturbation_stability(model, data.X, data.y, sizes=(1e-2, 1e-3, 1e-4, 1e-5))


@pytest.mark.parametrize("kind", ["initial", "data", "label"])
def test_changes_vanish_linearly(found, kind):
    assert found.sizes.shape == (4,)
    for changes, rates in (
        (found.value_changes, found.value_rates),
        (found.parameter_changes, found.parameter_rates),
    ):
        assert (np.diff(changes[kind]) < 0).all()
        assert rates[kind] == pytest.approx(1, abs=0.2)
    assert found.parameter_changes[kind][-1] < 1e-3


def test_changes_are_relative_to_what_they_change(model, data, found):
    direction = np.random.default_rng(0).standard_normal(data.y.shape)
    direction *= np.sqrt(np.square(data.y).mean() / np.square(direction).mean())
    label = data.y + 1e-2 * direction
    assert np.linalg.norm(label - data.y) == pytest.approx(1e-2 * np.linalg.norm(data.y))
    base, moved = clone(model).fit(data.X, data.y), clone(model).fit(data.X, label)
    changes = []
    for name in ("W", "tau", "lam"):
        before, after = (
            torch.stack([p.detach().flatten() for p in m.network_.over_depth(name)])
            for m in (base, moved)
        )
        changes.append(float((after - before).norm() / before.norm()))
    alone = perturbation_stability(model, data.X, data.y, "label", sizes=(1e-2, 1e-3))
    assert alone.parameter_changes["label"][0] == pytest.approx(max(changes))
    assert min(changes) > 0


def test_one_kind_alone(model, data, found):
    alone = perturbation_stability(model, data.X, data.y, "initial", sizes=(1e-2, 1e-3))
    assert list(alone.value_changes) == ["initial"]
    np.testing.assert_allclose(alone.value_changes["initial"], found.value_changes["initial"][:2])


def test_a_given_start_is_perturbed_around_itself(model, data):
    x0 = np.full(20, 0.1)
    around = model.__class__(**model.get_params(deep=False)).set_params(x0=x0)
    moved = perturbation_stability(around, data.X, data.y, "initial", sizes=(1e-3, 1e-4))
    assert moved.value_rates["initial"] > 0.8
    assert moved.parameter_rates["initial"] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"perturb": "noise"}, "perturb must name some of"),
        ({"perturb": ()}, "perturb must name some of"),
        ({"sizes": (1e-2,)}, "at least two positive"),
        ({"sizes": (1e-2, 0.0)}, "at least two positive"),
    ],
)
def test_bad_input_is_an_error(model, data, changes, match):
    with pytest.raises(ValueError, match=match):
        perturbation_stability(model, data.X, data.y, **changes)


def test_a_start_that_is_not_given_cannot_be_perturbed(data, model):
    for other in (
        LISTARegressor(data.dictionary, n_layers=2),
        FBSNet(data.dictionary, n_layers=2, x0="learned"),
    ):
        other.set_params(trainer__max_epochs=1)
        with pytest.raises(ValueError, match="needs an estimator with a parameter x0"):
            perturbation_stability(other, data.X, data.y, "initial")
