"""Metrics on values found by hand, their invariances, and the scorers in a model search."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import Lasso, Ridge
from sklearn.metrics import f1_score, precision_score, recall_score
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

PAIRED = [nmse_db, nmse_db_median, support_f1, support_precision, support_recall]
SCORERS = {name: getattr(metrics, name) for name in metrics.__all__ if name.endswith("_scorer")}


def codes(n_samples=30, n_components=12, seed=0):
    """Return sparse codes, and the same with noise, false entries and missed ones."""
    rng = np.random.RandomState(seed)
    noise, y = 0.1 * rng.standard_normal((2, n_samples, n_components))
    kept, false, missed = rng.uniform(size=(3, n_samples, n_components)) < [
        [[0.4]],
        [[0.5]],
        [[0.1]],
    ]
    y = 10 * y * kept
    return y, (y + noise * false) * ~missed


# NMSE


def test_nmse_by_hand():
    y_true = np.array([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]])
    y_pred = np.array([[3.0, 4.5], [0.1, 1.0], [0.0, 0.2]])
    # Energies of error .25, .01, .04 and of signal 25, 1, 0.
    assert_allclose(nmse_db(y_true, y_pred), 10 * np.log10(0.30 / 26))
    per_sample = nmse_db(y_true, y_pred, aggregate="none")
    assert_allclose(per_sample, [-20, -20, np.nan])
    assert_allclose(nmse_db(y_true, y_pred, aggregate="median"), -20)


def test_nmse_median_is_the_median_over_nonzero_samples():
    y_true = np.array([[1.0], [1.0], [1.0], [1.0], [0.0]])
    y_pred = np.array([[1.1], [1.01], [2.0], [11.0], [5.0]])
    # -20, -40, 0 and +20 dB; the last sample is left out.
    assert_allclose(nmse_db_median(y_true, y_pred), -10)
    assert_allclose(nmse_db_median(y_true[:3], y_pred[:3]), -20)
    y_true, y_pred = codes(31)
    assert_allclose(
        nmse_db_median(y_true, y_pred), np.nanmedian(nmse_db(y_true, y_pred, aggregate="none"))
    )


@pytest.mark.parametrize("metric", [nmse_db, nmse_db_median])
def test_nmse_zero_prediction_and_perfect_prediction(metric):
    y, _ = codes()
    assert_allclose(metric(y, np.zeros_like(y)), 0, atol=1e-12)
    assert_allclose(metric(y, 1.1 * y), -20)
    assert metric(y, y) == -np.inf


@pytest.mark.parametrize("metric", [nmse_db, nmse_db_median])
@pytest.mark.parametrize("scale", [-2.5, 1e-200, 1e200])
def test_nmse_invariant_to_common_scaling(metric, scale):
    y_true, y_pred = codes()
    assert_allclose(metric(scale * y_true, scale * y_pred), metric(y_true, y_pred), rtol=1e-12)


def test_nmse_of_a_diverged_prediction_is_infinite():
    assert nmse_db([[1.0], [1.0]], [[1e300], [1.0]]) == np.inf
    assert_allclose(nmse_db([[1.0], [1.0]], [[1e300], [1.1]], sample_weight=[0, 1]), -20)


@pytest.mark.parametrize("aggregate", ["pooled", "median", "none"])
@pytest.mark.parametrize("y_pred", [np.ones((3, 2)), np.zeros((3, 2))])
def test_nmse_of_zero_is_undefined(aggregate, y_pred):
    with pytest.raises(ValueError, match="NMSE is undefined: y_true is zero"):
        nmse_db(np.zeros((3, 2)), y_pred, aggregate=aggregate)


def test_nmse_undefined_where_only_weightless_samples_are_nonzero():
    with pytest.raises(ValueError, match="NMSE is undefined"):
        nmse_db([[1.0], [0.0]], [[1.0], [1.0]], sample_weight=[0, 1])


# Support


def test_support_by_hand():
    y_true = [[1.0, -2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]]
    y_pred = [[5.0, 0.0, 0.1, -0.1], [0.0, 0.0, 0.0, 0.2]]
    assert support_precision(y_true, y_pred) == 2 / 4
    assert support_recall(y_true, y_pred) == 2 / 3
    assert_allclose(support_f1(y_true, y_pred), 4 / 7)
    # Strictly above the threshold, in both arrays: 0.1 is out and 0.2 stays.
    assert support_precision(y_true, y_pred, threshold=0.1) == 1
    assert support_recall(y_true, y_pred, threshold=0.1) == 2 / 3
    assert support_recall(y_true, y_pred, threshold=1.0) == 0
    assert support_precision(y_true, y_pred, threshold=1.0) == 0


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (support_precision, precision_score),
        (support_recall, recall_score),
        (support_f1, f1_score),
    ],
)
def test_support_is_the_micro_average(ours, theirs):
    y_true, y_pred = codes()
    weight = np.random.RandomState(1).uniform(size=len(y_true))
    for sample_weight in (None, weight):
        expected = theirs(
            abs(y_true) > 0.3, abs(y_pred) > 0.3, average="micro", sample_weight=sample_weight
        )
        assert 0 < expected < 1
        assert_allclose(ours(y_true, y_pred, threshold=0.3, sample_weight=sample_weight), expected)


@pytest.mark.parametrize(
    "metric, y_true, y_pred",
    [
        (support_precision, [[1.0, 0.0]], [[0.0, 0.0]]),
        (support_recall, [[0.0, 0.0]], [[1.0, 0.0]]),
        (support_f1, [[0.0, 0.0]], [[0.0, 0.0]]),
    ],
)
def test_empty_support_follows_zero_division(metric, y_true, y_pred):
    with pytest.warns(UndefinedMetricWarning):
        assert metric(y_true, y_pred) == 0
    assert metric(y_true, y_pred, zero_division=1.0) == 1
    assert np.isnan(metric(y_true, y_pred, zero_division=np.nan))


# PSNR


def test_psnr_by_hand():
    picture = np.full((4, 5), 0.5)
    assert_allclose(psnr(picture, picture + 0.1, data_range=1.0), 20)
    assert_allclose(psnr(255 * picture, 255 * picture + 25.5, data_range=255), 20)
    assert_allclose(psnr(picture, picture + 0.1, data_range=10), 40)
    assert psnr(picture, picture, data_range=1.0) == np.inf
    colour = np.zeros((4, 5, 3))
    colour[..., 0] = 0.3
    assert_allclose(psnr(colour, 0 * colour, data_range=1), 10 * np.log10(3 / 0.09))


# What all metrics of pairs share


@pytest.mark.parametrize("metric", PAIRED)
def test_permuting_samples_and_components_changes_nothing(metric):
    y_true, y_pred = codes()
    rng = np.random.RandomState(0)
    rows, columns = rng.permutation(30)[:, None], rng.permutation(12)
    assert_allclose(metric(y_true[rows, columns], y_pred[rows, columns]), metric(y_true, y_pred))


@pytest.mark.parametrize("metric", PAIRED)
def test_integer_weights_are_repetitions(metric):
    y_true, y_pred = codes()
    weight = np.random.RandomState(0).randint(4, size=30)
    weighted = metric(y_true, y_pred, sample_weight=weight)
    repeated = metric(np.repeat(y_true, weight, axis=0), np.repeat(y_pred, weight, axis=0))
    assert_allclose(weighted, repeated)
    assert abs(weighted - metric(y_true, y_pred)) > 1e-6


@pytest.mark.parametrize("metric", PAIRED)
def test_one_component_may_be_one_dimensional(metric):
    y_true, y_pred = (y.ravel() for y in codes())
    assert metric(y_true, y_pred) == metric(y_true[:, None], y_pred)
    assert metric(y_true, y_pred) == metric(y_true[:, None], y_pred[:, None])


@pytest.mark.parametrize("metric", [*PAIRED, lambda y, z: psnr(y, z, data_range=1.0)])
def test_tensors_and_lists(metric):
    y_true, y_pred = (y.astype(np.float32) for y in codes())
    expected = metric(y_true, y_pred)
    assert metric(y_true.tolist(), y_pred.tolist()) == expected
    assert metric(torch.tensor(y_true), torch.tensor(y_pred, requires_grad=True)) == expected
    exact = torch.tensor(y_pred).bfloat16()
    assert metric(y_true, exact) == metric(y_true, exact.float().numpy())


@pytest.mark.parametrize("metric", [*PAIRED, lambda y, z: psnr(y, z, data_range=1.0)])
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda y: y[:-1], "inconsistent numbers of samples"),
        (lambda y: y[:, :-1], r"y_true has shape \(30, 12\) and y_pred has shape \(30, 11\)"),
        (lambda y: y * np.nan, "y_pred contains NaN"),
        (lambda y: y + np.inf, "y_pred contains infinity"),
        (lambda y: y * 1j, "Complex data not supported"),
        (lambda y: torch.tensor(y * 1j), "Complex data not supported"),
    ],
)
def test_bad_pairs(metric, change, message):
    y, _ = codes()
    with pytest.raises(ValueError, match=message):
        metric(y, change(y))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda y: nmse_db(y, y, aggregate="mean"), "'aggregate'.*'pooled'"),
        (lambda y: nmse_db(y, y, sample_weight=np.zeros(30)), "at least one non-zero"),
        (lambda y: nmse_db(y, y, sample_weight=-np.ones(30)), "Negative values"),
        (lambda y: nmse_db(y[:0], y[:0]), "0 sample"),
        (lambda y: support_f1(y, y, threshold=-1), "'threshold'.*in the range"),
        (lambda y: support_f1(y, y, zero_division=2), "'zero_division'"),
        (lambda y: psnr(y, y, data_range=0), "'data_range'.*in the range"),
    ],
)
def test_bad_parameters(call, message):
    with pytest.raises(ValueError, match=message):
        call(codes()[0])


# Duality gap

ALPHA = 0.1
DATA = make_sparse_recovery(8, 10, 20, sparsity=3, snr_db=20, random_state=0)


def objective(z, X=DATA.X, D=DATA.dictionary, alpha=ALPHA):
    return 0.5 * np.sum((X - z @ D) ** 2, axis=1) + alpha * np.abs(z).sum(axis=1)


def lasso(X, D, alpha):
    """Solve sample by sample with scikit-learn, whose objective is divided by n_features."""
    model = Lasso(alpha / D.shape[1], fit_intercept=False, tol=1e-14, max_iter=10**6)
    return np.stack([model.fit(D.T, x).coef_ for x in X])


@pytest.fixture(scope="module")
def optimum():
    return lasso(DATA.X, DATA.dictionary, ALPHA)


def test_gap_is_zero_at_the_optimum_of_scikit_learn(optimum):
    gap = duality_gap(DATA.X, optimum, DATA.dictionary, ALPHA)
    assert gap.shape == (8,)
    assert gap.dtype == np.float64
    assert_allclose(gap, 0, atol=1e-9)
    off = optimum + 1e-3 * np.random.RandomState(0).standard_normal(optimum.shape)
    assert (duality_gap(DATA.X, off, DATA.dictionary, ALPHA) > 1e-6).all()


def test_gap_is_zero_at_the_optimum_of_cvxpy():
    import cvxpy as cp

    z = cp.Variable(DATA.y.shape)
    value = 0.5 * cp.sum_squares(DATA.X - z @ DATA.dictionary) + ALPHA * cp.sum(cp.abs(z))
    best = cp.Problem(cp.Minimize(value)).solve(solver=cp.CLARABEL)
    gap = duality_gap(DATA.X, z.value, DATA.dictionary, ALPHA, relative=False)
    assert_allclose(gap, 0, atol=1e-6)
    # The sum of the gaps certifies that cvxpy's value is the best.
    assert_allclose(objective(z.value).sum(), best, rtol=1e-6)


@pytest.mark.parametrize("size", [0, 1e-4, 1e-2, 1, 100])
def test_weak_duality(optimum, size):
    z = optimum + size * np.random.RandomState(0).standard_normal(optimum.shape)
    excess = objective(z) - objective(optimum)
    gap = duality_gap(DATA.X, z, DATA.dictionary, ALPHA, relative=False)
    assert (gap >= excess - 1e-12).all()
    assert (gap >= 0).all()


def test_gap_relative_to_the_zero_code():
    X, D = DATA.X, DATA.dictionary
    absolute = duality_gap(X, DATA.y, D, ALPHA, relative=False)
    assert_allclose(duality_gap(X, DATA.y, D, ALPHA), absolute / (0.5 * np.sum(X**2, axis=1)))
    zero = np.zeros_like(DATA.y)
    assert (duality_gap(X, zero, D, ALPHA) <= 1).all()
    # From alpha = max |x D^T| on, the zero code is the optimum.
    assert_allclose(duality_gap(X, zero, D, np.abs(X @ D.T).max(axis=1)), 0, atol=1e-14)
    assert_array_equal(duality_gap(0 * X, zero, D, ALPHA), 0)


def test_gap_with_alpha_and_dictionary_per_sample():
    data = make_sparse_recovery(4, 5, 9, sparsity=2, per_sample_dictionary=True, random_state=0)
    alpha = np.array([0.1, 0.2, 0.3, 0.4])
    z = 0.9 * data.y
    together = duality_gap(data.X, z, data.dictionary, alpha)
    alone = [duality_gap(data.X[[j]], z[[j]], data.dictionary[j], alpha[j])[0] for j in range(4)]
    assert (together > 0).all()
    assert_allclose(together, alone, rtol=1e-12)


def test_gap_of_tensors_readonly_and_single_precision():
    expected = duality_gap(DATA.X, DATA.y, DATA.dictionary, ALPHA)
    tensors = [torch.tensor(a, requires_grad=True) for a in (DATA.X, DATA.y, DATA.dictionary)]
    assert_array_equal(duality_gap(*tensors, torch.tensor(ALPHA, dtype=torch.float64)), expected)
    readonly = [a.copy() for a in (DATA.X, DATA.y, DATA.dictionary)]
    for array in readonly:
        array.setflags(write=False)
    assert_array_equal(duality_gap(*readonly, ALPHA), expected)
    single = duality_gap(*(a.astype(np.float32) for a in readonly), ALPHA)
    assert single.dtype == np.float64
    assert_allclose(single, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dictionary": DATA.dictionary.T}, r"transposed: pass dictionary\.T"),
        (
            {"dictionary": DATA.dictionary[:-1]},
            r"ask for \(n_components, n_features\) = \(20, 10\)",
        ),
        ({"dictionary": np.ones((7, 20, 10))}, "with n_samples=8"),
        ({"dictionary": np.ones((8, 10, 20))}, r"pass dictionary\.transpose\(0, 2, 1\)"),
        ({"dictionary": DATA.dictionary * np.nan}, "dictionary contains NaN"),
        ({"X": DATA.X + np.inf}, "X contains infinity"),
        ({"X": DATA.X[:-1]}, "inconsistent numbers of samples"),
        ({"codes": DATA.y * np.nan}, "codes contains NaN"),
        ({"codes": DATA.y[0]}, "Expected 2D array"),
        ({"alpha": 0}, "alpha must be one positive number"),
        ({"alpha": -0.1}, "alpha must be one positive number"),
        ({"alpha": [0.1] * 7}, r"of shape \(8,\); got shape \(7,\)"),
        ({"alpha": np.nan}, "alpha contains NaN"),
    ],
)
def test_bad_gap_input(change, message):
    params = {"X": DATA.X, "codes": DATA.y, "dictionary": DATA.dictionary, "alpha": ALPHA}
    with pytest.raises(ValueError, match=message):
        duality_gap(**(params | change))


# Scorers


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
