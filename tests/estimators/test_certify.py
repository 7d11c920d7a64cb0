"""How far an estimator's codes are from the lasso's optimum."""

import numpy as np
import pytest

from sklearn_unroll import (
    AdaLISTARegressor,
    HyperLISTARegressor,
    LassoCoder,
    LISTARegressor,
    Trainer,
)
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import duality_gap

ALPHA = 0.1


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(60, 20, 30, sparsity=3, random_state=0)


def short(**params):
    return LISTARegressor(alpha=ALPHA, n_layers=6, trainer=Trainer(max_epochs=3), **params)


def objective(X, codes, D, alpha=ALPHA):
    return 0.5 * np.square(X - codes @ D).sum(1) + alpha * np.abs(codes).sum(1)


def test_the_gap_is_that_of_the_predicted_codes_and_bounds_the_excess(data):
    model = short(dictionary=data.dictionary).fit(data.X)
    gaps = model.certify(data.X)
    codes = model.predict(data.X)
    expected = duality_gap(data.X, codes, data.dictionary, ALPHA)
    np.testing.assert_allclose(gaps, expected, rtol=1e-12, atol=1e-15)
    best = LassoCoder(data.dictionary, ALPHA, tol=1e-12).fit(data.X).transform(data.X)
    D = data.dictionary
    excess = objective(data.X, codes, D) - objective(data.X, best, D)
    size = 0.5 * np.square(data.X).sum(1)
    assert (excess > 1e-6 * size).any()
    assert (excess <= gaps * size + 1e-12).all()


def test_polished_codes_have_no_gap_left(data):
    model = short(dictionary=data.dictionary).fit(data.X)
    coder = LassoCoder(alpha=ALPHA, warm_start_from=model, tol=1e-10).fit(data.X)
    gaps = duality_gap(data.X, coder.transform(data.X), data.dictionary, ALPHA)
    assert gaps.max() <= 1e-10 < model.certify(data.X).min()


def test_float32_codes_are_judged_in_float64(data):
    X, D = data.X.astype("float32"), data.dictionary.astype("float32")
    model = short(dictionary=D).fit(X)
    gaps = model.certify(X)
    assert gaps.dtype == np.float64
    expected = duality_gap(X.astype(float), model.predict(X), D.astype(float), ALPHA)
    np.testing.assert_allclose(gaps, expected, rtol=1e-12)


def test_alpha_of_a_call_comes_first_and_may_differ_by_sample(data):
    model = short(dictionary=data.dictionary).fit(data.X)
    alpha = np.linspace(0.05, 0.5, len(data.X))
    expected = duality_gap(data.X, model.predict(data.X), data.dictionary, alpha)
    np.testing.assert_allclose(model.certify(data.X, alpha), expected, rtol=1e-10, atol=1e-14)


def test_with_normalize_alpha_is_relative_to_the_observation(data):
    model = short(dictionary=data.dictionary, normalize=True).fit(data.X)
    np.testing.assert_allclose(model.certify(7 * data.X), model.certify(data.X), rtol=1e-9)


def test_every_sample_may_have_its_own_dictionary(data):
    rng = np.random.default_rng(0)
    own = rng.standard_normal((40, 30, 20))
    own /= np.linalg.norm(own, axis=2, keepdims=True)
    X = rng.standard_normal((40, 20))
    model = AdaLISTARegressor(alpha=ALPHA, n_layers=3, trainer=Trainer(max_epochs=2))
    model.fit(X, operators=own)
    gaps = model.certify(X, operators=own)
    codes = model.predict(X, operators=own)
    for i in range(3):
        one = duality_gap(X[i : i + 1], codes[i : i + 1], own[i], ALPHA)
        np.testing.assert_allclose(gaps[i : i + 1], one, rtol=1e-10)


def test_without_an_alpha_one_must_be_given(data):
    model = HyperLISTARegressor(data.dictionary).fit(data.X)
    with pytest.raises(ValueError, match="HyperLISTARegressor has no alpha of its own"):
        model.certify(data.X)
    assert (model.certify(data.X, 0.01) >= 0).all()


@pytest.mark.parametrize("alpha", [0.0, -1.0, [0.1, 0.2]])
def test_a_wrong_alpha_is_refused(data, alpha):
    model = short(dictionary=data.dictionary).fit(data.X)
    with pytest.raises(ValueError, match="alpha must be"):
        model.certify(data.X, alpha)
