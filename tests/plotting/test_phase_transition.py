import warnings
from typing import ClassVar

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.decomposition import SparseCoder
from sklearn.exceptions import ConvergenceWarning

from sklearn_unroll import HyperLISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.plotting import PhaseTransitionDisplay
from sklearn_unroll.theory import l1_phase_transition

SMALL = {"n_components": 20, "undersampling": [0.25, 0.5], "sparsity": [0.2, 0.4, 1.0]}


class Oracle(BaseEstimator):
    """Least squares where codes are sparse, zero elsewhere; remembers what it was fitted on."""

    seen: ClassVar[list] = []

    def __init__(self, dictionary=None, limit=0.5):
        self.dictionary = dictionary
        self.limit = limit

    def fit(self, X, y):
        self.seen.append((self.dictionary, X, y))
        self.sparse_ = (y != 0).sum(1).max() <= self.limit * X.shape[1]
        return self

    def predict(self, X):
        codes = np.zeros((len(X), len(self.dictionary)))
        if self.sparse_:
            codes = np.linalg.lstsq(self.dictionary.T, X.T, rcond=None)[0].T
        return codes


@pytest.fixture
def seen():
    Oracle.seen.clear()
    return Oracle.seen


def least_squares(dictionary, X):
    return np.linalg.lstsq(dictionary.T, X.T, rcond=None)[0].T


def test_every_cell_is_fitted_on_its_own_draw(seen):
    template = Oracle(dictionary="not this one")
    display = PhaseTransitionDisplay.from_estimator(
        template, **SMALL, n_samples=3, n_train_samples=7, random_state=0
    )
    sizes = [(D.shape[1], int((y != 0).sum(1).max()), len(X)) for D, X, y in seen]
    assert sizes == [(5, 1, 7), (10, 2, 7), (5, 2, 7), (10, 4, 7), (5, 5, 7), (10, 10, 7)]
    assert all(np.ptp((y != 0).sum(1)) == 0 for _, _, y in seen)
    assert display.success.shape == (3, 2)
    assert template.dictionary == "not this one"
    assert not hasattr(template, "sparse_")


def test_success_is_counted_per_signal(seen):
    # A square dictionary is invertible: least squares recovers all, zero codes none.
    grid = {"undersampling": [0.5, 1.0], "sparsity": [0.2, 0.8]}
    display = PhaseTransitionDisplay.from_estimator(
        Oracle(), n_components=12, **grid, n_samples=9, n_train_samples=5, random_state=0
    )
    np.testing.assert_array_equal(display.success, [[0, 1], [0, 0]])
    halves = PhaseTransitionDisplay.from_estimator(
        lambda D, X: least_squares(D, X) * (np.arange(len(X)) % 2)[:, None],
        **grid,
        n_components=12,
        n_samples=8,
        random_state=0,
    )
    np.testing.assert_array_equal(halves.success, [[0, 0.5], [0, 0.5]])


def test_the_level_of_success_is_in_db():
    def nearly(D, X):  # -20 dB in the square cells
        return 0.9 * least_squares(D, X)

    grid = {"undersampling": [0.5, 1.0], "sparsity": [0.2, 0.8], "n_components": 10}
    for level, expected in [(-19.9, 1), (-20.1, 0)]:
        display = PhaseTransitionDisplay.from_estimator(
            nearly, **grid, n_samples=4, success_db=level, random_state=0
        )
        np.testing.assert_array_equal(display.success[:, 1], expected)


def test_all_methods_see_the_same_cells_whatever_the_order():
    seen = {}

    def record(name):
        def method(D, X):
            seen.setdefault(name, []).append((D, X))
            return np.ones((len(X), len(D)))

        return method

    arguments = {**SMALL, "n_samples": 2}
    PhaseTransitionDisplay.from_estimator(record("a"), **arguments, random_state=3)
    PhaseTransitionDisplay.from_estimator(
        record("b"), **arguments, n_train_samples=2, random_state=3
    )
    with joblib.parallel_config(backend="threading"):
        PhaseTransitionDisplay.from_estimator(
            record("c"), **arguments, n_jobs=2, random_state=np.random.RandomState(3)
        )
    PhaseTransitionDisplay.from_estimator(record("other"), **arguments, random_state=4)
    for name in "abc":
        seen[name] = sorted((D.tobytes(), X.tobytes()) for D, X in seen[name])
    assert seen["a"] == seen["b"] == seen["c"]
    assert not set(seen["a"]) & {(D.tobytes(), X.tobytes()) for D, X in seen["other"]}


