"""What a user of any scikit-learn estimator expects of ours."""

import pickle
from copy import deepcopy

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import SparseCoder
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.functional import Dense, Observation, lasso_value
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.solvers import ISTA, iterates

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")


@pytest.mark.parametrize("weights", ["free", "coupled"])
@pytest.mark.parametrize("tied", [False, True])
def test_pairs_teach_it_to_recover_codes(data, model, weights, tied, assert_below):
    model.set_params(weights=weights, tied=tied, trainer__learning_rate=5e-3)
    model.set_params(trainer__max_epochs=20, trainer__batch_size=20)
    untrained = clone(model).set_params(trainer__max_epochs=0)
    before = nmse_db(data.y, untrained.fit(data.X, data.y).predict(data.X))
    after = nmse_db(data.y, model.fit(data.X, data.y).predict(data.X))
    assert_below(after - before, -5)


def test_without_labels_it_learns_to_minimise_the_problem(data, model, assert_below):
    model.set_params(trainer__max_epochs=60)
    untrained = clone(model).set_params(trainer__max_epochs=0)
    before = -untrained.fit(data.X).score(data.X)
    after = -model.fit(data.X).score(data.X)
    coder = SparseCoder(
        data.dictionary,
        transform_algorithm="lasso_cd",
        transform_alpha=model.alpha,
        transform_max_iter=10_000,
    )
    obs = Observation(torch.from_numpy(data.X), Dense(torch.from_numpy(data.dictionary)))
    codes = torch.from_numpy(coder.fit_transform(data.X))
    optimum = float(lasso_value(codes, obs, model.alpha).mean())
    assert optimum < after
    assert_below((after - optimum) / (before - optimum), 0.7)


def test_the_first_network_is_ista(data, model):
    model.set_params(trainer__max_epochs=0, normalize=False).fit(data.X, data.y)
    obs = Observation(torch.from_numpy(data.X), Dense(torch.from_numpy(data.dictionary)))
    classical = list(iterates(ISTA(obs, model.alpha), obs, model.n_layers))[1:]
    staged = list(model.staged_predict(data.X))
    assert len(staged) == model.n_layers
    for codes, x in zip(staged, classical, strict=True):
        np.testing.assert_allclose(codes, x.numpy(), atol=1e-12, rtol=0)


def test_the_last_stage_is_the_prediction_in_any_chunking(data, model):
    model.fit(data.X, data.y)
    many = np.tile(data.X, (10, 1))
    *_, last = model.staged_predict(many)
    np.testing.assert_array_equal(last, model.predict(many))
    np.testing.assert_allclose(model.predict(many)[:240], model.predict(data.X), atol=1e-12)


def test_transform_inverse_transform_and_names(data, model):
    codes = model.fit(data.X, data.y).transform(data.X)
    np.testing.assert_array_equal(codes, model.predict(data.X))
    np.testing.assert_allclose(model.inverse_transform(codes), codes @ data.dictionary)
    assert list(model.get_feature_names_out()) == [f"listaregressor{i}" for i in range(20)]


def test_set_output_gives_data_frames(data, model):
    frame = pd.DataFrame(data.X, columns=[f"pixel{i}" for i in range(12)])
    codes = model.set_output(transform="pandas").fit(frame, data.y).transform(frame)
    assert isinstance(codes, pd.DataFrame)
    assert list(codes.columns) == list(model.get_feature_names_out())
    assert list(model.feature_names_in_) == list(frame.columns)


def test_score_is_r2_with_y_and_minus_the_objective_without(data, model):
    model.set_params(normalize=False).fit(data.X, data.y)
    codes = model.predict(data.X)
    assert model.score(data.X, data.y) == pytest.approx(r2_score(data.y, codes))
    value = 0.5 * ((data.X - codes @ data.dictionary) ** 2).sum(1)
    value += model.alpha * np.abs(codes).sum(1)
    assert model.score(data.X) == pytest.approx(-value.mean())
    weight = np.arange(240.0)
    expected = -np.average(value, weights=weight)
    assert model.score(data.X, sample_weight=weight) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(data, model, dtype):
    X, y = data.X.astype(dtype), data.y.astype(dtype)
    model.fit(X, y)
    assert model.dictionary_.dtype == dtype
    assert {p.dtype for p in model.network_.parameters()} == {getattr(torch, dtype.__name__)}
    for other in (np.float32, np.float64):
        Z = data.X.astype(other)
        assert model.predict(Z).dtype == model.transform(Z).dtype == other
        assert model.inverse_transform(model.predict(Z)).dtype == other


def test_one_dimensional_codes(data):
    model = LISTARegressor(data.dictionary[:1], trainer=Trainer(max_epochs=2))
    model.fit(data.y[:, :1] @ data.dictionary[:1], data.y[:, 0])
    assert model.predict(data.X).shape == (240,)
    assert model.transform(data.X).shape == (240, 1)
    assert next(iter(model.staged_predict(data.X))).shape == (240,)
    assert model.fit(data.X).predict(data.X).shape == (240, 1)


def test_a_missing_dictionary_is_estimated_from_the_pairs(data):
    model = LISTARegressor(trainer=Trainer(max_epochs=1)).fit(data.X, data.y)
    np.testing.assert_allclose(model.dictionary_, data.dictionary, atol=1e-4)
    # A weight of zero takes a sample out of the estimate, however wrong it is.
    X, weight = data.X.copy(), np.ones(240)
    X[:10], weight[:10] = 100.0, 0.0
    model.fit(X, data.y, sample_weight=weight)
    np.testing.assert_allclose(model.dictionary_, data.dictionary, atol=1e-3)


