import pickle

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import aslinearoperator
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_unroll import ADMMCSNetRegressor, Trainer
from sklearn_unroll.datasets import make_phantoms, radial_mask
from sklearn_unroll.functional import Dense, MaskedFourier, PartialHadamard, unpack_complex
from sklearn_unroll.metrics import psnr

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

SHAPE = (16, 16)
QUICK = Trainer(learning_rate=3e-3, max_epochs=4, batch_size=20)


@pytest.fixture(scope="module")
def patches():
    return make_phantoms(160, SHAPE, random_state=0)


def measured(A, y):
    return A(torch.from_numpy(y).double()).numpy().astype(y.dtype)


def fourier(**options):
    return MaskedFourier(radial_mask(SHAPE, 0.4), **options)


OPERATORS = {
    "Fourier, basic": (fourier(), {"stage": "basic"}),
    "Fourier, generic": (fourier(), {"filter_size": 3}),
    "Hadamard": (PartialHadamard(256, rows=range(0, 256, 2)), {"filter_size": 3}),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_training_helps_on_unseen_pictures(patches, name, assert_below):
    A, options = OPERATORS[name]
    X = measured(A, patches)
    model = ADMMCSNetRegressor(
        A, image_shape=SHAPE, n_layers=4, trainer=QUICK, random_state=0, **options
    )
    model.fit(X[:120], patches[:120])
    untrained = clone(model).set_params(trainer__max_epochs=0).fit(X[:120], patches[:120])
    true = patches[120:]
    learned, classical = (psnr(true, m.predict(X[120:]), data_range=1) for m in (model, untrained))
    filled = A.adjoint(torch.from_numpy(X[120:])).numpy()
    assert_below(classical - learned, -0.2)
    assert_below(psnr(true, filled, data_range=1) - learned, -1)
    *_, last = stages = list(model.staged_predict(X[120:]))
    assert len(stages) == 4
    np.testing.assert_array_equal(last, model.predict(X[120:]))
    np.testing.assert_allclose(model.inverse_transform(true), X[120:], atol=1e-12)
    assert model.dictionary_ is None and model.operator_.n_features == X.shape[1]


def test_a_scipy_operator_a_matrix_and_a_dictionary_are_the_same(patches):
    rng = np.random.default_rng(0)
    y = patches.reshape(-1, 16, 16)[:40, :8, :8].reshape(40, 64)
    D = rng.standard_normal((64, 30)) / 8
    X = y @ D
    found = []
    given = (D, Dense(torch.from_numpy(D)), aslinearoperator(D.T), scipy.sparse.csr_array(D.T))
    for operator in given:
        model = ADMMCSNetRegressor(
            operator, image_shape=(8, 8), n_layers=2, filter_size=3, random_state=0,
            trainer=Trainer(max_epochs=1),
        )  # fmt: skip
        found.append(model.fit(X, y).predict(X))
        assert (model.dictionary_ is None) == (operator is given[2] or operator is given[3])
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-7)


@pytest.mark.parametrize("parametrization", ["structured", "dense"])
def test_without_an_operator_a_dictionary_is_estimated(parametrization):
    rng = np.random.default_rng(0)
    y = rng.standard_normal((200, 12)) * (rng.random((200, 12)) < 0.2)
    D = rng.standard_normal((12, 8))
    model = ADMMCSNetRegressor(
        parametrization=parametrization,
        n_layers=3,
        alpha=0.05,
        rho=1.0,
        trainer=Trainer(max_epochs=3),
    )
    model.fit(y @ D, y)
    np.testing.assert_allclose(model.dictionary_, D, atol=1e-3)
    assert model.predict(y @ D).shape == (200, 12)
    assert model.get_feature_names_out().shape == (12,)


def test_dense_networks_take_any_operator_and_normal_weights(patches):
    A = PartialHadamard(256, rows=range(0, 256, 8))
    X = measured(A, patches)
    model = ADMMCSNetRegressor(
        A, parametrization="dense", n_layers=2, trainer=Trainer(max_epochs=1)
    )
    written = clone(model).set_params(operator=A(torch.eye(256, dtype=torch.float64)).numpy())
    expected = written.fit(X, patches).predict(X)
    np.testing.assert_allclose(model.fit(X, patches).predict(X), expected, atol=1e-9)
    model.set_params(init="normal", sharpness=1.0, random_state=0).fit(X, patches)
    again = clone(model).fit(X, patches)
    assert float(model.network_.layers[0].weights.W1.detach().std()) == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(model.predict(X), again.predict(X))


