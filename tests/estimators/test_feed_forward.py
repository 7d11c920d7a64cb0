"""The baseline of the guarantees as an estimator, and LISTA in the same clothes."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import FeedForwardRegressor, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.nn import equivalent_depth, feed_forward, lista, smooth_lista
from sklearn_unroll.theory import untrained

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

QUICK = Trainer(learning_rate=0.02, max_epochs=300)
NORMAL = {"weights": "free", "shrinkage": "smooth", "init": "normal", "alpha": 1.0}
MODELS = {
    "plain": FeedForwardRegressor(n_layers=3, trainer=QUICK, random_state=0),
    "LISTA": LISTARegressor(**NORMAL, n_layers=3, trainer=QUICK, random_state=0),
}


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(10, 8, 40, sparsity=2, random_state=0)


@pytest.fixture(params=MODELS)
def model(request):
    return clone(MODELS[request.param])


def n_parameters(model):
    return sum(p.numel() for p in model.network_.parameters())


def test_it_learns_few_pairs_by_heart(data, model, assert_below):
    X, y = data.X[:4], data.y[:4]
    before = nmse_db(y, untrained(model, X, y).predict(X))
    codes = model.fit(X, y).predict(X)
    assert_below(nmse_db(y, codes) - before, -25)
    assert codes.dtype == np.float64
    *_, last = model.staged_predict(X)
    np.testing.assert_array_equal(last, codes)


def test_sizes_are_those_of_the_paper():
    pairs = make_sparse_recovery(3, 20, 100, sparsity=2, random_state=0)
    unrolled = LISTARegressor(**NORMAL, n_layers=6)
    plain = FeedForwardRegressor(n_layers=equivalent_depth(20, 100, 6))
    sizes = [n_parameters(untrained(m, pairs.X, pairs.y)) for m in (unrolled, plain)]
    assert sizes == [72_000, 72_000]


def test_the_first_networks_are_the_recipes(data):
    obs = Observation(torch.from_numpy(data.X), Dense(torch.from_numpy(data.dictionary)))
    for name, make in (("plain", feed_forward), ("LISTA", smooth_lista)):
        for shrinkage, sharpness in (("smooth", 2.0), ("soft", 1.0)):
            given = {"shrinkage": shrinkage, "sharpness": sharpness, "alpha": 0.3}
            given |= {"normalize": False, "guard": None}
            model = clone(MODELS[name]).set_params(**given, dictionary=data.dictionary)
            generator = torch.Generator().manual_seed(int(np.random.RandomState(0).randint(2**31)))
            network = make(
                obs.A,
                n_layers=3,
                theta=0.3,
                sharpness=sharpness if shrinkage == "smooth" else float("inf"),
                generator=generator,
            )
            with torch.no_grad():
                expected = network(obs).numpy()
            found = untrained(model, data.X, data.y).predict(data.X)
            np.testing.assert_allclose(found, expected, atol=1e-12)


def test_same_random_state_same_weights_in_any_precision(data, model):
    start = untrained(model, data.X, data.y)
    single = untrained(model, data.X.astype(np.float32), data.y.astype(np.float32))
    np.testing.assert_allclose(single.predict(data.X), start.predict(data.X), atol=1e-5)
    other = untrained(clone(model).set_params(random_state=1), data.X, data.y)
    assert not np.allclose(other.predict(data.X), start.predict(data.X))


def test_the_dictionary_is_for_signals_only(data):
    estimated = clone(MODELS["plain"]).set_params(trainer__max_epochs=10).fit(data.X, data.y)
    given = clone(estimated).set_params(dictionary=data.dictionary).fit(data.X, data.y)
    np.testing.assert_array_equal(estimated.predict(data.X), given.predict(data.X))
    signals = given.inverse_transform(data.y)
    np.testing.assert_allclose(signals, data.y @ data.dictionary)
    np.testing.assert_allclose(estimated.inverse_transform(data.y), data.X, atol=1e-3)
    assert given.score(data.X) < 0
    without = clone(given).set_params(trainer__max_epochs=3).fit(data.X)
    assert without.predict(data.X).shape == data.y.shape
    with pytest.raises(ValueError, match="requires y to be passed"):
        clone(MODELS["plain"]).fit(data.X)


def test_training_that_goes_on_takes_a_new_threshold(data, model):
    model.set_params(dictionary=data.dictionary, warm_start=True, trainer__max_epochs=5)
    first = model.fit(data.X, data.y).predict(data.X)
    model.set_params(trainer__max_epochs=0)
    np.testing.assert_array_equal(model.fit(data.X, data.y).predict(data.X), first)
    shrunk = model.set_params(alpha=2.0).fit(data.X, data.y).predict(data.X)
    assert np.abs(shrunk).sum() < np.abs(first).sum()


def test_layer_by_layer_training_runs(data, model):
    model.set_params(trainer=Trainer(schedule="stage_wise", max_epochs=2))
    assert np.isfinite(model.fit(data.X, data.y).predict(data.X)).all()


def test_smooth_shrinkage_from_ista(data):
    model = LISTARegressor(data.dictionary, shrinkage="smooth", sharpness=200.0, n_layers=4)
    smooth = untrained(model.set_params(normalize=False), data.X, data.y).predict(data.X)
    obs = Observation(torch.from_numpy(data.X), Dense(torch.from_numpy(data.dictionary)))
    with torch.no_grad():
        ista = lista(obs.A, n_layers=4)(obs).numpy()
    np.testing.assert_allclose(smooth, ista, atol=4 * np.log(2) / 200)
    assert not np.array_equal(smooth, ista)
    assert (ista == 0).any() and not (smooth == 0).any()


@pytest.mark.parametrize(
    "parameters, match",
    [
        ({"init": "normal"}, "init='normal' needs weights='free'"),
        ({"init": "normal", "weights": "adjoint"}, "got weights='adjoint'"),
        (
            {"init": "normal", "weights": "free", "support_selection": (1.2, 13.0)},
            "init='normal' has no support selection",
        ),
        (
            {"shrinkage": "smooth", "support_selection": (1.2, 13.0)},
            "shrinkage='smooth' leaves no entry unshrunk",
        ),
        ({"shrinkage": "smooth", "init": "analytic"}, "init='analytic' fits thresholds"),
        ({"shrinkage": "smooth", "debias": True}, "debias needs codes with zeros"),
        ({"init": "normal", "weights": "free", "learn_step": True}, "free weights have no step"),
        ({"shrinkage": "hard"}, "'shrinkage' parameter"),
        ({"shrinkage": "smooth", "sharpness": 0.0}, "'sharpness' parameter"),
    ],
)
def test_parts_that_do_not_go_together_are_told(data, parameters, match):
    with pytest.raises(ValueError, match=match):
        LISTARegressor(data.dictionary, n_layers=2, **parameters).fit(data.X, data.y)


@pytest.mark.parametrize(
    "parameters", [{"shrinkage": "hard"}, {"sharpness": -1.0}, {"alpha": 0.0}, {"n_layers": 0}]
)
def test_parameters_of_the_baseline_are_checked(data, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        FeedForwardRegressor(**parameters).fit(data.X, data.y)
