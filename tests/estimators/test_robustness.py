"""What a first review found: each of these was wrong once."""

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_unroll import ALISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.estimators._state import to_host
from sklearn_unroll.metrics import duality_gap_scorer, psnr_scorer
from sklearn_unroll.plotting import ConvergenceDisplay
from sklearn_unroll.training import Lasso, Objective

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")


@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_fitted_dictionary_is_our_own_memory(data, model, as_tensor):
    D = data.dictionary.copy()
    model.set_params(dictionary=torch.from_numpy(D) if as_tensor else D).fit(data.X, data.y)
    before = model.predict(data.X)
    D[:] = 0
    np.testing.assert_array_equal(model.predict(data.X), before)
    model.dictionary_[:] = 7
    assert not D.any()


def test_held_out_samples_are_those_with_weight(data, assert_below):
    many = make_sparse_recovery(1500, dictionary=data.dictionary, sparsity=2, random_state=1)
    weight = np.zeros(1500)
    weight[:40] = 1
    trainer = Trainer(max_epochs=20)
    model = LISTARegressor(data.dictionary, init="ista", trainer=trainer, random_state=0)
    model.fit(many.X, many.y, sample_weight=weight)
    assert not model.history_.held_out  # 40 samples count, not 1500
    model.set_params(trainer__early_stopping=True, trainer__max_epochs=80)
    model.fit(many.X, many.y, sample_weight=weight)
    monitor = model.history_.column("monitor")
    assert monitor.min() > 0
    assert_below(monitor.min() / monitor[0], 0.9)


def test_partial_fit_follows_a_changed_learning_rate(data, model):
    model.partial_fit(data.X, data.y)
    before = model.predict(data.X)
    model.set_params(trainer__learning_rate=1e-30).partial_fit(data.X, data.y)
    np.testing.assert_allclose(model.predict(data.X), before, atol=1e-12)


@pytest.mark.parametrize("make", [LISTARegressor, ALISTARegressor])
def test_a_search_may_set_the_trainer_of_a_default_estimator(data, make):
    model = make(data.dictionary, n_layers=1)
    grid = {"trainer__learning_rate": [1e-3, 1e-2], "trainer__max_epochs": [1]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(data.X, data.y)
    recipe = search.best_estimator_.trainer
    assert model.trainer is None
    assert recipe.max_epochs == 1
    assert recipe.loss == "log"  # the rest is the estimator's own recipe


def test_no_gradient_mode_does_not_stop_training(data, model, assert_below):
    with torch.no_grad():
        model.fit(data.X, data.y)
    monitor = model.history_.column("monitor")
    assert_below(monitor[-1] / monitor[0] - 1, -0.05)


def test_sparse_and_textual_codes(data, model):
    with pytest.raises(TypeError, match=r"Sparse data was passed for y.*toarray"):
        model.fit(data.X, scipy.sparse.csr_array(data.y))
    words = np.array(["a", "b"])[(data.y[:, 0] != 0).astype(int)]
    with pytest.raises(ValueError, match=r"y must hold numbers|could not convert"):
        model.fit(data.X, words)


def test_values_too_large_for_the_fit(data, model):
    model.fit(data.X.astype(np.float32), data.y.astype(np.float32))
    with pytest.raises(ValueError, match="too large for float32"):
        model.predict(data.X * 1e39)
    with pytest.raises(ValueError, match="too large for float32"):
        model.inverse_transform(data.y * 1e39)
    with pytest.raises(ValueError, match=r"entries too large.*Rescale"):
        clone(model).set_params(dictionary=data.dictionary * 1e200).fit(data.X, data.y)


@pytest.mark.parametrize(
    "dictionary", [np.zeros((0, 12)), np.ones(12), np.ones((2, 3, 12)), torch.zeros(0, 12)]
)
def test_a_dictionary_without_shape_is_named(data, model, dictionary):
    with pytest.raises(ValueError, match="dictionary"):
        model.set_params(dictionary=dictionary).fit(data.X, data.y)


def test_warm_start_on_data_of_another_width(data):
    model = LISTARegressor(warm_start=True, trainer=Trainer(max_epochs=1)).fit(data.X, data.y)
    with pytest.raises(ValueError, match="X has 10 features, but dictionary, a Dense"):
        model.fit(data.X[:, :10], data.y)


def test_complex_tensors_under_dispatch(data, model):
    from sklearn_unroll.estimators._arrays import refuse_kind

    for array in (torch.ones(2, dtype=torch.complex64), np.ones(2, dtype=complex)):
        with pytest.raises(ValueError, match="Complex data not supported: X"):
            refuse_kind(array, "X")
    with pytest.raises(ValueError, match="Complex data not supported"):
        model.fit(data.X, data.y + 1j)


def test_one_component_codes_work_everywhere(data):
    model = LISTARegressor(data.dictionary[:1], normalize=False, trainer=Trainer(max_epochs=2))
    model.fit(np.outer(data.y[:, 0], data.dictionary[0]), data.y[:, 0])
    codes = model.predict(data.X)
    np.testing.assert_allclose(model.inverse_transform(codes), np.outer(codes, data.dictionary[0]))
    assert psnr_scorer(model, data.X) > 0
    assert duality_gap_scorer(model, data.X) <= 0
    assert len(ConvergenceDisplay.from_estimator(model, data.X).curves) == 3


def test_the_label_free_score_is_at_the_alpha_that_was_trained(data, model):
    low = clone(model).set_params(trainer=Trainer(Lasso(alpha=0.5), max_epochs=1)).fit(data.X)
    high = clone(low).set_params(alpha=0.5, trainer=Trainer("lasso", max_epochs=1))
    codes = low.predict(data.X)
    value = 0.5 * ((data.X - codes @ data.dictionary) ** 2).sum(1) + 0.5 * np.abs(codes).sum(1)
    assert low.score(data.X) == pytest.approx(-value.mean())
    assert high.fit(data.X).score(data.X) > -2 * value.mean()


def test_an_objective_must_return_one_number_per_sample(data, model):
    class Column(Objective):
        requires_y = False

        def value(self, iterates, obs, y):
            return iterates[-1].sum(-1, keepdim=True)

    with pytest.raises(ValueError, match=r"Column.value must return one number per sample"):
        model.set_params(trainer=Trainer(Column())).fit(data.X)


def test_nested_state_moves_to_the_host():
    state = {"state": {0: {"exp_avg": torch.ones(2)}}, "groups": [(1, torch.ones(1))], "n": 3}
    moved = to_host(state)
    assert moved["n"] == 3
    assert torch.equal(moved["state"][0]["exp_avg"], torch.ones(2))
    assert isinstance(moved["groups"][0], tuple)


def test_display_arguments_are_not_overruled(data, model):
    model.fit(data.X, data.y)
    with pytest.raises(ValueError, match=r"name='ista' is also"):
        ConvergenceDisplay.from_estimator(model, data.X, name="ista")
    display = ConvergenceDisplay.from_estimator(
        model, data.X, compare_with=(s for s in ["fista"]), marker="x"
    )
    assert set(display.curves) == {"LISTARegressor", "fista"}
    assert display.lines_[0].get_marker() == "x"
    assert set(ConvergenceDisplay.from_estimator(model, data.X, compare_with="fista").curves) == {
        "LISTARegressor",
        "fista",
    }