def test_float32_pickles_clones_and_warm_starts(patches):
    A = fourier()
    y = patches.astype(np.float32)
    X = measured(A, y)
    model = ADMMCSNetRegressor(A, image_shape=SHAPE, stage="basic", n_layers=2, trainer=QUICK)
    model.set_params(random_state=0, warm_start=True).fit(X, y)
    found = model.predict(X)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), found)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), found)
    first = model.history_[-1].monitor
    assert model.fit(X, y).history_[0].monitor == pytest.approx(first, rel=1e-3)
    model.partial_fit(X[:20], y[:20])


def test_complex_pictures(patches, assert_below):
    A = fourier(complex_images=True)
    y = np.concatenate([patches, patches[::-1] / 2], axis=1)
    X = measured(A, y)
    model = ADMMCSNetRegressor(A, image_shape=SHAPE, stage="basic", n_layers=2, trainer=QUICK)
    found = model.fit(X, y).predict(X)
    filled = A.adjoint(torch.from_numpy(X)).numpy()
    assert_below(psnr(y, filled, data_range=1) - psnr(y, found, data_range=1), -1)
    assert unpack_complex(torch.from_numpy(found)).shape == (160, 256)


def test_consistent_pictures_agree_with_the_observations(patches):
    A = fourier()
    X = measured(A, patches)
    model = ADMMCSNetRegressor(
        A, image_shape=SHAPE, stage="basic", n_layers=2, consistent=True, trainer=QUICK
    )
    found = model.fit(X, patches).predict(X)
    np.testing.assert_allclose(model.inverse_transform(found), X, atol=1e-10)


def test_it_can_be_searched(patches, assert_below):
    A = fourier()
    X = measured(A, patches)
    model = ADMMCSNetRegressor(A, image_shape=SHAPE, stage="basic", n_layers=2, trainer=QUICK)
    search = GridSearchCV(model, {"trainer__max_epochs": [0, QUICK.max_epochs]}, cv=2)
    untrained, trained = search.fit(X, patches).cv_results_["mean_test_score"]  # both negative
    assert_below(trained / untrained, 0.75)
    assert search.best_params_["trainer__max_epochs"] > 0


def test_no_lasso_is_claimed_for_pictures(patches):
    A = fourier()
    X = measured(A, patches)
    model = ADMMCSNetRegressor(A, image_shape=SHAPE, stage="basic", n_layers=1, trainer=QUICK)
    with pytest.raises(ValueError, match="has no alpha of its own"):
        model.fit(X, patches).certify(X)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rho": 0.0}, "rho"),
        ({"rho": -1.0}, "rho"),
        ({"alpha": 0.0}, "alpha"),
        ({"image_shape": (15, 16)}, r"\(15, 16\) does not tile rows of 256 entries"),
        ({"image_shape": (8, 32)}, r"mask, \(16, 16\)"),
        ({"image_shape": (16,)}, r"image_shape must be \(height, width\)"),
        ({"stage": "deep"}, "stage"),
        ({"filter_size": 4}, "odd and at least 3, got 4"),
        ({"parametrization": "sparse"}, "parametrization"),
        ({"sharpness": 0.0}, "sharpness"),
        ({"operator": MaskedFourier(radial_mask(SHAPE, 0.2))},
         r"but operator, a MaskedFourier .* gives \d+. They are \[Re \| Im\] of the \d+ entries"),
        ({"operator": PartialHadamard(256, rows=range(9))}, "256 components, gives 9"),
        ({"operator": Dense(torch.ones(3, 256, 206))}, "operator must be one for all samples"),
        ({"operator": np.ones((256, 9))}, r"expected shape \(n_components, "),
        ({"image_shape": None, "stage": "basic"}, "needs pictures"),
        ({"trainer": Trainer("lasso")}, "learns from pairs"),
    ],
    ids=lambda p: str(p)[:40],
)  # fmt: skip
def test_bad_input(patches, changes, message):
    A = fourier()
    model = ADMMCSNetRegressor(A, image_shape=SHAPE, n_layers=1, trainer=Trainer(max_epochs=1))
    with pytest.raises(ValueError, match=message):
        model.set_params(**changes).fit(measured(A, patches), patches)


def test_observations_and_pictures_that_cannot_be(patches):
    A = fourier()
    X = measured(A, patches)
    model = ADMMCSNetRegressor(A, image_shape=SHAPE, n_layers=1, trainer=Trainer(max_epochs=1))
    complex_X = unpack_complex(torch.from_numpy(X)).numpy()
    with pytest.raises(ValueError, match="Complex data not supported"):
        model.fit(complex_X, patches)
    with pytest.raises(ValueError, match="y has 255 components.*MaskedFourier has 256"):
        model.fit(X, patches[:, 1:])
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.fit(X)
    with pytest.raises(ValueError, match="all zero: nothing would be observed"):
        MaskedFourier(np.zeros(SHAPE))
