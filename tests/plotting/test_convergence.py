import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_unroll import HyperLISTARegressor, LassoCoder, LISTARegressor, Trainer
from sklearn_unroll.functional import NonnegativeL1
from sklearn_unroll.metrics import duality_gap, nmse_db
from sklearn_unroll.plotting import ConvergenceDisplay
from sklearn_unroll.solvers import ADMM, FISTA, CompositeDescent, NesterovDescent, iterates
from tests.estimator_table import case, fitted


def test_curves_hold_what_they_say(model, data):
    display = ConvergenceDisplay.from_estimator(model, data.X, data.y, name="net")
    expected = [nmse_db(data.y, z) for z in model.staged_predict(data.X)]
    np.testing.assert_array_equal(display.curves["net"], expected)
    assert [line.get_label() for line in display.lines_] == ["net", "ista", "fista"]
    assert {len(curve) for curve in display.curves.values()} == {4}
    assert display.ax_.get_ylabel() == "NMSE (dB)"


@pytest.fixture
def absolute(model, data):
    """Return a network for one alpha for all observations."""
    return clone(model).set_params(normalize=False).fit(data.X, data.y)


def test_without_y_the_gap_is_shown(absolute, data):
    model = absolute
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
    methods = {
        "restarted": lambda problem: FISTA(problem, model.alpha),
        "plain": lambda problem: NesterovDescent(restart=False),
        "admm": lambda problem: ADMM(problem, model.alpha),
    }
    display = ConvergenceDisplay.from_estimator(model, data.X, compare_with=methods)
    reference = ConvergenceDisplay.from_estimator(model, data.X, compare_with="fista")
    np.testing.assert_allclose(display.curves["restarted"], reference.curves["fista"])
    assert not np.array_equal(display.curves["admm"], display.curves["restarted"])
    assert not np.array_equal(display.curves["plain"], display.curves["restarted"])


def test_alpha_is_the_estimators_unless_it_is_given(absolute, data):
    model = absolute
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
    with pytest.raises(ValueError, match="has no alpha for the duality gap to use; pass alpha"):
        ConvergenceDisplay.from_estimator(model, data.X, compare_with=())
    alone = ConvergenceDisplay.from_estimator(model, data.X, data.y, compare_with=())
    assert set(alone.curves) == {"HyperLISTARegressor"}
    display = ConvergenceDisplay.from_estimator(model, data.X, alpha=0.1)
    assert set(display.curves) == {"HyperLISTARegressor", "fista", "ista"}


def test_wrong_use_is_told(model, data):
    with pytest.raises(ValueError, match=r"unknown solvers \['adam'\].*'fista', 'ista'"):
        ConvergenceDisplay.from_estimator(model, data.X, compare_with=["adam"])
    with pytest.raises(ValueError, match="name='ista' is also that of a solver"):
        ConvergenceDisplay.from_estimator(model, data.X, name="ista")
    with pytest.raises(ValueError, match=r"Give y.*or problem=estimator.problem\(X\)"):
        ConvergenceDisplay.from_predictions({"a": [data.y]})
    with pytest.raises(NotFittedError):
        ConvergenceDisplay.from_estimator(LISTARegressor(data.dictionary), data.X)
    coder = LassoCoder(data.dictionary).fit(data.X)
    with pytest.raises(TypeError, match="LassoCoder gives no codes layer by layer"):
        ConvergenceDisplay.from_estimator(coder, data.X)


def relative_gaps(problem, codes):
    """Return F(z) - F* over F(0), with F* by many iterations of another solver."""
    *_, best = iterates(NesterovDescent(), problem, 1000)
    z = torch.as_tensor(codes).to(best)
    return ((problem.value(z) - problem.value(best)) / problem.value(0 * z)).numpy()


@pytest.mark.parametrize(
    "name", ["FBSNet, elastic net", "LISTA, normalize", "Ada-LISTA, operators"]
)
def test_gaps_and_classical_curves_are_those_of_the_problem_that_is_stated(name):
    entry, model = case(name), fitted(name)
    display = ConvergenceDisplay.from_estimator(model, entry.X, **entry.metadata)
    gap = model.certify(entry.X, **entry.metadata).mean()
    own = display.curves[type(model).__name__]
    assert own[-1] == pytest.approx(gap, rel=1e-9)
    problem = model.problem(entry.X, **entry.metadata)
    *_, last = iterates(CompositeDescent(), problem, len(own))
    assert display.curves["ista"][-1] >= relative_gaps(problem, last).mean() > 0
    *_, last = iterates(CompositeDescent(), problem, 1000)
    long = ConvergenceDisplay.from_predictions({"ista": [last]}, problem=problem)
    assert long.curves["ista"][0] < 1e-5


@pytest.mark.parametrize("name", ["LassoCoder", "LassoCoder, relative"])
def test_codes_are_judged_by_the_problem_of_any_coder(name):
    entry, coder = case(name), fitted(name)
    problem, codes = coder.problem(entry.X), coder.transform(entry.X)
    assert isinstance(problem.R, NonnegativeL1) == (name != "LassoCoder")
    staged = {"exact": [codes], "zero": [0 * codes], "near": [0.9 * codes]}
    curves = ConvergenceDisplay.from_predictions(staged, problem=problem).curves
    assert curves["exact"] == pytest.approx(coder.certify(entry.X).mean(), abs=1e-12)
    assert curves["exact"] < 1e-6 < relative_gaps(problem, 0.9 * codes).mean() <= curves["near"]
    assert curves["near"] < curves["zero"] <= 1


def test_gaps_of_single_precision_data_are_resolved(data):
    X, D = data.X.astype("float32"), data.dictionary.astype("float32")
    exact = LassoCoder(D.astype(float), tol=1e-12).fit(X.astype(float)).transform(X.astype(float))
    problem = LassoCoder(D).fit(X).problem(X)
    display = ConvergenceDisplay.from_predictions({"exact": [exact]}, problem=problem)
    assert display.curves["exact"][0] < 1e-11
