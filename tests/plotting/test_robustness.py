"""Displays of descent, multipliers and robustness show the numbers they are given."""

import numpy as np
import pytest

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.plotting import DescentDisplay, MultiplierDisplay, RobustnessDisplay
from sklearn_unroll.theory import convergence_report, robustness
from sklearn_unroll.training import Descent


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(60, 8, 12, random_state=0)


@pytest.fixture(scope="module")
def model(data):
    trainer = Trainer(max_epochs=3, constraint=Descent())
    return LISTARegressor(data.dictionary, n_layers=4, trainer=trainer).fit(data.X, data.y)


def test_descent_shows_sizes_and_shares(data, model):
    display = DescentDisplay.from_estimator({"a": model, "b": model}, data.X, data.y)
    report = convergence_report(model, data.X, data.y)
    assert [line.get_label() for line in display.lines_] == ["a", "b"]
    np.testing.assert_allclose(display.lines_[0].get_ydata(), report.sizes[1:])
    assert display.ax_.get_ylabel() == "mean distance"
    display.plot("descending")
    np.testing.assert_allclose(display.lines_[1].get_ydata(), 100 * report.descending)
    with pytest.raises(ValueError, match="quantity must be"):
        display.plot("speed")


def test_multipliers_show_one_curve_a_layer(data, model):
    display = MultiplierDisplay.from_estimator(model, quantity="excess")
    found = np.array([line.get_ydata() for line in display.lines_]).T
    np.testing.assert_array_equal(found, model.history_.column("excess"))
    free = LISTARegressor(data.dictionary, n_layers=2, trainer=Trainer(max_epochs=1))
    with pytest.raises(ValueError, match="The fit had no constraint"):
        MultiplierDisplay.from_estimator(free.fit(data.X, data.y))
    with pytest.raises(ValueError, match="quantity must be"):
        display.plot("loss")


def test_robustness_shows_a_curve_for_each_disturbance(data, model):
    options = {"scales": (0, 1, 10), "where": ("layers", "input")}
    display = RobustnessDisplay.from_estimator({"net": model}, data.X, data.y, **options)
    curves = robustness(model, data.X, data.y, **options)
    assert [line.get_label() for line in display.lines_] == ["net, layers", "net, input"]
    for line, error in zip(display.lines_, curves.error.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), error)
