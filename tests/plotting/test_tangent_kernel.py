"""Displays of the guarantees: what is measured is what is drawn."""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sklearn_unroll import FeedForwardRegressor, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.nn import feed_forward, smooth_lista
from sklearn_unroll.plotting import KernelSpectrumDisplay, SampleSizeDisplay, WidthScalingDisplay
from sklearn_unroll.theory import WidthScaling, kernel_spectrum, untrained

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

QUICK = Trainer(learning_rate=0.03, max_epochs=20)


@pytest.fixture(scope="module")
def pairs():
    return make_sparse_recovery(30, 4, 10, sparsity=2, random_state=0)


def test_spectra_in_one_picture(pairs):
    some = pairs.X[:3]
    normal = LISTARegressor(
        weights="free", shrinkage="smooth", init="normal", alpha=1.0, n_layers=3, random_state=0
    )
    unrolled = untrained(normal, pairs.X, pairs.y)
    plain = untrained(FeedForwardRegressor(n_layers=4, random_state=0), pairs.X, pairs.y)
    display = KernelSpectrumDisplay.from_estimator(unrolled, some)
    display = KernelSpectrumDisplay.from_estimator(
        plain, some, name="plain", ax=display.ax_, linewidth=3
    )
    first, second = display.ax_.get_lines()
    np.testing.assert_allclose(
        first.get_ydata(), kernel_spectrum(unrolled, some).eigenvalues[::-1], rtol=1e-9
    )
    assert [line.get_label() for line in (first, second)] == ["LISTARegressor", "plain"]
    assert second.get_linewidth() == 3
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_yscale() == "log"


def test_eigenvalues_below_rounding_leave_a_gap(pairs):
    plain = untrained(FeedForwardRegressor(n_layers=2, random_state=0), pairs.X, pairs.y)
    with pytest.warns(UserWarning, match="P = 140 parameters for m T = 300"):
        display = KernelSpectrumDisplay.from_estimator(plain, pairs.X)
    values = display.lines_[0].get_ydata()
    assert 0 < np.isfinite(values).sum() <= 140
    free = kernel_spectrum(plain, pairs.X[:2], method="matrix_free")
    with pytest.raises(ValueError, match=r"spectra of \['ends'\] hold no eigenvalues"):
        KernelSpectrumDisplay(spectra={"ends": free}).plot()


def test_power_laws_are_drawn_and_named():
    widths = np.array([10, 20, 40])
    values = np.array([[1.0, 4.0], [0.5, 2.0], [0.25, 1.0]])  # 20 / width, halved and doubled
    law = WidthScaling(widths, values)
    assert law.exponent == pytest.approx(-1)
    display = WidthScalingDisplay(scalings={"law": law}, quantity="gradient").plot()
    (line,), (fit,) = display.lines_, display.fits_
    np.testing.assert_allclose(line.get_ydata(), 20 / widths)
    np.testing.assert_allclose(fit.get_ydata(), 20 / widths)
    assert line.get_label() == "law, width^-1.00"
    assert display.ax_.get_ylabel() == r"$\|\nabla f\|$"
    plain = WidthScalingDisplay(scalings={"law": law}, quantity="gradient").plot(fit=False)
    assert plain.fits_ == []
    assert plain.lines_[0].get_label() == "law"


def test_recipes_are_measured_alike():
    _, ax = plt.subplots()
    recipes = {"LISTA": partial(smooth_lista, n_layers=2), "plain": feed_forward}
    display = WidthScalingDisplay.from_recipes(
        recipes,
        widths=[8, 16],
        quantity="smallest_eigenvalue",
        n_samples=2,
        n_seeds=2,
        random_state=0,
        ax=ax,
    )
    assert display.ax_ is ax
    assert list(display.scalings) == ["LISTA", "plain"]
    assert np.all(display.scalings["LISTA"].values > display.scalings["plain"].values)


def test_losses_over_the_number_of_pairs(pairs, assert_below):
    models = {
        "plain": FeedForwardRegressor(n_layers=2, trainer=QUICK, random_state=0),
        "longer": FeedForwardRegressor(
            n_layers=2, trainer=Trainer(learning_rate=0.03, max_epochs=100), random_state=0
        ),
    }
    display = SampleSizeDisplay.from_estimators(
        models, pairs.X, pairs.y, sizes=[2, 20], n_repeats=2, random_state=0, linewidth=3
    )
    for values in (*display.training.values(), *display.test.values()):
        assert values.shape == (2, 2)
    assert_below((display.training["longer"] / display.training["plain"]).max(), 0.8)
    assert_below((display.training["longer"][0] / display.test["longer"][0]).max(), 0.5)
    np.testing.assert_allclose(
        display.lines_[0].get_ydata(), np.sqrt(display.training["plain"].prod(1))
    )
    assert display.lines_[0].get_linewidth() == 3
    _, ax = plt.subplots()
    display.plot("test", ax=ax)
    assert display.ax_ is ax
    np.testing.assert_allclose(
        display.lines_[1].get_ydata(), np.sqrt(display.test["longer"].prod(1))
    )
    assert not hasattr(models["plain"], "network_")


def test_losses_are_those_of_a_fit(pairs):
    model = FeedForwardRegressor(n_layers=2, trainer=QUICK, random_state=0)
    display = SampleSizeDisplay.from_estimators(
        {"plain": model}, pairs.X, pairs.y, sizes=[29], random_state=0
    )
    order = np.random.RandomState(0).permutation(30)  # ShuffleSplit's: the test sample first
    train, test = order[1:], order[:1]
    model.fit(pairs.X[train], pairs.y[train])
    for rows, found in ((train, display.training), (test, display.test)):
        expected = 10 ** (nmse_db(pairs.y[rows], model.predict(pairs.X[rows])) / 10)
        assert found["plain"] == pytest.approx(expected, rel=1e-9)


def test_thresholds():
    training = {
        "good": np.array([[1e-5], [1e-3], [0.1]]),
        "odd": np.array([[1e-5], [0.1], [1e-5]]),
        "bad": np.array([[0.1], [0.1], [0.1]]),
        "all": np.zeros((3, 1)),
    }
    display = SampleSizeDisplay(sizes=np.array([5, 10, 20]), training=training, test=training)
    assert display.threshold() == {"good": 10, "odd": 5, "bad": 0, "all": 20}
    assert display.threshold(1e-4)["good"] == 5


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"sizes": []}, "increasing positive integers"),
        ({"sizes": [5, 5]}, "increasing positive integers"),
        ({"sizes": [0, 5]}, "increasing positive integers"),
        ({"sizes": [0.5, 0.9]}, "increasing positive integers"),
        ({"sizes": [5, 30]}, "goes up to 30, which leaves none of 30 samples"),
        ({"n_repeats": 0}, "n_repeats == 0"),
        ({"quantity": "loss"}, "quantity must be one of"),
    ],
)
def test_wrong_use_is_told(pairs, arguments, match):
    model = FeedForwardRegressor(n_layers=1, trainer=Trainer(max_epochs=1))
    with pytest.raises(ValueError, match=match):
        SampleSizeDisplay.from_estimators(
            {"plain": model}, pairs.X, pairs.y, **{"sizes": [5], **arguments}
        )
