"""Scorers have the sign and value of their metric, and choose the better model."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_validate

from sklearn_unroll import metrics
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import (
    duality_gap,
    duality_gap_scorer,
    nmse_db,
    nmse_db_median,
    psnr,
    psnr_scorer,
    support_f1,
    support_precision,
    support_recall,
)

SCORERS = {name: getattr(metrics, name) for name in metrics.__all__ if name.endswith("_scorer")}
ALPHA = 0.1
DATA = make_sparse_recovery(8, 10, 20, sparsity=3, snr_db=20, random_state=0)


def define_coder():
    """Return a class that joblib sends as code: workers cannot import a test module."""

    class ISTACoder(BaseEstimator):
        """Codes by n_iter steps of ISTA: what a scorer may ask of an estimator, and no more."""

        def __init__(self, n_iter=10, alpha=ALPHA):
            self.n_iter = n_iter
            self.alpha = alpha

        def fit(self, X, y=None):
            self.dictionary_ = DATA.dictionary
            return self

        def predict(self, X):
            step = 1 / np.linalg.norm(self.dictionary_, 2) ** 2
            z = np.zeros((len(X), len(self.dictionary_)))
            for _ in range(self.n_iter):
                z = z + step * (X - z @ self.dictionary_) @ self.dictionary_.T
                z = np.sign(z) * np.maximum(np.abs(z) - step * self.alpha, 0)
            return z

        def inverse_transform(self, codes):
            return codes @ self.dictionary_

        def certify(self, X):
            return duality_gap(X, self.predict(X), self.dictionary_, self.alpha)

    return ISTACoder


ISTACoder = define_coder()


def test_all_lists_every_public_name():
    public = {
        name
        for name, value in vars(metrics).items()
        if not name.startswith("_") and callable(value)
    }
    assert set(metrics.__all__) == public
    assert len(SCORERS) == 7


def test_scorers_have_the_sign_and_the_value_of_their_metric():
    coder = ISTACoder().fit(DATA.X)
    z = coder.predict(DATA.X)
    score = {name: scorer(coder, DATA.X, DATA.y) for name, scorer in SCORERS.items()}
    assert score == {
        "nmse_db_scorer": -nmse_db(DATA.y, z),
        "nmse_db_median_scorer": -nmse_db_median(DATA.y, z),
        "support_precision_scorer": support_precision(DATA.y, z),
        "support_recall_scorer": support_recall(DATA.y, z),
        "support_f1_scorer": support_f1(DATA.y, z),
        "psnr_scorer": psnr(DATA.X, z @ DATA.dictionary, data_range=1.0),
        "duality_gap_scorer": -duality_gap(DATA.X, z, DATA.dictionary, ALPHA).mean(),
    }
    assert psnr_scorer(coder, DATA.X, data_range=10) == pytest.approx(score["psnr_scorer"] + 20)


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_pickle(name):
    coder = ISTACoder().fit(DATA.X)
    scorer = pickle.loads(pickle.dumps(SCORERS[name]))
    assert scorer(coder, DATA.X, DATA.y) == SCORERS[name](coder, DATA.X, DATA.y)


# Not the recall: the first iterates have nonzeros almost everywhere.
@pytest.mark.parametrize("name", sorted(SCORERS.keys() - {"support_recall_scorer"}))
def test_more_iterations_are_better(name):
    few, many = (SCORERS[name](ISTACoder(n).fit(DATA.X), DATA.X, DATA.y) for n in (1, 300))
    assert many > few


def test_all_scorers_at_once():
    result = cross_validate(ISTACoder(), DATA.X, DATA.y, scoring=SCORERS, cv=2)
    for name, scorer in SCORERS.items():
        expected = [
            scorer(ISTACoder().fit(DATA.X), DATA.X[rows], DATA.y[rows])
            for rows in (slice(0, 4), slice(4, 8))
        ]
        assert_allclose(result[f"test_{name}"], expected, rtol=1e-12)


@pytest.mark.parametrize("scorer", [psnr_scorer, duality_gap_scorer])
def test_search_without_labels(scorer):
    search = GridSearchCV(ISTACoder(), {"n_iter": [1, 100, 10]}, scoring=scorer, cv=2)
    assert search.fit(DATA.X).best_params_ == {"n_iter": 100}


@pytest.mark.parametrize("name", ["nmse_db_scorer", "nmse_db_median_scorer"])
def test_search_with_any_regressor(name):
    data = make_sparse_recovery(200, 12, 10, random_state=0)
    search = GridSearchCV(Ridge(), {"alpha": [1e6, 1e-6, 1.0]}, scoring=SCORERS[name], cv=2)
    assert search.fit(data.X, data.y).best_params_ == {"alpha": 1e-6}
    assert search.best_score_ > 60


def test_scorers_of_a_zero_prediction_do_not_warn():
    zero = ISTACoder(alpha=1e6).fit(DATA.X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SCORERS["support_precision_scorer"](zero, DATA.X, DATA.y) == 0
        assert SCORERS["support_recall_scorer"](zero, DATA.X, 0 * DATA.y) == 0
        assert SCORERS["support_f1_scorer"](zero, DATA.X, 0 * DATA.y) == 0
        assert SCORERS["nmse_db_scorer"](zero, DATA.X, DATA.y) == 0


def test_gap_scorer_names_what_is_missing():
    with pytest.raises(AttributeError, match="'Ridge' object has no attribute 'certify'"):
        duality_gap_scorer(Ridge(), DATA.X)
