"""A fit that is worth nothing is never silent, and what is said is true."""

import numpy as np
import pytest

from sklearn_unroll import (
    AdaLISTARegressor,
    ADMMCSNetRegressor,
    ALISTARegressor,
    FBSNet,
    LISTARegressor,
    TISTARegressor,
    Trainer,
)
from sklearn_unroll.datasets import make_phantoms, make_sparse_recovery, radial_mask
from sklearn_unroll.exceptions import WorthlessFitWarning
from sklearn_unroll.functional import MaskedFourier

QUICK = Trainer(max_epochs=3, batch_size=50)
jumps = pytest.mark.filterwarnings("ignore:In .* epochs of stage .* the monitored loss jumped")


def decays(n=600, n_components=40, n_features=32, seed=0):
    """Return exponentials of many time constants, which are very coherent, and pairs."""
    rng = np.random.default_rng(seed)
    t, T2 = np.arange(1, n_features + 1), np.geomspace(2, 100, n_components)
    D = np.exp(-t / T2[:, None])
    y = rng.random((n, n_components)) * (rng.random((n, n_components)) < 0.1)
    return D, y @ D, y


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(300, 20, 40, sparsity=3, random_state=0)


@jumps
@pytest.mark.parametrize(
    "model",
    [
        ALISTARegressor(n_layers=8),
        ALISTARegressor(n_layers=8, rule="recurrent", hidden_size=8),
        LISTARegressor(n_layers=8, support_selection=(2, 100)),
    ],
    ids=["ALISTA", "NA-ALISTA", "LISTA-CPSS"],
)
def test_analytic_weights_on_decaying_exponentials(model):
    D, X, y = decays()
    model.set_params(dictionary=D, random_state=0)
    model.set_params(trainer__max_epochs=3)
    with pytest.warns(WorthlessFitWarning) as caught:
        model.fit(X, y)
    said = str(caught[-1].message)
    assert f"This fit of {type(model).__name__} is worth little" in said
    assert "close to random" in said and "learns its weights" in said


@pytest.mark.parametrize("make", [LISTARegressor, AdaLISTARegressor, FBSNet])
def test_an_alpha_above_every_samples_largest(make, data):
    model = make(data.dictionary, alpha=1e3, n_layers=3, random_state=0, trainer=QUICK)
    match = r"no better than that of zeros.*alpha=1e\+03 is not below .* zeros are the solution"
    with pytest.warns(WorthlessFitWarning, match=match):
        model.fit(data.X)


@jumps
def test_an_absurd_learning_rate(data):
    trainer = Trainer(learning_rate=1e30, max_epochs=2)
    model = LISTARegressor(data.dictionary, n_layers=3, trainer=trainer, random_state=0)
    with pytest.warns(WorthlessFitWarning, match=r"no epoch was better .* \(now 1e\+30\)"):
        model.fit(data.X, data.y)


@pytest.mark.filterwarnings("ignore:X and y do not fit")
def test_zero_filling_is_what_pictures_are_compared_with():
    y = make_phantoms(12, (16, 16), random_state=0)
    A = MaskedFourier(radial_mask((16, 16), 0.4))
    X = y @ np.zeros((256, A.n_features))  # no samples of these pictures
    trainer = Trainer(max_epochs=1, batch_size=4, learning_rate=1e-12)
    model = ADMMCSNetRegressor(A, image_shape=(16, 16), n_layers=2, filter_size=3, trainer=trainer)
    with pytest.warns(WorthlessFitWarning, match="that of the adjoint, zero filling"):
        model.fit(X, y)


@pytest.mark.parametrize(
    "make", [LISTARegressor, ALISTARegressor, TISTARegressor, AdaLISTARegressor, FBSNet]
)
def test_a_fit_that_is_worth_something_says_nothing(make, data):
    model = make(data.dictionary, n_layers=4, random_state=0)
    model.set_params(trainer__max_epochs=3).fit(data.X, data.y)


def test_the_untrained_network_is_what_was_asked_for(data):
    LISTARegressor(data.dictionary, alpha=1e3, trainer=Trainer(max_epochs=0)).fit(data.X)
