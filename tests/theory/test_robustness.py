"""Curves of error over disturbances, against predictions made by hand."""

import numpy as np
import pytest
import torch

from sklearn_unroll import HyperLISTARegressor, LassoCoder, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.theory import robustness


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(100, 20, 30, sparsity=2, random_state=0)


@pytest.fixture(scope="module")
def model(data):
    trainer = Trainer(max_epochs=2)
    model = LISTARegressor(data.dictionary, n_layers=4, guard=None, trainer=trainer)
    return model.fit(data.X, data.y)


def distance(codes, y):
    return np.linalg.norm(codes - y, axis=1).mean()


def test_without_a_disturbance_it_is_the_prediction(data, model):
    curves = robustness(model, data.X, data.y, scales=[0])
    for error in curves.error.values():
        np.testing.assert_allclose(error, distance(model.predict(data.X), data.y), rtol=1e-12)


def test_input_noise_is_in_units_of_the_observations(data, model):
    curves = robustness(model, data.X, data.y, where=["input"], scales=[0.5], random_state=3)
    generator = torch.Generator().manual_seed(3)
    xi = torch.randn(data.X.shape, generator=generator, dtype=torch.float64).numpy()
    disturbed = data.X + 0.5 * np.sqrt(np.square(data.X).mean()) * xi
    expected = distance(model.predict(disturbed), data.y)
    np.testing.assert_allclose(curves.error["input"], expected, rtol=1e-12)


def test_codes_wanted_may_be_those_of_the_disturbed_observations(data):
    coder = LassoCoder(data.dictionary, alpha=0.1).fit(data.X)
    model = LISTARegressor(
        data.dictionary, alpha=0.1, n_layers=30, trainer=Trainer(max_epochs=0)
    ).fit(data.X)
    wanted = coder.transform(data.X)
    options = {"where": ["input"], "scales": [0.5]}
    plain = robustness(model, data.X, wanted, **options).error["input"]
    solved = robustness(model, data.X, wanted, solve=coder.transform, **options).error["input"]
    assert solved < plain / 2


def test_free_weights_do_not_look_at_the_operator(data, model, assert_below):
    free = LISTARegressor(
        data.dictionary, weights="free", n_layers=3, trainer=Trainer(max_epochs=1)
    ).fit(data.X, data.y)
    options = {"where": ["operator"], "scales": [0.0, 3.0]}
    error = robustness(free, data.X, data.y, **options).error["operator"]
    assert error[0] == error[1]
    error = robustness(model, data.X, data.y, **options).error["operator"]
    assert_below(error[0] / error[1], 0.8)


@pytest.mark.parametrize("schedule", ["log_gradient", "unit_norm", "constant"])
def test_layer_noise_grows_with_its_scale(data, model, schedule):
    options = {"where": ["layers"], "scales": [0, 0.1, 1, 10], "schedule": schedule}
    curves = robustness(model, data.X, data.y, **options)
    assert (np.diff(curves.error["layers"]) > 0).all()
    assert curves.descending["layers"].shape == (4, 4)
    again = robustness(model, data.X, data.y, **options)
    np.testing.assert_array_equal(curves.error["layers"], again.error["layers"])


def test_a_network_without_parameters_may_be_disturbed_too(data):
    model = HyperLISTARegressor(data.dictionary).fit(data.X)
    curves = robustness(model, data.X, data.y, scales=[0.0, 0.1])
    assert curves.error["layers"][1] > curves.error["layers"][0]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"where": ["weights"]}, "where must name some of"),
        ({"where": []}, "where must name some of"),
        ({"scales": [-1.0]}, "scales must be nonnegative"),
        ({"scales": []}, "scales must be nonnegative"),
        ({"schedule": "loud"}, "schedule must be one of"),
        ({"y": None}, "needs y"),
    ],
)
def test_what_makes_no_sense_is_refused(data, model, changes, match):
    options = {"y": data.y} | changes
    with pytest.raises(ValueError, match=match):
        robustness(model, data.X, **options)


@pytest.mark.parametrize("kind", ["list", "tensor", "frame"])
def test_observations_of_any_kind_are_disturbed_alike(data, kind):
    pandas = pytest.importorskip("pandas")
    make = {
        "list": lambda X: X.tolist(),
        "tensor": torch.from_numpy,
        "frame": lambda X: pandas.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]),
    }[kind]
    model = LISTARegressor(data.dictionary, n_layers=2, trainer=Trainer(max_epochs=0))
    options = {"where": ["input"], "scales": [0.0, 0.5]}
    expected = robustness(model.fit(data.X), data.X, data.y, **options).error["input"]
    found = robustness(model.fit(make(data.X)), make(data.X), data.y, **options).error["input"]
    np.testing.assert_allclose(found, expected)
