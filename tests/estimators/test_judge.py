"""A fit that is worth nothing is never silent, and what is said is true."""

import warnings

import numpy as np
import pytest
import torch

from sklearn_unroll import (
    AdaLISTARegressor,
    ADMMCSNetRegressor,
    ALISTARegressor,
    FBSNet,
    GlowProxInpainter,
    HyperLISTARegressor,
    LISTARegressor,
    MathL2OSolver,
    TISTARegressor,
    Trainer,
)
from sklearn_unroll.datasets import make_phantoms, make_sparse_recovery, radial_mask
from sklearn_unroll.exceptions import (
    PairsWarning,
    UnfamiliarDataWarning,
    WorthlessFitWarning,
)
from sklearn_unroll.functional import MaskedFourier
from sklearn_unroll.training import ProblemObjective

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
    model = LISTARegressor(
        data.dictionary, n_layers=3, init="ista", trainer=trainer, random_state=0
    )
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


def test_a_stream_is_judged_now_and_then(data):
    # Steps so long that the layers' thresholds let nothing pass.
    trainer = Trainer(learning_rate=1e3, batch_size=50)
    model = LISTARegressor(
        data.dictionary, n_layers=3, support_selection=None, trainer=trainer, random_state=0
    )
    for number in range(1, 5):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.partial_fit(data.X, data.y)
        worthless = [w for w in caught if w.category is WorthlessFitWarning]
        assert len(worthless) == (number != 3)


def test_a_good_stream_says_nothing(data):
    model = LISTARegressor(data.dictionary, n_layers=3, trainer=QUICK, random_state=0)
    for _ in range(4):
        model.partial_fit(data.X, data.y)


def test_solvers_say_that_nothing_was_learned(data):
    trainer = Trainer(
        ProblemObjective("log"), max_epochs=2, learning_rate=1e6, early_stopping=False
    )
    solver = MathL2OSolver(
        data.dictionary, n_layers=4, hidden_size=4, n_iter=8, trainer=trainer, random_state=0
    )
    match = r"no epoch was better .* FISTA, sklearn_unroll\.solvers, needs no training"
    with pytest.warns(WorthlessFitWarning, match=match):
        solver.fit(data.X[:40])


def test_solvers_say_that_alpha_leaves_nothing(data):
    trainer = Trainer(ProblemObjective("log"), max_epochs=1, early_stopping=False)
    solver = MathL2OSolver(
        data.dictionary, alpha=1e3, n_layers=4, hidden_size=4, n_iter=8, trainer=trainer
    )
    match = "the objective on the data of fit is no better than that of the start"
    with pytest.warns(WorthlessFitWarning, match=match):
        solver.fit(data.X[:40])


def test_pictures_are_compared_with_their_mean():
    X = np.random.default_rng(0).random((40, 64))  # nothing to learn
    trainer = Trainer(max_epochs=1, batch_size=20)
    model = GlowProxInpainter((8, 8), n_layers=2, n_hidden=4, trainer=trainer, random_state=0)
    match = r"missing pixels .* is worse than that of each picture's mean \(\+"
    with pytest.warns(WorthlessFitWarning, match=match) as caught:
        model.fit(X)
    assert "dictionary" not in str(caught[0].message)


@pytest.mark.filterwarnings("ignore:This fit of")
@pytest.mark.parametrize("make", [LISTARegressor, ALISTARegressor, HyperLISTARegressor])
def test_a_square_dictionary_that_was_transposed(make):
    pairs = make_sparse_recovery(60, 24, 24, sparsity=2, random_state=0)
    model = make(pairs.dictionary.T, n_layers=3)
    if "trainer" in model.get_params():
        model.set_params(trainer=QUICK)
    with pytest.warns(PairsWarning, match=r"Its transpose does: pass dictionary=dictionary\.T"):
        model.fit(pairs.X, pairs.y)
    with pytest.warns(PairsWarning, match="order of the dictionary's rows"):
        model.set_params(dictionary=pairs.dictionary[::-1].copy()).fit(pairs.X, pairs.y)


def test_hyperlista_without_a_way_out_says_the_true_cause():
    # Coherent atoms and dense codes: the layers cannot explain these observations.
    D, X, _ = decays()
    with pytest.warns(WorthlessFitWarning) as caught:
        HyperLISTARegressor(D, n_layers=8).fit(X)
    said = str(caught[0].message)
    assert "coherent atoms" in said or "guard refuses" in said
    assert "1e-1" not in said  # no coherence of zero is called too large
    with pytest.warns(WorthlessFitWarning, match=r"c1=50 is too large.*Set c1='auto', or below"):
        HyperLISTARegressor(D, n_layers=8, c1=50.0).fit(X)


@pytest.fixture(scope="module")
def scan():
    """Return a good fit on radial samples of pictures, and what it was fitted on."""
    y = make_phantoms(40, (16, 16), random_state=0)
    A = MaskedFourier(radial_mask((16, 16), 0.4))
    trainer = Trainer(max_epochs=4, batch_size=10, learning_rate=3e-3)
    model = ADMMCSNetRegressor(
        A, image_shape=(16, 16), n_layers=3, filter_size=3, trainer=trainer, random_state=0
    )
    X = A_of(A, y)
    return model.fit(X, y), A, y, X


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_other_units(scan, factor):
    model, _, _, X = scan
    with pytest.warns(UnfamiliarDataWarning, match=r"median norm is .* units of those of fit"):
        model.predict(factor * X)


def test_a_shift_by_half_a_picture(scan):
    model, A, y, _ = scan
    rows, columns = np.indices((16, 16))
    shifted = y * ((-1.0) ** (rows + columns)).ravel()
    with pytest.warns(UnfamiliarDataWarning, match="energy lies in other features"):
        model.predict(A_of(A, shifted))


def test_fresh_data_of_the_same_kind_pass(scan):
    model, A, _, _ = scan
    y = make_phantoms(200, (16, 16), random_state=7)
    X = A_of(A, y)
    model.predict(X)
    for row in X:
        model.predict(row[None])
    model.predict(0 * X)


def test_networks_that_measure_their_data_take_any_size(data):
    model = HyperLISTARegressor(data.dictionary, n_layers=6).fit(data.X)
    for factor in (1e-6, 1e6):
        found = model.predict(factor * data.X)
        np.testing.assert_allclose(found, factor * model.predict(data.X), rtol=1e-3)


def test_single_samples_of_other_sets_pass(data):
    model = FBSNet(data.dictionary, n_layers=3, trainer=QUICK, random_state=0)
    model.fit(data.X, data.y)
    other = make_sparse_recovery(300, 20, 40, sparsity=3, random_state=5)
    for row in other.y[:100] @ data.dictionary:
        model.predict(row[None])


def A_of(A, y):
    """Return what an operator makes of pictures, as an array."""
    return A(torch.from_numpy(y)).numpy()
