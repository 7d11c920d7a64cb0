"""TISTA as an estimator: a prior from pairs, and steps that are learned."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_unroll import TISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.training import StageWise

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

QUICK = Trainer(
    schedule=StageWise(rates=(0.1, 0.03), layer_decay=1.0),
    learning_rate=1.0,
    batch_size=128,
    max_epochs=2,
    early_stopping=False,
)


@pytest.fixture(scope="module")
def noisy():
    """400 pairs of 30 features and 50 components, atoms of unlike norms, known noise."""
    data = make_sparse_recovery(400, 30, 50, sparsity=0.1, random_state=0)
    rng = np.random.default_rng(1)
    data.norms = np.geomspace(0.2, 5, 50)
    data.y *= 3  # the standard deviation of a nonzero of unit atoms
    data.X = data.y @ data.dictionary + 0.05 * rng.standard_normal((400, 30))
    data.y /= data.norms
    data.dictionary *= data.norms[:, None]
    return data


@pytest.fixture
def model(noisy):
    return TISTARegressor(noisy.dictionary, n_layers=3, trainer=QUICK, random_state=0)


def prior(model):
    return model.sparsity_, model.variance_, model.noise_std_


def test_prior_and_noise_are_those_of_the_pairs(noisy, model):
    model.set_params(normalize=False).fit(noisy.X, noisy.y)
    assert model.sparsity_ == pytest.approx((noisy.y != 0).mean())
    assert model.sparsity_ == pytest.approx(0.1, rel=0.1)
    assert model.variance_ == pytest.approx(9, rel=0.1)
    assert model.noise_std_ == pytest.approx(0.05, rel=0.02)


def test_a_weight_of_zero_takes_a_sample_out_of_the_prior(noisy, model):
    X, y, weight = noisy.X.copy(), noisy.y.copy(), np.ones(400)
    X[:20], y[:20], weight[:20] = 7.0, 100.0, 0.0
    model.fit(X, y, sample_weight=weight)
    assert prior(model) == pytest.approx(prior(clone(model).fit(X[20:], y[20:])))


def test_given_numbers_are_taken(noisy, model):
    given = {"sparsity": 0.3, "variance": 2.0, "noise_std": 0.5}
    model.set_params(**given).fit(noisy.X, noisy.y)
    assert prior(model) == pytest.approx((0.3, 2.0, 0.5))
    for name, value in given.items():
        one = clone(model).set_params(**{**dict.fromkeys(given), name: value})
        found = dict(zip(given, prior(one.fit(noisy.X, noisy.y)), strict=True))
        assert [n for n in given if found[n] == pytest.approx(given[n])] == [name]


def test_no_pairs(noisy, model):
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        model.set_params(trainer=None).fit(noisy.X)
    with pytest.raises(ValueError, match="learns from pairs, but the objective Lasso"):
        model.set_params(trainer=Trainer("lasso")).fit(noisy.X, noisy.y)
    with pytest.raises(NotFittedError):
        model.predict(noisy.X)


@pytest.mark.filterwarnings("ignore:X and y do not fit the dictionary")
def test_codes_that_are_all_zero(noisy, model):
    with pytest.raises(ValueError, match="y is all zero: neither prior nor steps"):
        model.fit(noisy.X, 0 * noisy.y)
    assert not [name for name in vars(model) if name.endswith("_") and not name.startswith("_")]
    before = model.fit(noisy.X, noisy.y).predict(noisy.X)
    with pytest.raises(ValueError, match="y is all zero"):
        model.fit(noisy.X, 0 * noisy.y)
    np.testing.assert_array_equal(model.predict(noisy.X), before)


def test_fits_that_go_on_keep_the_prior(noisy, model):
    model.fit(noisy.X, noisy.y)
    known = prior(model)
    y = noisy.y * (np.arange(50) % 2)  # half as many nonzeros
    X = y @ noisy.dictionary
    assert prior(clone(model).fit(X, y)) != pytest.approx(known)
    assert prior(model.partial_fit(X, y)) == known
    assert prior(model.set_params(warm_start=True).fit(X, y)) == known
    for layer in model.network_.layers:
        assert layer.shrinkage.sparsity == known[0]
        assert layer.shrinkage.variance == pytest.approx(known[1] / model.scale_.codes**2)


def test_dense_codes_are_the_wiener_filter(noisy, model, assert_below):
    """Everything is a nonzero: the conditional mean is linear in the observation."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal((400, 50)) / noisy.norms
    model.fit(y @ noisy.dictionary + 0.1 * rng.standard_normal((400, 30)), y)
    assert model.sparsity_ == pytest.approx(1, abs=1e-5)
    assert model.variance_ == pytest.approx(1, rel=0.05)
    unit = noisy.dictionary / noisy.norms[:, None]
    wiener = noisy.X @ np.linalg.inv(unit.T @ unit + 0.01 * np.eye(30)) @ unit.T / noisy.norms
    assert_below(nmse_db(wiener, model.predict(noisy.X)), -20)


def test_quality_after_a_short_training(assert_below):
    train = make_sparse_recovery(1000, 125, 250, random_state=0, dtype=np.float32)
    test = make_sparse_recovery(300, dictionary=train.dictionary, random_state=1)
    model = TISTARegressor(train.dictionary, n_layers=8, trainer=QUICK, random_state=0)
    model.fit(train.X, train.y)
    assert_below(nmse_db(test.y, model.predict(test.X)), -30)


def test_training_is_worth_it(noisy, model, assert_below):
    model.set_params(n_layers=6)
    start = clone(model).set_params(trainer__max_epochs=0)
    before = nmse_db(noisy.y, start.fit(noisy.X, noisy.y).predict(noisy.X))
    after = nmse_db(noisy.y, model.fit(noisy.X, noisy.y).predict(noisy.X))
    assert_below(after - before, -1)


@pytest.mark.parametrize(
    "parameters",
    [{"sparsity": 0}, {"sparsity": 1}, {"variance": 0.0}, {"variance": -1}, {"noise_std": -0.1}],
)
def test_invalid_numbers(noisy, model, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        model.set_params(**parameters).fit(noisy.X, noisy.y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("kind", ["identity", "permutation", "orthonormal", "large"])
def test_errors_of_nearly_no_variance_have_gradients(kind, scale, dtype):
    rng = np.random.default_rng(0)
    D = {
        "identity": np.eye(16),
        "permutation": np.eye(16)[rng.permutation(16)],
        "orthonormal": np.linalg.qr(rng.standard_normal((16, 16)))[0],
        "large": 3 * np.eye(16),
    }[kind].astype(dtype)
    y = rng.standard_normal((60, 16)) * (rng.random((60, 16)) < 0.1)
    y[:5] = 0
    y[5] *= 1e-9  # an observation far below the others
    y = (scale * y).astype(dtype)
    model = TISTARegressor(D, n_layers=3, trainer=QUICK, random_state=0).fit(y @ D, y)
    assert nmse_db(y, model.predict(y @ D)) < -100  # dB
    assert not model.predict(0 * y[:2] @ D).any()
