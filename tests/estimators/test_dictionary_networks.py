"""Dictionaries learned with a network as coder, and what scikit-learn's own tests ask of them."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import (
    ALISTARegressor,
    LassoCoder,
    LISTARegressor,
    OnlineDictionaryLearning,
    TISTARegressor,
    Trainer,
)
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.estimators._network_coding import NetworkCoding

# Trainings are short, and dictionaries of few features coherent.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of .*ISTARegressor is worth little")

SHORT = Trainer("lasso", learning_rate=1e-3, max_epochs=3, batch_size=64)
NETWORKS = {
    "LISTA": LISTARegressor(alpha=0.1, n_layers=4, trainer=SHORT),
    "step-LISTA": LISTARegressor(alpha=0.1, n_layers=4, weights="adjoint", trainer=SHORT),
    "ALISTA": ALISTARegressor(alpha=0.1, n_layers=4, trainer=SHORT),
}


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(256, 8, 12, sparsity=2, snr_db=30, random_state=0)


def learner(coder=None, **parameters):
    given = {"max_iter": 3, "batch_size": 64, "tol": 0.0, "random_state": 0, **parameters}
    return OnlineDictionaryLearning(12, coder=coder, alpha=0.1, **given)


@pytest.mark.parametrize("name", NETWORKS)
def test_one_call_gives_a_dictionary_and_a_network_for_it(data, name):
    given = NETWORKS[name]
    model = learner(given).fit(data.X)
    coder = model.coder_
    assert type(coder) is type(given) and not hasattr(given, "network_")
    np.testing.assert_array_equal(coder.dictionary_, model.components_)
    assert coder.trainer is given.trainer and coder.warm_start is False
    assert coder.n_epochs_ > 0  # in the end it was trained for that dictionary
    np.testing.assert_array_equal(model.transform(data.X), coder.predict(data.X))
    assert model.score(data.X) == pytest.approx(coder.score(data.X))
    assert model.history_[-1].monitor < 0.9 * model.history_[0].monitor
    # The dictionary is a good one by exact codes, too.
    first = learner(given, max_iter=1).fit(data.X[:64])
    exact = [LassoCoder(m.components_, 0.1).fit(data.X).score(data.X) for m in (first, model)]
    assert exact[1] > exact[0]
    assert (model.certify(data.X) >= 0).all()


def test_the_networks_weights_follow_the_dictionary(data):
    """Analytic weights are those of the dictionary of today; learned scalars are kept."""
    coding = NetworkCoding(NETWORKS["ALISTA"], None, 64)
    b, weight = torch.from_numpy(data.X[:64]), torch.ones(64, dtype=torch.float64)
    first, second = (torch.from_numpy(data.dictionary[::s].copy()) for s in (1, -1))
    coding.follow(b, weight, first)
    learned = coding.coder.network_.layers[0].state_dict()
    moved = coding.derived(second.numpy(), data.X[:64]).network_.layers[0]
    fresh = clone(NETWORKS["ALISTA"]).set_params(dictionary=second.numpy(), trainer__max_epochs=0)
    fresh = fresh.fit(data.X[:64]).network_.layers[0]
    torch.testing.assert_close(moved.weights.W, fresh.weights.W)
    scalars = moved.rule.state_dict()
    assert scalars and all(torch.equal(v, learned[f"rule.{k}"]) for k, v in scalars.items())
    # To look at held-out samples neither trains it nor forgets the optimiser's state.
    before = coding.coder._stream
    coding(b, second, 1e-4)
    assert coding.coder._stream is before and before[0] == 1


@pytest.mark.parametrize("weights", ["free", "coupled", "tied", "adjoint"])
def test_codes_do_not_explode_where_the_norm_of_the_dictionary_grows(data, weights):
    kind = {"weights": "coupled", "tied": True} if weights == "tied" else {"weights": weights}
    network = LISTARegressor(alpha=0.05, n_layers=16, guard=None, trainer=SHORT, **kind)
    coding = NetworkCoding(network, None, 64)
    b, D = torch.from_numpy(data.X[:64]), torch.from_numpy(data.dictionary) / 3
    weight = torch.ones(64, dtype=torch.float64)
    coding.follow(b, weight, D)

    def objective(D, codes):
        return float((0.5 * (b - codes @ D).square().sum(1) + 0.05 * codes.abs().sum(1)).mean())

    zero = objective(D, torch.zeros(64, 12, dtype=torch.float64))
    for times in (3, 6):
        assert objective(times * D, coding(b, times * D, 0.0).codes) < zero
    # Nor does a batch of training meet such codes.
    coding.follow(b, weight, 6 * D)
    assert objective(6 * D, coding(b, 6 * D, 0.0).codes) < zero


def test_a_stream_with_a_network_goes_on(data):
    model = learner(NETWORKS["LISTA"])
    for part in np.array_split(data.X, 4):
        model.partial_fit(part)
    assert model.n_steps_ == 4 and model.coder_.n_features_in_ == 8
    weights = model.coder_.network_.layers[0].state_dict()
    untrained = clone(NETWORKS["LISTA"]).set_params(
        dictionary=model.components_, trainer__max_epochs=0
    )
    untrained = untrained.fit(data.X).network_.layers[0].state_dict()
    assert any(not np.array_equal(weights[k], untrained[k]) for k in weights)


def test_networks_that_need_pairs_are_refused(data):
    with pytest.raises(ValueError, match="TISTARegressor learns from pairs.*LISTARegressor"):
        learner(TISTARegressor()).fit(data.X)


# What scikit-learn's own tests ask of MiniBatchDictionaryLearning.

X10 = np.random.default_rng(0).standard_normal((10, 8))


@pytest.mark.parametrize("n_components", [5, 12])
def test_shapes_complete_and_overcomplete(n_components):
    model = OnlineDictionaryLearning(n_components, alpha=0.1, max_iter=5, random_state=0)
    codes = model.set_params(batch_size=4).fit_transform(X10)
    assert model.components_.shape == (n_components, 8)
    assert model.inverse_transform(codes).shape == X10.shape


def test_a_read_only_start_is_left_alone():
    V = np.random.default_rng(1).standard_normal((12, 8))
    V.setflags(write=False)
    before = V.copy()
    OnlineDictionaryLearning(12, batch_size=4, max_iter=1, dict_init=V, random_state=0).fit(X10)
    np.testing.assert_array_equal(V, before)


def test_reconstruction_improves_as_alpha_falls():
    errors = []
    for alpha in (0.5, 0.05, 1e-3):
        model = OnlineDictionaryLearning(12, alpha=alpha, max_iter=50, random_state=0).fit(X10)
        errors.append(np.abs(model.inverse_transform(model.transform(X10)) - X10).max())
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.01


@pytest.mark.parametrize("dtype, kept", [("f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("i8", "f8")])
def test_dtypes_are_those_of_scikit_learn(dtype, kept):
    X = (10 * X10).astype(dtype)
    model = OnlineDictionaryLearning(8, batch_size=10, max_iter=10, random_state=0).fit(X)
    assert model.components_.dtype == model.transform(X).dtype == np.dtype(kept)


def test_single_and_double_precision_learn_the_same():
    """Codes and atoms are unique up to signs and order only, their product is."""
    found = []
    for dtype in ("f4", "f8"):
        X = X10.astype(dtype)
        model = OnlineDictionaryLearning(4, alpha=0.5, max_iter=20, random_state=0).fit(X)
        codes = model.transform(X)
        found.append((codes @ model.components_, np.abs(codes).sum()))
        assert 0.05 < (codes != 0).mean() < 1
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-3)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-3)


def test_a_network_takes_more_atoms_than_samples(data):
    model = learner(NETWORKS["LISTA"], batch_size=3).fit(data.X[:3])
    assert np.isfinite(model.components_).all() and (model.components_ != 0).any(1).all()
    assert np.linalg.norm(model.components_, axis=1).max() <= 1 + 1e-12
