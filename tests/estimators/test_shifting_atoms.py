"""Networks with analytic weights over a convolution: those of its matrix, and what has none."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_unroll import ALISTARegressor, HyperLISTARegressor, LassoCoder, Trainer
from sklearn_unroll.functional import Convolution, MatrixFree
from sklearn_unroll.metrics import nmse_db

# Trained for one epoch, and without pairs worth little.
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn_unroll.exceptions.WorthlessFitWarning",
    "ignore::sklearn_unroll.exceptions.GuardWarning",
)
ONE_EPOCH = Trainer(max_epochs=1, batch_size=20)
BOUNDARIES = ("circular", "full", "same", "valid")


def problem(n_channels=1, boundary="circular", n_samples=40):
    """Return a convolution with kernels of unequal norms, its matrix, signals, codes."""
    rng = np.random.default_rng(0)
    d = rng.standard_normal((2, n_channels, 5)) * np.array([3.0, 0.2])[:, None, None]
    A = Convolution(d, 20, boundary=boundary)
    D = A(torch.eye(A.n_components, dtype=torch.float64)).numpy()
    shape = (n_samples, A.n_components)
    y = rng.standard_normal(shape) * (rng.random(shape) < 0.06)
    return A, D, y @ D + 0.02 * rng.standard_normal((n_samples, D.shape[1])), y


def short(D, **given):
    return ALISTARegressor(D, **{"n_layers": 3, "trainer": ONE_EPOCH, "random_state": 0, **given})


@pytest.mark.parametrize("pairs", [False, True], ids=["alone", "pairs"])
@pytest.mark.parametrize(
    "given",
    [{}, {"rule": "recurrent", "hidden_size": 4}, {"support_selection": None, "n_channels": 2},
     {"normalize": True, "alpha_relative": False, "alpha": 0.5}],
    ids=["learned", "recurrent", "channels", "normalized"],
)  # fmt: skip
def test_alista_of_circular_shifts_is_that_of_their_matrix(given, pairs):
    A, D, X, y = problem(given.pop("n_channels", 1)) if "n_channels" in given else problem()
    ours, theirs = (short(one, **given).fit(X, y if pairs else None) for one in (A, D))
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-8)
    np.testing.assert_allclose(ours.certify(X, 0.1), theirs.certify(X, 0.1), atol=1e-8)
    for one, other in zip(ours.staged_predict(X), theirs.staged_predict(X), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8)
    assert ours.guard_.region == theirs.guard_.region
    assert (ours.scale_ is None) == (not pairs)
    if pairs:
        np.testing.assert_allclose(ours.scale_, theirs.scale_)
    np.testing.assert_allclose(ours.inverse_transform(y), y @ D, atol=1e-12)
    assert type(ours.network_operator()) is Convolution


@pytest.mark.parametrize("pairs", [False, True], ids=["alone", "pairs"])
def test_hyperlista_of_circular_shifts_is_that_of_their_matrix(pairs):
    A, D, X, y = problem()
    ours, theirs = (
        HyperLISTARegressor(one, n_layers=6).fit(X, y if pairs else None) for one in (A, D)
    )
    for name in ("mu_", "c1_", "c2_", "n_nonzero_"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-9), name
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-8)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_what_estimators_do_they_do_with_shifts(boundary):
    A, _, X, y = problem(boundary=boundary)
    model = clone(short(A)).fit(X, y)
    codes = model.predict(X)
    assert nmse_db(y, codes) < -2
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), codes)
    for unit in (1e-6, 1e6):
        scaled = short(A).fit(unit * X, unit * y).predict(unit * X)
        np.testing.assert_allclose(scaled / unit, codes, atol=1e-6)
    single = short(A).fit(X.astype("f4"), y.astype("f4")).predict(X.astype("f4"))
    assert single.dtype == np.float32
    assert nmse_db(codes, single) < -20
    resumed = model.set_params(warm_start=True, trainer__max_epochs=2).fit(X, y)
    assert nmse_db(y, resumed.predict(X)) < -2


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_without_pairs_no_sample_is_worse_than_zeros_at_any_border(boundary):
    A, _, X, _ = problem(boundary=boundary)
    model = short(A, alpha=0.3).fit(X)
    assert model.guard_.region == "objective"
    with torch.no_grad():
        for layer in model.network_.layers:
            layer.rule.log_gamma.add_(2)  # layers that explode
    codes = model.predict(X)
    assert model.count_refused(X).max() == 3 and np.any(codes)
    left = 0.5 * np.square(X - model.inverse_transform(codes)).sum(1)
    size = np.linalg.norm(A.kernels[:, 0].numpy(), axis=1).repeat(A.n_components // 2)
    value = left + 0.3 * np.abs(codes * size).sum(1)  # of atoms of norm one
    assert np.all(value <= 0.5 * np.square(X).sum(1) * (1 + 1e-9))


def test_shifts_in_a_search_and_as_a_start():
    A, _, X, y = problem()
    search = GridSearchCV(short(A), {"n_layers": [2, 3]}, cv=2).fit(X, y)
    found = LassoCoder(A, 0.1, warm_start_from=search.best_estimator_).fit(X).solve(X)
    assert found.converged.all()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda A: short(A, weights="minimax"), "goes with weights='analytic'.*got .*'minimax'"),
        (lambda A: short(A, groups=2), "without groups; got weights='analytic' and groups"),
        (lambda A: short(A, debias=True), "debias=True .*needs a matrix.*is a Convolution"),
        (lambda A: HyperLISTARegressor(A, weights="symmetric"), "got weights='symmetric'"),
        (lambda A: HyperLISTARegressor(A, debias="repair"), "debias='repair' .*needs a matrix"),
        (lambda A: HyperLISTARegressor(Convolution(A.kernels, 20, boundary="same")),
         "boundary='circular'; got .*boundary='same'. Use ALISTARegressor"),
    ],
)  # fmt: skip
def test_what_shifts_have_no_closed_form_of_is_refused(make, message):
    A, _, X, _ = problem()
    with pytest.raises(ValueError, match=message):
        make(A).fit(X)


def test_other_operators_are_refused():
    _, D, X, y = problem()
    for make in (ALISTARegressor, HyperLISTARegressor):
        with pytest.raises((TypeError, ValueError), match="dictionary.*MatrixFree"):
            make(MatrixFree(D.T)).fit(X, y)
