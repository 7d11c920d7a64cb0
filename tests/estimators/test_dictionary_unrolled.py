"""Unrolled dictionary learning: the gradient that is taken, and what it is good for."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import (
    ALISTARegressor,
    LassoCoder,
    LISTARegressor,
    OMPCoder,
    OnlineDictionaryLearning,
    Trainer,
)
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.estimators import _network_coding
from sklearn_unroll.estimators._batch_coding import CoderCoding
from sklearn_unroll.estimators._network_coding import NetworkCoding
from sklearn_unroll.solvers import DictionaryStatistics

# Trainings are short, and some networks are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of LISTARegressor is worth little")

QUICK = Trainer("lasso", max_epochs=1, batch_size=64)


def network(n_layers=4, **parameters):
    given = {"alpha": 0.1, "weights": "adjoint", "trainer": QUICK, **parameters}
    return LISTARegressor(n_layers=n_layers, **given)


def learner(truncate, coder=None, **parameters):
    given = {"max_iter": 4, "batch_size": 64, "tol": 0.0, "random_state": 0, **parameters}
    coder = network() if coder is None else coder
    return OnlineDictionaryLearning(12, coder=coder, truncate=truncate, **given)


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(256, 8, 12, sparsity=2, snr_db=30, random_state=0)


@pytest.fixture
def batch(data, monkeypatch):
    """Signals, weights, and a dictionary that is not theirs; steps stay as they were learned."""
    monkeypatch.setattr(_network_coding, "follow_", lambda network, factor: None)
    generator = torch.Generator().manual_seed(0)
    b, weight = torch.from_numpy(data.X[:30]), torch.rand(30, generator=generator).double()
    D = torch.randn(12, 8, generator=generator, dtype=torch.float64)
    return b, weight, D / torch.linalg.vector_norm(D, dim=1, keepdim=True)


def statistics(coding, b, weight, D):
    codes, penalty, slope, _ = coding(b, D, 1e-12)
    found = DictionaryStatistics.of(codes, b, weight, penalty)
    return found if slope is None else found.tilted(D, slope(weight))


def differences(coding, b, weight, D, along):
    """Return the derivative of the weighted objective along a direction, by differences."""

    def value(D):
        codes, penalty, *_ = coding(b, D, 1e-12)
        return float(weight @ (0.5 * (b - codes @ D).square().sum(1) + penalty))

    return (value(D + 1e-6 * along) - value(D - 1e-6 * along)) / 2e-6


def check(coding, b, weight, D, fits=True):
    found = statistics(coding, b, weight, D)
    slope = found.gram @ D - found.cross
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        along = torch.randn(D.shape, generator=generator, dtype=torch.float64)
        expected = differences(coding, b, weight, D, along)
        close = float((slope * along).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-7)
        assert close == fits
    codes, penalty, *_ = coding(b, D, 1e-12)
    plain = DictionaryStatistics.of(codes, b, weight, penalty)
    assert found.value(D) == pytest.approx(plain.value(D), rel=1e-12)


KINDS = {
    "ISTA": {},
    "groups": {"groups": [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]},
    "unit signals": {"normalize": True},
    "smooth": {"shrinkage": "smooth", "sharpness": 50.0, "guard": None},
}


@pytest.mark.parametrize("kind", KINDS)
def test_through_all_layers_it_is_the_gradient_of_the_networks_objective(batch, kind):
    b, weight, D = batch
    coding = NetworkCoding(network(**KINDS[kind]), None, 64, truncate=4)
    coding.follow(b, weight, D)
    check(coding, b, weight, D)
    # Which through fewer layers, or none, it is not.
    for truncate in (0, 2):
        coding.truncate = truncate
        check(coding, b, weight, D, fits=False)


def test_of_exact_codes_no_layer_is_needed(batch):
    """The derivative of a minimum is that of the objective with its minimiser held fixed."""
    check(CoderCoding(LassoCoder(alpha=0.1, tol=1e-13)), *batch)


def test_codes_that_the_guard_has_put_in_place_are_taken_as_they_are(batch):
    b, weight, D = batch
    coding = NetworkCoding(network(), None, 64, truncate=4)
    coding.follow(b, weight, D)
    with torch.no_grad():
        for layer in coding.coder.network_.layers:
            layer.rule.gamma *= 1e3  # a network that explodes
    assert (coding(b, D, 1e-12).slope(weight) == 0).all()


def test_what_it_is_good_for_and_what_not(data):
    """It lowers the objective of few layers; the best dictionary is learned by exact codes."""

    def score(model):
        return LassoCoder(model.components_, alpha=0.1).fit(data.X).score(data.X)

    few = [learner(truncate, network(3)).fit(data.X) for truncate in (0, 3)]
    # By 1.4 to 5.9 % over four seeds of data, and exact codes by 3 % or more.
    assert few[0].score(data.X) < 1.01 * few[1].score(data.X)
    exact = learner(0, LassoCoder(alpha=0.1)).fit(data.X)
    assert max(score(model) for model in few) < 1.02 * score(exact)


@pytest.mark.parametrize("power", [-20, 20])
def test_results_scale_with_the_data(data, power):
    scale = 2.0**power
    model = learner(2).fit(data.X)
    other = learner(2, network(alpha=0.1 * scale)).fit(scale * data.X)
    np.testing.assert_allclose(other.components_, model.components_, rtol=1e-6, atol=1e-9)


def test_a_stream_goes_on_and_a_warm_start_does(data):
    model = learner(2, warm_start=True)
    for part in np.array_split(data.X, 4):
        model.partial_fit(part)
    assert model.n_steps_ == 4
    before = model.score(data.X)
    assert model.fit(data.X).score(data.X) > before
    assert model.n_steps_ == 4 + 4 * 4


def test_weights_are_repetitions(data):
    X = data.X[:60]
    weight = np.random.default_rng(0).integers(0, 3, 60)
    frozen = network(trainer=Trainer("lasso", max_epochs=1, batch_size=500))
    model = learner(2, frozen, batch_size=500, early_stopping=False, max_iter=3)
    weighted = clone(model).fit(X, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.components_, repeated.components_, atol=1e-6)


def test_it_learns_where_codes_leave_the_gram_matrix_singular():
    """A slope outside its range has no minimum: what bends the surrogate holds the atoms."""
    model = learner(3, network(3), max_iter=10).fit(np.ones((300, 8)))
    monitored = model.history_.column("monitor")
    assert (np.diff(monitored) < 0.01 * monitored[0]).all() and monitored[-1] < 0.8 * monitored[0]


def test_atoms_stay_in_the_ball_and_nonnegative(data):
    model = learner(4, positive_dict=True).fit(np.abs(data.X))
    assert (model.components_ >= 0).all()
    assert np.linalg.norm(model.components_, axis=1).max() <= 1 + 1e-12


@pytest.mark.parametrize(
    "coder, truncate, message",
    [
        (None, 1, r"coder=LassoCoder has none.*truncate=0"),
        (OMPCoder(), 1, r"coder=OMPCoder has none.*LISTARegressor\(weights='adjoint'\)"),
        (network(weights="coupled"), 1, "have weights of their own.*weights='adjoint'"),
        (ALISTARegressor(alpha=0.1), 1, "this ALISTARegressor have weights of their own"),
        (network(), 5, "truncate=5 is more than the 4 layers of coder=LISTARegressor"),
        (network(debias=True), 1, "debias=False"),
        (network(), -1, "'truncate' parameter"),
        (network(), 1.5, "'truncate' parameter"),
    ],
)
def test_where_it_does_not_apply_it_says_so(data, coder, truncate, message):
    model = OnlineDictionaryLearning(12, coder=coder, truncate=truncate)
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=message):
            method(data.X)
    assert not hasattr(model, "components_")
