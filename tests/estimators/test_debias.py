"""``debias=``: least squares on the support that the network found."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from sklearn_unroll import ALISTARegressor, HyperLISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import nmse_db

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")


@pytest.fixture(scope="module")
def noisy():
    """300 pairs of 125 features and 250 components at 30 dB, and 300 to test on."""
    train = make_sparse_recovery(300, 125, 250, snr_db=30, random_state=0)
    test = make_sparse_recovery(300, dictionary=train.dictionary, snr_db=30, random_state=1)
    return train, test


def check_normal_equations(X, codes, plain, D):
    """Every row solves them on its support, or came back as it was; return the share of the first.

    :func:`~sklearn_unroll.solvers.debias` gives back what it cannot improve.
    """
    gradient = np.abs((X - codes @ D) @ D.T) * (codes != 0)
    solved = gradient.max(1) < 1e-9 * np.abs(X @ D.T).max(1)
    assert (solved | np.isclose(codes, plain, rtol=0, atol=1e-12).all(1)).all()
    return solved.mean()


@pytest.mark.parametrize("kind", ["least_squares", "repair"])
@pytest.mark.parametrize(
    "make",
    [
        lambda D: LISTARegressor(D, n_layers=20, trainer=Trainer(max_epochs=1)),
        lambda D: LISTARegressor(D, n_layers=20, normalize=True, trainer=Trainer(max_epochs=1)),
        lambda D: ALISTARegressor(D, n_layers=3, trainer=Trainer(max_epochs=1)),
        lambda D: HyperLISTARegressor(D),
    ],
    ids=["LISTA", "normalize", "ALISTA", "HyperLISTA"],
)
def test_codes_solve_the_normal_equations_on_their_support(make, kind):
    data = make_sparse_recovery(60, 30, 40, sparsity=3, snr_db=30, random_state=0)
    norms = np.geomspace(0.5, 2, 40)
    D, y = data.dictionary * norms[:, None], data.y / norms
    plain = make(D).fit(data.X, y).predict(data.X)
    model = make(D).set_params(debias=kind).fit(data.X, y)
    assert model.debias_ == kind
    codes = model.predict(data.X)
    assert check_normal_equations(data.X, plain, plain, D) == 0
    assert check_normal_equations(data.X, codes, plain, D) > 0.9
    if kind == "least_squares":
        assert not codes[plain == 0].any()


def test_noisy_exactly_sparse_pairs_are_recovered_better(noisy):
    train, test = noisy
    error, kind = {}, {}
    for debias in (False, True, "least_squares", "repair"):
        model = HyperLISTARegressor(train.dictionary, debias=debias).fit(train.X, train.y)
        error[debias], kind[debias] = nmse_db(test.y, model.predict(test.X)), model.debias_
    assert error[True] < error[False] - 2
    # True is one of the two: here the repair, which drops entries that are only noise.
    assert kind == {
        False: None,
        True: "repair",
        "least_squares": "least_squares",
        "repair": "repair",
    }
    assert error[True] == error["repair"] < error["least_squares"]


def test_true_takes_what_has_the_least_error_on_the_pairs(data, model, assert_below):
    rng = np.random.default_rng(0)
    model.set_params(n_layers=20)
    compressible = rng.permuted(rng.standard_normal((240, 20)) * 0.8 ** np.arange(20), axis=1)
    against = []
    for y, noise in ((data.y, 0.01), (compressible, 0.3)):
        X = y @ data.dictionary + noise * rng.standard_normal((240, 12))
        error = {}
        for kind in ("least_squares", "repair", False):
            codes = clone(model).set_params(debias=kind).fit(X, y).predict(X)
            error[kind] = ((codes - y) ** 2).sum()
        best = min(error, key=error.get)
        assert clone(model).set_params(debias=True).fit(X, y).debias_ == (best or None)
        against.append(error["repair"] / min(error["least_squares"], error[False]))
    assert_below(against[0], 0.85)  # the best where codes are sparse, not where they are dense
    assert_below(1 / against[1], 0.92)


def test_true_without_pairs_keeps_the_support(data, model):
    assert model.set_params(debias=True).fit(data.X).debias_ == "least_squares"
    assert HyperLISTARegressor(data.dictionary, debias=True).fit(data.X).debias_ == "least_squares"


def test_only_the_last_stage_is_debiased(data, model):
    plain = list(clone(model).fit(data.X, data.y).staged_predict(data.X))
    model.set_params(debias="least_squares").fit(data.X, data.y)
    *stages, last = model.staged_predict(data.X)
    np.testing.assert_array_equal(last, model.predict(data.X))
    assert np.abs(last - plain[-1]).max() > 1e-3
    for codes, expected in zip(stages, plain[:-1], strict=True):
        np.testing.assert_array_equal(codes, expected)


def test_more_nonzeros_than_features(data, model):
    model.set_params(alpha=1e-6, n_layers=2, trainer__max_epochs=0)
    dense = clone(model).fit(data.X).predict(data.X)
    assert (dense != 0).sum(1).max() > 12
    for kind in ("least_squares", "repair"):
        codes = clone(model).set_params(debias=kind).fit(data.X).predict(data.X)
        assert np.isfinite(codes).all()
        assert check_normal_equations(data.X, codes, dense, data.dictionary) > 0.1


def test_a_parameter_that_changed_after_fit_changes_nothing_until_the_next(data, model):
    before = model.set_params(debias=True).fit(data.X, data.y).predict(data.X)
    model.set_params(debias=False)
    np.testing.assert_array_equal(model.predict(data.X), before)
    model.fit(data.X, data.y)
    assert model.debias_ is None
    assert not np.array_equal(model.predict(data.X), before)


def test_zero_observations_have_zero_codes(data, model):
    codes = model.set_params(debias="repair").fit(data.X, data.y).predict(0 * data.X[:2])
    assert not codes.any()


@pytest.mark.parametrize("debias", ["lstsq", 2, None])
@pytest.mark.parametrize("make", [LISTARegressor, HyperLISTARegressor])
def test_invalid_values(data, make, debias):
    with pytest.raises(InvalidParameterError, match="debias"):
        make(data.dictionary, debias=debias).fit(data.X, data.y)
