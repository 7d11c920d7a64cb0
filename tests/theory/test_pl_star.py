"""The report's arithmetic, the descent it reports on, and what it refuses to say."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from sklearn_unroll import FeedForwardRegressor, HyperLISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.theory import (
    gradient_descent_path,
    gradient_descent_step,
    hessian_spectral_norm,
    pl_star_report,
    tangent_kernel,
    untrained,
)
from sklearn_unroll.training import DivergenceError

NETWORK = {"weights": "free", "shrinkage": "smooth", "init": "normal", "alpha": 1.0}


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(4, 4, 20, sparsity=2, random_state=0)


@pytest.fixture(scope="module")
def model():
    return LISTARegressor(**NETWORK, n_layers=3, random_state=0)


@pytest.fixture(scope="module")
def path(model, data):
    return gradient_descent_path(model, data.X, data.y, n_steps=200, n_states=5, random_state=0)


def loss(estimator, data):
    return 0.5 * ((estimator.predict(data.X) - data.y) ** 2).sum()


def test_untrained_takes_no_step_and_leaves_the_template(model, data):
    start = untrained(model, data.X, data.y)
    assert not hasattr(model, "network_")
    assert model.trainer is None
    other = LISTARegressor(**NETWORK, n_layers=3, random_state=0)
    other.set_params(trainer=Trainer(schedule="stage_wise", learning_rate=0.5))
    again = untrained(other, data.X, data.y)
    for one, two in zip(start.network_.parameters(), again.network_.parameters(), strict=True):
        assert torch.equal(one, two)
    for thing in (HyperLISTARegressor(data.dictionary), Ridge(), 3):
        with pytest.raises(TypeError, match="An estimator with a trainer is needed"):
            untrained(thing, data.X, data.y)


def test_the_path_is_plain_gradient_descent(model, data, path):
    network = untrained(model, data.X, data.y).network_
    y = torch.from_numpy(data.y)
    obs = Observation(torch.from_numpy(data.X), Dense(torch.from_numpy(data.dictionary)))
    step = gradient_descent_step(network, obs, data.y, random_state=0)
    assert path.step == pytest.approx(step)
    np.testing.assert_array_equal(path.steps, [0, 2, 7, 23, 69, 200])
    parameters = list(network.parameters())
    for number in range(70):
        if number in path.steps:
            state = path.estimators[path.steps.tolist().index(number)]
            for one, two in zip(parameters, state.network_.parameters(), strict=True):
                torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
        squared = 0.5 * (network(obs) - y).square().sum()
        gradients = torch.autograd.grad(squared, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= step * gradient
    losses = [loss(state, data) for state in path.estimators]
    assert np.all(np.diff(losses) < 0)


def test_the_report_against_its_formulas(data, path):
    start, X, y = path.estimators[0], data.X[:2], data.y[:2]
    report = pl_star_report(start, X, y, n_outputs=40, random_state=0)
    values = np.linalg.eigvalsh(tangent_kernel(start, X))
    hessian = max(
        hessian_spectral_norm(start, X, readout=s, random_state=0).max() for s in range(20)
    )
    residual = np.linalg.norm(start.predict(X) - y)
    assert (report.n_samples, report.n_components, report.n_parameters) == (2, 20, 1440)
    assert report.smallest_eigenvalue == pytest.approx(values[0], rel=1e-6)
    assert report.lipschitz == pytest.approx(np.sqrt(values[-1]))
    assert report.condition_number == pytest.approx(values[-1] / values[0], rel=1e-6)
    assert report.hessian_norm == pytest.approx(hessian, rel=2e-2)
    assert report.n_examined == 40
    assert report.residual == pytest.approx(residual)
    assert report.step == pytest.approx(
        1 / (values[-1] + np.sqrt(2) * report.hessian_norm * residual)
    )
    mu, L, H = values[0] / 2, report.lipschitz, report.hessian_norm
    R = report.certified_radius
    assert (values[0] - mu) / (2 * L * np.sqrt(2) * R) == pytest.approx(H)
    assert report.needed_radius == pytest.approx(2 * L * residual / mu)
    T, R = report.largest_n_samples, report.needed_radius
    assert (values[0] - mu) / (2 * L * np.sqrt(T) * R) == pytest.approx(H)
    assert report.path is None
    fewer = pl_star_report(start, X, y, n_outputs=3, random_state=0)
    assert fewer.hessian_norm <= report.hessian_norm * 1.02
    assert fewer.n_examined == 3


def test_pl_star_holds_along_the_path_and_nothing_is_certified(data, path):
    report = pl_star_report(path.estimators[0], data.X, data.y, path=path, random_state=0)
    along = report.path
    assert along.held.all()
    assert along.kernel_change[0] == along.distances[0] == 0
    assert along.kernel_change[-1] > 0.01
    np.testing.assert_allclose(along.losses, [loss(e, data) for e in path.estimators])
    # The ratio is r' K r / r' r, by a gradient that knows no K.
    for number, estimator in enumerate(path.estimators):
        r = (estimator.predict(data.X) - data.y).ravel()
        K = tangent_kernel(estimator, data.X)
        assert along.ratios[number] == pytest.approx(r @ K @ r / (r @ r), rel=1e-9)
    # Where the eigenvalue is a bound along all of the path, the loss falls at its rate.
    mu = along.smallest.min()
    assert np.all(along.losses <= (1 - path.step * mu) ** path.steps * along.losses[0])
    assert report.certified_radius < 1e-3 * along.distances[-1] < report.needed_radius
    text = str(report)
    assert "No guarantee: the radius certified is smaller than the one needed." in text
    assert "held at 6 of 6" in text
    assert "1,440 >= 80" in text
    assert repr(report) == text


def test_a_violated_inequality_would_be_told(data, path):
    along = pl_star_report(path.estimators[0], data.X, data.y, path=path).path
    broken = along._replace(ratios=np.where(along.steps == 7, 0.5 * along.smallest, along.ratios))
    assert broken.held.tolist() == [True, True, False, True, True, True]


def test_fewer_parameters_than_numbers_to_fit():
    many = make_sparse_recovery(30, 4, 10, sparsity=2, random_state=0)
    model = FeedForwardRegressor(n_layers=2, random_state=0)
    start = untrained(model, many.X, many.y)
    with pytest.warns(UserWarning, match="P = 140 parameters for m T = 300"):
        report = pl_star_report(start, many.X, many.y, random_state=0)
    assert report.smallest_eigenvalue == report.certified_radius == report.largest_n_samples == 0
    assert report.needed_radius == float("inf")
    assert "140 < 300" in str(report)
    assert "No guarantee: fewer parameters than numbers to fit" in str(report)


def test_what_is_said_where_the_numbers_are_good(data, path):
    report = pl_star_report(path.estimators[0], data.X, data.y)
    near = report._replace(hessian_norm=1e-12)
    assert near.certified_radius > near.needed_radius
    assert "Not excluded: a proof needs" in str(near)
    assert "guarantee" not in str(near).lower().replace("not excluded", "")
    lost = report._replace(smallest_eigenvalue=1e-18)
    assert "lambda_0 cannot be told from zero" in str(lost)
    affine = report._replace(hessian_norm=0.0)
    assert affine.certified_radius == affine.largest_n_samples == float("inf")


def test_networks_without_a_closed_form_are_reported_on_too(data, assert_below):
    model = LISTARegressor(data.dictionary, n_layers=2, alpha=0.3, init="ista", random_state=0)
    path = gradient_descent_path(model, data.X, data.y, n_steps=10, n_states=2, random_state=0)
    twice = np.tile(data.X, (4, 1)), np.tile(data.y, (4, 1))
    with pytest.warns(UserWarning, match="P = 162 parameters for m T = 320"):
        pl_star_report(path.estimators[0], *twice, random_state=0)
    report = pl_star_report(path.estimators[0], data.X, data.y, path=path, random_state=0)
    assert report.path.held.all()
    assert_below(report.path.losses[-1] / report.path.losses[0], 0.95)


@pytest.mark.filterwarnings("ignore:In .* epochs of stage .* the monitored loss jumped")
def test_steps_that_are_too_long_are_told(data):
    model = FeedForwardRegressor(n_layers=6, random_state=0)
    with pytest.raises(DivergenceError, match="Pass a shorter one, step="):
        gradient_descent_path(model, data.X, data.y, n_steps=50, step=1e4)
    with pytest.warns(UserWarning, match=r"The loss rose in \d+ of 40 steps"):
        gradient_descent_path(
            LISTARegressor(**NETWORK, n_layers=3, random_state=0),
            data.X,
            data.y,
            n_steps=40,
            n_states=2,
            step=0.6,
        )


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ({"n_steps": 0}, ValueError, "n_steps == 0"),
        ({"n_states": 1.5}, TypeError, "n_states must be an instance"),
        ({"step": 0.0}, ValueError, "step == 0"),
        ({"step": "theory"}, TypeError, "step must be an instance"),
    ],
)
def test_wrong_use_of_the_path_is_told(model, data, arguments, error, match):
    with pytest.raises(error, match=match):
        gradient_descent_path(model, data.X, data.y, **arguments)


def test_wrong_use_of_the_report_is_told(data, path):
    start = path.estimators[0]
    for y in (data.y[:3], data.y * np.nan):
        with pytest.raises(ValueError, match="X has 4 rows and y 3|Input y contains NaN"):
            pl_star_report(start, data.X, y)
    obs, _ = start.observe(data.X)
    with pytest.raises(ValueError, match=r"codes of shape \(4, 20\), got \(3, 20\)"):
        pl_star_report(start.network_, obs, data.y[:3])
    with pytest.raises(ValueError, match="y contains NaN"):
        pl_star_report(start.network_, obs, data.y * np.nan)
    with pytest.raises(ValueError, match="needs y"):
        pl_star_report(start, data.X, None)
    with pytest.raises(ValueError, match="n_outputs == 0"):
        pl_star_report(start, data.X, data.y, n_outputs=0)
    with pytest.raises(MemoryError, match="80 rows"):
        pl_star_report(start, data.X, data.y, memory_limit=1e4)
    with pytest.raises(TypeError, match="theory.untrained"):
        pl_star_report(LISTARegressor(), data.X, data.y)
