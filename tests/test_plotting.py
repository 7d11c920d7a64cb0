import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import duality_gap, nmse_db
from sklearn_unroll.plotting import ConvergenceDisplay, HistoryDisplay

DATA = make_sparse_recovery(60, n_features=8, n_components=12, sparsity=2, random_state=0)


@pytest.fixture(scope="module")
def model():
    trainer = Trainer(max_epochs=3)
    return LISTARegressor(DATA.dictionary, n_layers=4, trainer=trainer).fit(DATA.X, DATA.y)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_curves_hold_what_they_say(model):
    display = ConvergenceDisplay.from_estimator(model, DATA.X, DATA.y, name="net")
    expected = [nmse_db(DATA.y, z) for z in model.staged_predict(DATA.X)]
    np.testing.assert_allclose(display.curves["net"], expected)
    np.testing.assert_allclose(display.lines_[0].get_ydata(), expected)
    assert [line.get_label() for line in display.lines_] == ["net", "ista", "fista"]
    assert {len(curve) for curve in display.curves.values()} == {4}
    assert display.ax_.get_ylabel() == "NMSE (dB)"


def test_without_y_the_gap_is_shown(model):
    display = ConvergenceDisplay.from_estimator(model, DATA.X, compare_with=["fista"])
    gap = duality_gap(DATA.X, model.predict(DATA.X), DATA.dictionary, model.alpha).mean()
    assert display.curves["LISTARegressor"][-1] == pytest.approx(gap)
    assert set(display.curves) == {"LISTARegressor", "fista"}
    assert display.ax_.get_yscale() == "log"


def test_the_classical_curves_are_those_of_an_untrained_network(model):
    trainer = Trainer(learning_rate=1e-300, max_epochs=1)
    untrained = LISTARegressor(DATA.dictionary, n_layers=4, trainer=trainer).fit(DATA.X)
    display = ConvergenceDisplay.from_estimator(untrained, DATA.X)
    np.testing.assert_allclose(display.curves["LISTARegressor"], display.curves["ista"])


def test_history_display(model):
    display = HistoryDisplay.from_estimator(model)
    losses, monitored = (line.get_ydata() for line in display.lines_)
    np.testing.assert_array_equal(losses, model.history_.column("loss"))
    np.testing.assert_array_equal(monitored, model.history_.column("monitor"))
    assert display.lines_[1].get_label() == "training samples"


@pytest.mark.parametrize("make", [ConvergenceDisplay, HistoryDisplay])
def test_displays_draw_into_given_axes(model, make):
    _, ax = plt.subplots()
    arguments = (model, DATA.X) if make is ConvergenceDisplay else (model,)
    display = make.from_estimator(*arguments, ax=ax, linewidth=3)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert {line.get_linewidth() for line in display.lines_} == {3}


def test_wrong_use_is_told(model):
    with pytest.raises(ValueError, match=r"unknown solvers \['adam'\].*'fista', 'ista'"):
        ConvergenceDisplay.from_estimator(model, DATA.X, compare_with=["adam"])
    with pytest.raises(ValueError, match="Give y.*or all of X, dictionary and alpha"):
        ConvergenceDisplay.from_predictions({"a": [DATA.y]}, X=DATA.X)
    with pytest.raises(NotFittedError):
        ConvergenceDisplay.from_estimator(LISTARegressor(DATA.dictionary), DATA.X)


def test_without_matplotlib_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"sklearn-unroll\[plot\]"):
        HistoryDisplay.from_estimator(model)
