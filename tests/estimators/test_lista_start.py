"""Where LISTA's training from pairs begins when nothing is asked for."""

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.nn import SoftThreshold, SupportSelection

pytestmark = pytest.mark.filterwarnings("ignore:This fit of")
UNTRAINED = Trainer(max_epochs=0)


@pytest.fixture(scope="module")
def incoherent():
    return make_sparse_recovery(300, 40, 60, sparsity=3, random_state=0)


def alike(n=300, seed=0):
    """Return pairs of decaying exponentials, which are alike."""
    rng = np.random.default_rng(seed)
    t, T2 = np.arange(1, 33), np.geomspace(2, 100, 40)
    D = np.exp(-t / T2[:, None])
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    y = rng.random((n, 40)) * (rng.random((n, 40)) < 0.1)
    return D, y @ D, y


def test_analytic_weights_where_they_are_nearer(incoherent):
    D, X, y = incoherent.dictionary, incoherent.X, incoherent.y
    model = LISTARegressor(D, n_layers=8, trainer=UNTRAINED).fit(X, y)
    assert model.start_ == ("analytic", (2.0, 100.0), True)
    assert isinstance(model.network_.layers[0].shrinkage, SupportSelection)
    ista = clone(model).set_params(init="ista").fit(X, y)
    assert ista.start_ == ("ista", None, False)
    assert nmse_db(y, model.predict(X)) < nmse_db(y, ista.predict(X)) - 10  # dB
    named = clone(model).set_params(support_selection=(2.0, 100.0), learn_step=True).fit(X, y)
    np.testing.assert_array_equal(named.predict(X), model.predict(X))


def test_gradient_steps_where_atoms_are_alike():
    D, X, y = alike()
    model = LISTARegressor(D, n_layers=8, trainer=UNTRAINED).fit(X, y)
    assert model.start_ == ("gradient", None, True)
    assert isinstance(model.network_.layers[0].shrinkage, SoftThreshold)
    ista = clone(model).set_params(init="ista").fit(X, y)
    np.testing.assert_allclose(model.predict(X), ista.predict(X), atol=1e-10)
    analytic = clone(model).set_params(init="analytic").fit(X, y)
    assert analytic.start_.weights == "analytic"
    assert nmse_db(y, analytic.predict(X)) > nmse_db(y, model.predict(X))


def test_the_start_is_equivariant_and_does_not_depend_on_the_order(incoherent):
    D, X, y = incoherent.dictionary, incoherent.X, incoherent.y
    model = LISTARegressor(D, n_layers=4, trainer=UNTRAINED)
    for factor in (2.0**-20, 1e-4, 1e4):
        assert clone(model).fit(factor * X, factor * y).start_.weights == "analytic"
    assert clone(model).fit(X[::-1], y[::-1]).start_.weights == "analytic"


@pytest.mark.parametrize(
    "parameters",
    [{"weights": "free"}, {"weights": "adjoint"}, {"init": "random"}, {"shrinkage": "smooth"}],
    ids=str,
)
def test_other_networks_start_as_they_were_published(parameters, incoherent):
    model = LISTARegressor(incoherent.dictionary, n_layers=2, trainer=UNTRAINED, **parameters)
    assert model.fit(incoherent.X, incoherent.y).start_ == ("ista", None, False)


def test_without_pairs_or_zeros_it_is_ista(incoherent):
    model = LISTARegressor(incoherent.dictionary, n_layers=2, trainer=UNTRAINED)
    assert model.fit(incoherent.X).start_.weights == "ista"
    dense = incoherent.y + 1e-3
    assert model.fit(dense @ incoherent.dictionary, dense).start_.weights == "ista"


@pytest.mark.parametrize("make", [lambda: None, alike])
def test_training_goes_on_from_the_start_that_was_taken(make, incoherent):
    D, X, y = make() or (incoherent.dictionary, incoherent.X, incoherent.y)
    trainer = Trainer(max_epochs=1, batch_size=100)
    model = LISTARegressor(D, n_layers=3, trainer=trainer, random_state=0)
    model.partial_fit(X[:200], y[:200])
    start = model.start_
    for rows in (slice(200, 201), slice(200, 300)):  # one pair would choose otherwise
        assert model.partial_fit(X[rows], y[rows]).start_ == start
    again = model.set_params(warm_start=True).fit(X, y)
    assert again.start_ == start
    with pytest.raises(ValueError, match="cannot go on from the fitted network"):
        again.set_params(learn_step=False).fit(X, y)
    with pytest.raises(ValueError, match="support_selection must be two numbers"):
        again.set_params(learn_step="auto", support_selection=(1, 2, 3)).fit(X, y)
