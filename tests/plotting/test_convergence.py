from functools import partial

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_unroll import HyperLISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.metrics import duality_gap, nmse_db
from sklearn_unroll.plotting import ConvergenceDisplay
from sklearn_unroll.solvers import FISTA


def test_curves_hold_what_they_say(model, data):
    display = ConvergenceDisplay.from_estimator(model, data.X, data.y, name="net")
    expected = [nmse_db(data.y, z) for z in model.staged_predict(data.X)]
    np.testing.assert_array_equal(display.curves["net"], expected)
    assert [line.get_label() for line in display.lines_] == ["net", "ista", "fista"]
    assert {len(curve) for curve in display.curves.values()} == {4}
    assert display.ax_.get_ylabel() == "NMSE (dB)"


def test_without_y_the_gap_is_shown(model, data):
    display = ConvergenceDisplay.from_estimator(model, data.X, compare_with=["fista"])
    gap = duality_gap(data.X, model.predict(data.X), data.dictionary, model.alpha).mean()
    assert display.curves["LISTARegressor"][-1] == pytest.approx(gap)
    assert set(display.curves) == {"LISTARegressor", "fista"}
    assert display.ax_.get_yscale() == "log"


def test_the_classical_curves_are_those_of_an_untrained_network(data):
    trainer = Trainer(max_epochs=0)
    untrained = LISTARegressor(data.dictionary, n_layers=4, trainer=trainer).fit(data.X)
    display = ConvergenceDisplay.from_estimator(untrained, data.X)
    np.testing.assert_allclose(display.curves["LISTARegressor"], display.curves["ista"])


def test_any_method_can_be_compared_with(data):
    trainer = Trainer(max_epochs=0)
    model = LISTARegressor(data.dictionary, n_layers=12, trainer=trainer).fit(data.X)
    methods = {"restarted": FISTA, "plain": partial(FISTA, restart=False)}
    display = ConvergenceDisplay.from_estimator(model, data.X, compare_with=methods)
    reference = ConvergenceDisplay.from_estimator(model, data.X, compare_with="fista")
    np.testing.assert_array_equal(display.curves["restarted"], reference.curves["fista"])
    assert not np.array_equal(display.curves["plain"], display.curves["restarted"])


def test_alpha_is_the_estimators_unless_it_is_given(model, data):
    own = ConvergenceDisplay.from_estimator(model, data.X, data.y, alpha=model.alpha)
    other = ConvergenceDisplay.from_estimator(model, data.X, data.y, alpha=2 * model.alpha)
    default = ConvergenceDisplay.from_estimator(model, data.X, data.y)
    np.testing.assert_array_equal(own.curves["ista"], default.curves["ista"])
    assert np.all(own.curves["ista"] != other.curves["ista"])


def test_an_estimator_without_alpha_needs_one_to_compare(data):
    model = HyperLISTARegressor(data.dictionary, n_layers=3).fit(data.X)
    with pytest.raises(
        ValueError, match=r"has no alpha for \['fista', 'ista'\].*compare_with=\(\)"
    ):
        ConvergenceDisplay.from_estimator(model, data.X, data.y)
    alone = ConvergenceDisplay.from_estimator(model, data.X, data.y, compare_with=())
    assert set(alone.curves) == {"HyperLISTARegressor"}
    display = ConvergenceDisplay.from_estimator(model, data.X, alpha=0.1)
    assert set(display.curves) == {"HyperLISTARegressor", "fista", "ista"}


def test_wrong_use_is_told(model, data):
    with pytest.raises(ValueError, match=r"unknown solvers \['adam'\].*'fista', 'ista'"):
        ConvergenceDisplay.from_estimator(model, data.X, compare_with=["adam"])
    with pytest.raises(ValueError, match="name='ista' is also that of a solver"):
        ConvergenceDisplay.from_estimator(model, data.X, name="ista")
    with pytest.raises(ValueError, match="Give y.*or all of X, dictionary and alpha"):
        ConvergenceDisplay.from_predictions({"a": [data.y]}, X=data.X)
    with pytest.raises(NotFittedError):
        ConvergenceDisplay.from_estimator(LISTARegressor(data.dictionary), data.X)
