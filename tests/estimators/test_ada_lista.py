"""Ada-LISTA as an estimator: the dictionary is metadata, one per observation."""

import pickle

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_unroll import AdaLISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import nmse_db


@pytest.fixture(scope="module")
def family():
    """200 pairs, and 100 to test on, each with a dictionary of its own."""
    sizes = {"n_features": 12, "n_components": 20, "sparsity": 2, "per_sample_dictionary": True}
    return tuple(
        make_sparse_recovery(n, **sizes, random_state=seed) for n, seed in ((200, 0), (100, 1))
    )


@pytest.fixture
def model():
    return AdaLISTARegressor(
        n_layers=4, trainer=Trainer(max_epochs=5, batch_size=50), random_state=0
    )


def repeated(D, n_samples):
    return np.broadcast_to(D, (n_samples, *D.shape))


def test_pairs_teach_it_codes_of_unseen_dictionaries(family, model, assert_below):
    train, test = family
    model.set_params(trainer__max_epochs=20, trainer__learning_rate=1e-2, n_layers=6)
    start = clone(model).set_params(trainer__max_epochs=0)
    start.fit(train.X, train.y, operators=train.dictionary)
    model.fit(train.X, train.y, operators=train.dictionary)
    before = nmse_db(test.y, start.predict(test.X, operators=test.dictionary))
    after = nmse_db(test.y, model.predict(test.X, operators=test.dictionary))
    assert_below(after - before, -3)


def test_without_labels_it_lowers_the_objective_of_unseen_dictionaries(
    family, model, assert_below
):
    train, test = family
    model.set_params(trainer__max_epochs=20, trainer__learning_rate=1e-2, n_layers=6)
    model.set_params(dictionary=train.dictionary[0])  # for observations that come without one
    start = clone(model).set_params(trainer__max_epochs=0)
    start.fit(train.X, operators=train.dictionary)
    model.fit(train.X, operators=train.dictionary)
    before = start.score(test.X, operators=test.dictionary)
    after = model.score(test.X, operators=test.dictionary)
    assert_below(after / before, 0.85)  # both are negative


def test_equal_dictionaries_are_a_shared_one(data, model):
    D = repeated(data.dictionary, 240)
    shared = clone(model).set_params(dictionary=data.dictionary).fit(data.X, data.y)
    own = model.fit(data.X, data.y, operators=D)
    codes = shared.predict(data.X)
    np.testing.assert_allclose(own.predict(data.X, operators=D), codes, atol=1e-9)
    np.testing.assert_allclose(shared.predict(data.X, operators=D), codes, atol=1e-12)
    assert own.score(data.X, operators=D) == pytest.approx(shared.score(data.X))
    assert own.dictionary_ is None
    np.testing.assert_array_equal(shared.dictionary_, data.dictionary)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("debias", [False, "least_squares"])
def test_every_method_takes_dictionaries(family, model, normalize, debias):
    train, test = family
    model.set_params(normalize=normalize, debias=debias)
    model.fit(train.X, train.y, operators=train.dictionary)
    D = {"operators": test.dictionary}
    codes = model.predict(test.X, **D)
    assert model.n_components_ == codes.shape[1] == 20
    np.testing.assert_array_equal(model.transform(test.X, **D), codes)
    *stages, last = model.staged_predict(test.X, **D)
    assert len(stages) == 3
    np.testing.assert_array_equal(last, codes)
    signals = np.einsum("in,inm->im", codes, test.dictionary)
    np.testing.assert_allclose(model.inverse_transform(codes, **D), signals)
    assert model.score(test.X, test.y, **D) == pytest.approx(r2_score(test.y, codes))
    relative = 1.0
    if normalize:
        relative = np.linalg.norm(test.X, axis=1) / model.norm_
        relative *= model.scale_.codes * model.scale_.atoms
    value = 0.5 * ((test.X - signals) ** 2).sum(1) + 0.1 * relative * np.abs(codes).sum(1)
    assert model.score(test.X, **D) == pytest.approx(-value.mean())
    # Every observation is solved with its own dictionary, whatever the others are.
    turned = np.roll(np.arange(100), 1)
    np.testing.assert_allclose(
        model.predict(test.X[turned], operators=test.dictionary[turned]),
        codes[turned],
        atol=1e-9,
    )
    assert not np.allclose(model.predict(test.X, operators=test.dictionary[turned]), codes)


@pytest.mark.parametrize("kind", [list, torch.from_numpy, np.asfortranarray])
def test_dictionaries_of_any_kind(family, model, kind):
    train, test = family
    codes = clone(model).fit(train.X, train.y, operators=train.dictionary)
    codes = codes.predict(test.X, operators=test.dictionary)
    model.fit(train.X, train.y, operators=kind(train.dictionary))
    np.testing.assert_array_equal(model.predict(test.X, operators=kind(test.dictionary)), codes)


def test_names_of_the_codes(family, model):
    train, _ = family
    model.fit(train.X, train.y, operators=train.dictionary)
    assert list(model.get_feature_names_out()) == [f"adalistaregressor{i}" for i in range(20)]
    model.set_output(transform="pandas")
    frame = model.transform(train.X, operators=train.dictionary)
    assert list(frame.columns) == list(model.get_feature_names_out())


def test_clone_and_pickle(family, model):
    train, test = family
    model.fit(train.X, train.y, operators=train.dictionary)
    D = {"operators": test.dictionary}
    codes = model.predict(test.X, **D)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(test.X, **D), codes)
    copy = clone(model)
    assert not hasattr(copy, "network_")
    copy.fit(train.X, train.y, operators=train.dictionary)
    np.testing.assert_array_equal(copy.predict(test.X, **D), codes)