def test_partial_fit_learns_from_a_stream(data, model, assert_below):
    model.set_params(trainer__decay="constant", trainer__batch_size=20)
    scores = []
    for _ in range(6):
        for rows in np.array_split(np.arange(240), 3):
            model.partial_fit(data.X[rows], data.y[rows])
        scores.append(nmse_db(data.y, model.predict(data.X)))
    assert_below(scores[-1] - scores[0], -1)
    assert model.n_epochs_ == 18


def test_partial_fit_is_one_optimiser_not_a_fresh_one_each_time(data, model, assert_below):
    """Adam's moments carry over: two calls in a row equal two epochs at a constant rate."""
    trainer = Trainer(decay="constant", batch_size=1000, max_epochs=2, learning_rate=1e-3)
    expected = clone(model).set_params(trainer=trainer).fit(data.X, data.y).predict(data.X)
    stream = clone(model).set_params(trainer=trainer)
    restarted = clone(model).set_params(trainer=trainer, warm_start=True, trainer__max_epochs=1)
    for _ in range(2):
        stream.partial_fit(data.X, data.y)
        restarted.fit(data.X, data.y)
    # Not equal to the bit: fit relates Adam's eps to the first loss.
    distance = np.abs(stream.predict(data.X) - expected).max()
    assert_below(distance / np.abs(restarted.predict(data.X) - expected).max(), 0.1)


def test_warm_start_goes_on_and_a_cold_start_does_not(data, model, assert_below):
    cold = deepcopy(model.fit(data.X, data.y)).fit(data.X, data.y)
    np.testing.assert_array_equal(cold.predict(data.X), model.predict(data.X))
    first = model.history_.column("monitor").min()
    model.set_params(warm_start=True).fit(data.X, data.y)
    assert model.history_[0].monitor == pytest.approx(first, rel=1e-12)
    assert_below(model.history_.column("monitor").min() / first - 1, -0.04)


def test_warm_start_with_another_network_is_an_error(data, model):
    model.set_params(warm_start=True).fit(data.X, data.y)
    before = model.predict(data.X)
    with pytest.raises(ValueError, match="warm_start=False"):
        model.set_params(n_layers=6).fit(data.X, data.y)
    np.testing.assert_array_equal(model.predict(data.X), before)


def test_a_clone_is_not_fitted(data, model):
    with pytest.raises(NotFittedError):
        clone(model.fit(data.X, data.y)).predict(data.X)


@pytest.mark.parametrize("how", ["pickle", "joblib"])
def test_a_stored_estimator_predicts_and_goes_on_alike(data, model, how, tmp_path):
    model.fit(data.X, data.y).partial_fit(data.X, data.y)
    if how == "pickle":
        loaded = pickle.loads(pickle.dumps(model))
    else:
        joblib.dump(model, tmp_path / "model.joblib")
        loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict(data.X), model.predict(data.X))
    for estimator in (loaded, model):
        estimator.partial_fit(data.X, data.y)
    np.testing.assert_array_equal(loaded.predict(data.X), model.predict(data.X))


def test_same_random_state_same_bits_whatever_the_global_generators(data, model):
    def fit(seed):
        torch.manual_seed(seed)
        np.random.seed(seed)
        states = torch.get_rng_state(), np.random.get_state()[1].copy()
        codes = clone(model).fit(data.X, data.y).predict(data.X)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.array_equal(np.random.get_state()[1], states[1])
        return codes

    np.testing.assert_array_equal(fit(1), fit(2))
    other = clone(model).set_params(random_state=1).fit(data.X, data.y).predict(data.X)
    assert not np.array_equal(fit(1), other)


def test_grid_search_over_trainer_and_depth_in_two_processes(data, model):
    grid = {"trainer__max_epochs": [0, 1], "n_layers": [1, 5]}
    search = GridSearchCV(model, grid, cv=2, n_jobs=2, error_score="raise").fit(data.X, data.y)
    assert search.best_params_["n_layers"] == 5
    assert model.trainer.max_epochs == 4  # the search trained clones
    assert not hasattr(model, "network_")


def test_grid_search_without_labels(data, model, assert_below):
    grid = {"trainer__max_epochs": [0, 4]}
    model.set_params(trainer__learning_rate=3e-3)
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(data.X)
    assert search.best_params_ == {"trainer__max_epochs": 4}
    untrained, trained = search.cv_results_["mean_test_score"]
    assert_below(untrained - trained, -0.008)


def test_pipeline_with_a_scaler_before_and_a_classifier_after(data, model, assert_below):
    # The class is whether one of two atoms is active: linear in |codes|, not in X.
    labels = (data.y[:, :2] != 0).any(1).astype(int)
    model.set_params(trainer__objective="lasso", trainer__max_epochs=40, alpha=0.02, n_layers=10)
    pipeline = make_pipeline(
        StandardScaler(with_std=False),
        model,
        FunctionTransformer(np.abs),
        LogisticRegression(C=100, max_iter=1000),
    )
    scores = cross_val_score(pipeline, data.X, labels, cv=3)
    gain = scores.mean() - max(labels.mean(), 1 - labels.mean())
    assert_below(-gain, -0.05)


def test_labels_as_codes_get_a_hint(data, model):
    with pytest.raises(ValueError, match=r"y has 1 components.*20 atoms.*objective='lasso'"):
        model.fit(data.X, (data.y[:, 0] != 0).astype(int))