def test_laws_of_the_data_are_passed_on(seen):
    PhaseTransitionDisplay.from_estimator(
        Oracle(), **SMALL, n_samples=2, magnitude="sign", dictionary="bernoulli", snr_db=0.0
    )
    for D, X, y in seen:
        assert set(np.unique(y)) == {-1, 0, 1}
        np.testing.assert_allclose(np.abs(D), 1 / np.sqrt(X.shape[1]))
        ratio = np.sum((X - y @ D) ** 2) / np.sum((y @ D) ** 2)
        assert 0.5 < ratio < 2  # 0 dB


def test_cells_beyond_recovery_do_not_warn():
    def complain(D, X):
        warnings.warn("not converged", ConvergenceWarning, stacklevel=1)
        return np.zeros((len(X), len(D)))

    display = PhaseTransitionDisplay.from_estimator(complain, **SMALL, n_samples=2)
    assert not np.any(display.success)


def test_networks_are_better_with_more_measurements():
    display = PhaseTransitionDisplay.from_estimator(
        HyperLISTARegressor(),
        n_components=80,
        undersampling=[0.3, 0.6, 0.9],
        sparsity=[0.05, 0.2, 0.8],
        n_samples=20,
        success_db=-20,
        random_state=0,
    )
    assert np.all(np.diff(display.success, axis=1) >= 0)
    assert np.all(np.diff(display.success, axis=0) <= 0)
    assert display.success[0, 2] == 1
    assert display.success[2, 0] == 0
    display.figure_.canvas.draw()
    (path,) = display.contour_.get_paths()
    assert len(path.vertices) > 1


def test_a_trained_network_is_a_template_too():
    template = LISTARegressor(n_layers=2, trainer=Trainer(max_epochs=1), random_state=0)
    display = PhaseTransitionDisplay.from_estimator(
        template, **SMALL, n_samples=4, n_train_samples=30, random_state=0
    )
    assert not np.any(display.success)
    assert display.contour_ is None  # there is no such line
    assert template.dictionary is None


def test_what_is_drawn():
    success = np.array([[0.9, 1.0, 1.0], [0.0, 0.2, 0.8]])
    grid = {"undersampling": [0.2, 0.5, 0.9], "sparsity": [0.1, 0.5]}
    display = PhaseTransitionDisplay(success=success, **grid).plot(l1_curve=True)
    np.testing.assert_array_equal(display.im_.get_array(), success)
    assert display.im_.get_clim() == (0, 1)
    assert len(display.figure_.axes) == 2  # with the scale
    x, y = display.l1_curve_.get_data()
    np.testing.assert_array_equal(y, l1_phase_transition(x))
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["half recovered", "l1 minimisation, in theory"]
    plain = PhaseTransitionDisplay(success=success, **grid).plot(contour=False, colorbar=False)
    assert plain.contour_ is None
    assert plain.l1_curve_ is None
    assert len(plain.figure_.axes) == 1
    assert plain.ax_.get_legend() is None


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"undersampling": [0.5]}, ValueError, "undersampling must hold at least two"),
        ({"undersampling": [0.5, 0.5]}, ValueError, "increasing"),
        ({"sparsity": [0.0, 0.5]}, ValueError, r"sparsity .* in \(0, 1\], got \[0.0, 0.5\]"),
        ({"sparsity": [0.5, 1.5]}, ValueError, r"in \(0, 1\]"),
        ({"sparsity": [0.1, np.nan]}, ValueError, r"in \(0, 1\]"),
        ({"n_components": 1}, ValueError, "n_components == 1"),
        ({"n_samples": 0}, ValueError, "n_samples == 0"),
        ({"n_train_samples": 2.5}, TypeError, "n_train_samples must be an instance"),
        ({"success_db": "low"}, TypeError, "success_db must be an instance"),
        ({"estimator": 3}, TypeError, r"callable \(dictionary, X\) -> codes; got 3"),
        ({"estimator": LISTARegressor}, TypeError, "must be an object with fit"),
        ({"estimator": SparseCoder(np.eye(2))}, TypeError, "fit, predict and a parameter"),
    ],
)
def test_wrong_use_is_told(arguments, error, match):
    arguments = {"estimator": HyperLISTARegressor(), **SMALL, **arguments}
    with pytest.raises(error, match=match):
        PhaseTransitionDisplay.from_estimator(**arguments)


def test_arrays_that_do_not_fit_are_told():
    display = PhaseTransitionDisplay(
        success=np.zeros((2, 3)), undersampling=[0.1, 0.2], sparsity=[0.1, 0.2, 0.3]
    )
    with pytest.raises(ValueError, match=r"\(2, 3\) with 3 values of sparsity and 2 of"):
        display.plot()