def test_partial_fit_learns_from_a_stream(family, model, assert_below):
    train, test = family
    model.set_params(trainer__batch_size=25, trainer__learning_rate=1e-2)
    errors = []
    for _ in range(5):
        for rows in np.array_split(np.arange(200), 2):
            model.partial_fit(train.X[rows], train.y[rows], operators=train.dictionary[rows])
        errors.append(nmse_db(test.y, model.predict(test.X, operators=test.dictionary)))
    assert_below(errors[-1] - errors[0], -1)
    assert model.n_epochs_ == 10
    before = model.n_epochs_
    model.fit(train.X, train.y, operators=train.dictionary)
    model.partial_fit(train.X, train.y, operators=train.dictionary)
    assert model.n_epochs_ < before


def test_sample_weight_and_dictionaries(family, model):
    train, test = family
    weight = np.ones(200)
    weight[64:] = 0
    X, y = train.X.copy(), train.y.copy()
    X[64:], y[64:] = 3.0, -7.0
    model.set_params(trainer__batch_size=1000)
    weighted = clone(model).fit(X, y, sample_weight=weight, operators=train.dictionary)
    fewer = model.fit(train.X[:64], train.y[:64], operators=train.dictionary[:64])
    np.testing.assert_allclose(
        weighted.predict(test.X, operators=test.dictionary),
        fewer.predict(test.X, operators=test.dictionary),
        atol=1e-9,
    )


class Watched(AdaLISTARegressor):
    """Checks that rows of X, y and dictionaries still belong together."""

    def fit(self, X, y=None, sample_weight=None, operators=None):
        np.testing.assert_allclose(np.einsum("in,inm->im", y, operators), X)
        return super().fit(X, y, sample_weight, operators)


def test_folds_of_a_search_slice_the_dictionaries(family, model, assert_below):
    train, test = family
    watched = Watched(**model.get_params(deep=False)).set_params(trainer__learning_rate=1e-2)
    with sklearn.config_context(enable_metadata_routing=True):
        watched.set_fit_request(operators=True).set_score_request(operators=True)
        cv = KFold(3, shuffle=True, random_state=0)
        grid = {"n_layers": [1, 8], "trainer__max_epochs": [0, 1]}
        search = GridSearchCV(watched, grid, cv=cv, error_score="raise")
        search.fit(train.X, train.y, operators=train.dictionary)
        assert search.best_params_ == {"n_layers": 8, "trainer__max_epochs": 1}
        *_, second, best = np.sort(search.cv_results_["mean_test_score"])
        assert_below(second - best, -0.04)
        codes = search.best_estimator_.predict(test.X, operators=test.dictionary)
        assert search.score(test.X, test.y, operators=test.dictionary) == pytest.approx(
            r2_score(test.y, codes)
        )
        params = {"operators": train.dictionary}
        scores = cross_val_score(
            search.best_estimator_, train.X, train.y, cv=cv, params=params, error_score="raise"
        )
    assert scores.mean() == pytest.approx(search.best_score_)


def test_a_pipeline_routes_dictionaries_to_its_last_step(family, model):
    train, test = family
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(
            FunctionTransformer(np.negative),
            model.set_fit_request(operators=True)
            .set_predict_request(operators=True)
            .set_score_request(operators=True),
        )
        pipeline.fit(-train.X, train.y, operators=train.dictionary)
        codes = pipeline.predict(-test.X, operators=test.dictionary)
        assert pipeline.score(-test.X, test.y, operators=test.dictionary) == pytest.approx(
            r2_score(test.y, codes)
        )
    alone = clone(model).fit(train.X, train.y, operators=train.dictionary)
    np.testing.assert_array_equal(alone.predict(test.X, operators=test.dictionary), codes)


def test_dictionaries_that_nobody_asked_for_are_told(family, model):
    train, _ = family
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(model, {"n_layers": [1]}, cv=2)
        with pytest.raises(UnsetMetadataPassedError, match="operators"):
            search.fit(train.X, train.y, operators=train.dictionary)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda D: D[0, 0], r"\(n_samples, n_components, n_features\).*got \(12,\)"),
        (lambda D: D[0].T, r"X has 12 features.*gives 20. It looks transposed"),
        (lambda D: D[:199], r"holds 199 operators, but X has 200 samples"),
        (lambda D: [D[0][:10], *D[1:]], r"all have one shape, got \[\(10, 12\), \(20, 12\)\]"),
        (lambda D: np.where(np.arange(12) == 3, np.nan, D), "operators contains NaN"),
        (lambda D: torch.from_numpy(D * np.inf), "operators contains NaN or infinity"),
        (lambda D: D[:, :19], r"y has 20 components.*19 atoms"),
    ],
    ids=["1-D", "transposed", "number", "unequal", "NaN", "tensor", "atoms"],
)
def test_bad_dictionaries(family, model, spoil, message):
    train, _ = family
    with pytest.raises(ValueError, match=message):
        model.fit(train.X, train.y, operators=spoil(train.dictionary))
    assert not hasattr(model, "network_")


@pytest.mark.parametrize(
    "method", ["predict", "transform", "score", "staged_predict", "inverse_transform"]
)
def test_no_dictionaries_after_a_fit_with_them(family, model, method):
    train, _ = family
    model.fit(train.X, train.y, operators=train.dictionary)
    with pytest.raises(ValueError, match=rf"pass operators=.*to {method}, or dictionary=\.\.\."):
        list(getattr(model, method)(train.y if method == "inverse_transform" else train.X))


def test_a_shared_dictionary_stands_in_for_missing_ones(family, model):
    train, test = family
    D = train.dictionary[0]
    model.set_params(dictionary=D).fit(train.X, train.y, operators=train.dictionary)
    np.testing.assert_allclose(
        model.predict(test.X), model.predict(test.X, operators=repeated(D, 100)), atol=1e-12
    )
