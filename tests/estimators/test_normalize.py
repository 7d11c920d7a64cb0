"""``normalize=True``: codes scale with the data, exactly."""

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_unroll import AdaLISTARegressor, ALISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.training import StageWise

QUICK = Trainer(max_epochs=3, batch_size=80)
ESTIMATORS = {
    "LISTA": LISTARegressor(n_layers=4, trainer=QUICK),
    "step-LISTA": LISTARegressor(n_layers=4, weights="adjoint", trainer=QUICK),
    "ALISTA": ALISTARegressor(
        n_layers=3, trainer=Trainer(schedule=StageWise(rates=(1.0,)), max_epochs=1)
    ),
    "NA-ALISTA": ALISTARegressor(n_layers=3, rule="recurrent", hidden_size=4, trainer=QUICK),
    "Ada-LISTA": AdaLISTARegressor(n_layers=4, trainer=QUICK),
}


@pytest.fixture(scope="module", params=ESTIMATORS)
def fitted(request, data):
    model = clone(ESTIMATORS[request.param]).set_params(normalize=True, random_state=0)
    return model.set_params(dictionary=data.dictionary).fit(data.X, data.y)


def test_codes_scale_with_the_data(data, fitted):
    codes = fitted.predict(data.X)
    np.testing.assert_allclose(fitted.predict(1000 * data.X), 1000 * codes, rtol=1e-9, atol=1e-9)
    many, each = np.tile(data.X, (3, 1)), np.geomspace(1e-6, 1e6, 720)[:, None]
    np.testing.assert_allclose(
        fitted.predict(each * many) / each, np.tile(codes, (3, 1)), rtol=1e-9, atol=1e-12
    )
    assert codes.any()


def test_zero_observations_have_zero_codes_and_spoil_no_others(data, fitted):
    X = data.X.copy()
    X[[0, 7]] = 0
    codes = fitted.predict(X)
    assert not codes[[0, 7]].any()
    np.testing.assert_allclose(codes[1:7], fitted.predict(data.X)[1:7], rtol=0, atol=1e-12)


def test_the_last_stage_is_the_prediction(data, fitted):
    X = np.geomspace(0.1, 10, 240)[:, None] * data.X
    *_, last = fitted.staged_predict(X)
    np.testing.assert_array_equal(last, fitted.predict(X))


def test_score_without_y_weighs_the_l1_norm_by_the_size_of_the_observation(data, fitted):
    X = np.geomspace(0.01, 10, 240)[:, None] * data.X
    codes, relative = fitted.predict(X), np.linalg.norm(X, axis=1) / fitted.norm_
    relative *= fitted.scale_.codes * fitted.scale_.atoms
    value = 0.5 * ((X - codes @ data.dictionary) ** 2).sum(1)
    value += fitted.alpha * relative * np.abs(codes).sum(1)
    assert fitted.score(X) == pytest.approx(-value.mean())
    weight = np.arange(240.0)
    assert fitted.score(X, sample_weight=weight) == pytest.approx(
        -np.average(value, weights=weight)
    )


def test_norm_is_the_mean_norm_of_the_data_of_fit(data, fitted):
    norms = np.linalg.norm(data.X, axis=1)
    assert fitted.norm_ == pytest.approx(norms.mean())
    weight = np.arange(240.0)
    model = clone(fitted).fit(data.X, data.y, sample_weight=weight)
    assert model.norm_ == pytest.approx(np.average(norms, weights=weight))
    assert model.set_params(normalize=False).fit(data.X, data.y).norm_ is None


def test_fit_is_that_of_data_of_equal_norm(data, model):
    size = np.geomspace(0.1, 10, 240)[:, None]
    X, y = size * data.X, size * data.y
    relative = np.linalg.norm(X, axis=1, keepdims=True)
    relative /= relative.mean()
    by_hand = clone(model).fit(X / relative, y / relative).predict(X / relative)
    codes = model.set_params(normalize=True).fit(X, y).predict(X)
    np.testing.assert_allclose(codes, relative * by_hand, rtol=0, atol=1e-9)


@pytest.mark.parametrize("normalize", [False, True])
def test_a_parameter_that_changed_after_fit_changes_nothing_until_the_next(data, model, normalize):
    model.set_params(normalize=normalize).fit(data.X, data.y)
    before, score = model.predict(5 * data.X), model.score(5 * data.X)
    model.set_params(normalize=not normalize)
    np.testing.assert_array_equal(model.predict(5 * data.X), before)
    assert model.score(5 * data.X) == score
    assert (model.fit(data.X, data.y).norm_ is None) == normalize


def test_fits_that_go_on_keep_the_norm(data, model):
    model.set_params(normalize=True).fit(data.X, data.y)
    norm = model.norm_
    assert model.partial_fit(10 * data.X, 10 * data.y).norm_ == norm
    assert model.set_params(warm_start=True).fit(10 * data.X, 10 * data.y).norm_ == norm
    cold = model.set_params(warm_start=False).fit(10 * data.X, 10 * data.y)
    assert cold.norm_ == pytest.approx(10 * norm)
    stream = clone(model).partial_fit(data.X[:50], data.y[:50])
    assert stream.norm_ == pytest.approx(np.linalg.norm(data.X[:50], axis=1).mean())
    assert stream.partial_fit(data.X[50:], data.y[50:]).norm_ == stream.norm_


def test_without_labels_it_learns_the_problem_whose_alpha_is_relative(data, model, assert_below):
    X = np.geomspace(0.01, 10, 240)[:, None] * data.X
    model.set_params(normalize=True, trainer__max_epochs=30, trainer__learning_rate=3e-3)
    start = clone(model).set_params(trainer__max_epochs=0)
    assert_below(model.fit(X).score(X) / start.fit(X).score(X), 0.9)  # both are negative
