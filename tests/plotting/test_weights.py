import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from sklearn_unroll import HyperLISTARegressor, LISTARegressor
from sklearn_unroll.functional import Dense
from sklearn_unroll.nn import lista
from sklearn_unroll.plotting import WeightDisplay
from sklearn_unroll.theory import coherence, weight_coupling


def test_curves_hold_what_they_say(model):
    display = WeightDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.curves["LISTARegressor"], coherence(model))
    assert display.ax_.get_ylabel().startswith("coherence")
    display = WeightDisplay.from_estimator(model, quantity="coupling", name="net")
    np.testing.assert_array_equal(display.curves["net"], weight_coupling(model))
    (line,) = display.lines_
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    assert line.get_label() == "net"


def test_several_estimators_share_axes_that_grow(model, data):
    computed = HyperLISTARegressor(data.dictionary, n_layers=6).fit(data.X)
    first = WeightDisplay.from_estimator(model)
    second = WeightDisplay.from_estimator(computed, ax=first.ax_)
    assert second.ax_ is first.ax_
    legend = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert legend == ["LISTARegressor", "HyperLISTARegressor"]
    WeightDisplay(curves={"large": np.full(9, 7.0)}, quantity="coherence").plot(first.ax_)
    assert first.ax_.get_ylim()[0] == 0
    assert first.ax_.get_ylim()[1] > 7
    assert first.ax_.get_xlim()[1] > 9


def test_a_network_with_its_operator_will_do(data):
    A = Dense(torch.from_numpy(data.dictionary))
    network = lista(A, n_layers=3, weights="free")
    display = WeightDisplay.from_estimator(network, A, name="untrained")
    assert display.curves["untrained"].shape == (3,)


def test_infinite_values_are_drawn_as_a_gap():
    curves = {"a": np.array([0.5, np.inf, 0.25])}
    display = WeightDisplay(curves=curves, quantity="coherence").plot()
    display.figure_.canvas.draw()
    assert display.ax_.get_ylim()[1] < 1


def test_wrong_use_is_told(model, data):
    with pytest.raises(ValueError, match=r"one of \['coherence', 'coupling'\], got 'beauty'"):
        WeightDisplay.from_estimator(model, quantity="beauty")
    with pytest.raises(NotFittedError):
        WeightDisplay.from_estimator(LISTARegressor(data.dictionary))
