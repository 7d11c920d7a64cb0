"""Bad input gets an error that says what was given, what was expected and what to do."""

import re
import warnings

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_unroll import (
    AdaLISTARegressor,
    ALISTARegressor,
    HyperLISTARegressor,
    LISTARegressor,
    TISTARegressor,
    Trainer,
)
from sklearn_unroll.training import DivergenceError, Objective

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")


def spoil(array, value):
    array = np.array(array, dtype=float)
    array.flat[3] = value
    return array


@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_transposed_dictionary_is_recognised(data, model, as_tensor):
    D = data.dictionary.T
    model.set_params(dictionary=torch.from_numpy(D.copy()) if as_tensor else D)
    with pytest.raises(ValueError, match=r"\(12, 20\).*X has 12 features.*pass dictionary\.T"):
        model.fit(data.X, data.y)


def test_a_dictionary_of_another_width(data, model):
    with pytest.raises(ValueError, match=r"\(20, 11\), but X has 12 features"):
        model.set_params(dictionary=data.dictionary[:, :11]).fit(data.X, data.y)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["X", "y", "dictionary", "dictionary tensor"])
def test_nan_and_inf_anywhere(data, model, value, where):
    X, y, D = data.X, data.y, data.dictionary
    if where == "X":
        X = spoil(X, value)
    elif where == "y":
        y = spoil(y, value)
    else:
        D = spoil(D, value)
        D = torch.from_numpy(D) if where == "dictionary tensor" else D
    with pytest.raises(ValueError, match=r"(?i)(contains|nan|infinity)"):
        model.set_params(dictionary=D).fit(X, y)


def test_nan_at_predict(data, model):
    with pytest.raises(ValueError, match="NaN"):
        model.fit(data.X, data.y).predict(spoil(data.X, np.nan))


def test_zero_atoms(data, model):
    D = data.dictionary.copy()
    D[[2, 7]] = 0
    with pytest.raises(ValueError, match=r"2 zero atom\(s\), at rows \[2, 7\]"):
        model.set_params(dictionary=D).fit(data.X, data.y)


def test_an_atom_that_is_never_active_in_the_pairs_is_no_error(data):
    y = data.y.copy()
    y[:, 4] = 0
    model = LISTARegressor(trainer=Trainer(max_epochs=1)).fit(y @ data.dictionary, y)
    assert not model.dictionary_[4].any()
    assert np.isfinite(model.predict(data.X)).all()
    assert not model.predict(data.X)[:, 4].any()


@pytest.mark.parametrize(
    "make",
    [LISTARegressor, ALISTARegressor, AdaLISTARegressor, TISTARegressor, HyperLISTARegressor],
)
def test_pairs_that_the_dictionary_does_not_explain_are_told(data, make):
    small = {} if make is HyperLISTARegressor else {"trainer": Trainer(max_epochs=1)}
    model = make(data.dictionary, n_layers=1, **small)
    y = data.y[:, np.random.default_rng(0).permutation(20)]  # atoms in another order
    with pytest.warns(UserWarning, match="X and y do not fit the dictionary") as caught:
        model.fit(data.X, y)
    residual = ((data.X - y @ data.dictionary) ** 2).sum() / (data.X**2).sum()
    told = re.search(r"\((-?[\d.]+) dB\)", str(caught[0].message)).group(1)
    assert float(told) == pytest.approx(10 * np.log10(residual), abs=0.051)
    # Good pairs, and no pairs, are no reason for a warning, which here would be an error.
    model.fit(data.X, data.y)
    if make is not TISTARegressor:
        model.fit(data.X)


def test_scaled_codes_are_told_and_noisy_ones_are_not(data, model):
    noise = np.random.default_rng(0).standard_normal(data.X.shape)
    noise *= np.linalg.norm(data.X) / np.linalg.norm(noise)
    for snr, told in ((10, False), (2, False), (-2, True)):
        X = data.X + 10 ** (-snr / 20) * noise
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, data.y)
        assert bool(caught) == told
    with pytest.warns(UserWarning, match=r"81 times the energy of X \(19\.1 dB\)"):
        model.fit(data.X, 10 * data.y)
    with pytest.warns(UserWarning, match="do not fit"):
        model.partial_fit(data.X, -data.y)
    # What has no weight is not looked at, and a dictionary made from the pairs explains them.
    y, weight = data.y.copy(), np.ones(240)
    y[:30], weight[:30] = 100.0, 0.0
    model.fit(data.X, y, sample_weight=weight)
    model.set_params(dictionary=None).fit(noise, data.y)
    model.partial_fit(noise, data.y)


def test_own_dictionaries_that_do_not_explain_the_pairs_are_told(data):
    D = np.broadcast_to(data.dictionary, (240, 20, 12)).copy()
    model = AdaLISTARegressor(n_layers=1, trainer=Trainer(max_epochs=1))
    model.fit(data.X, data.y, operators=D)
    with pytest.warns(UserWarning, match=r"4 times the energy of X \(6\.0 dB\)"):
        model.fit(data.X, data.y, operators=-D)


def test_all_zero_codes_cannot_give_a_dictionary(data):
    with pytest.raises(ValueError, match="y is all zero"):
        LISTARegressor().fit(data.X, np.zeros_like(data.y))


def test_codes_with_another_number_of_components(data, model):
    with pytest.raises(ValueError, match=r"y has 19 components.*20 atoms"):
        model.fit(data.X, data.y[:, :19])


def test_codes_at_inverse_transform_with_another_number_of_components(data, model):
    with pytest.raises(ValueError, match=r"19 components.*20 atoms"):
        model.fit(data.X, data.y).inverse_transform(data.y[:, :19])


@pytest.mark.parametrize("where", ["X", "dictionary", "dictionary tensor"])
def test_complex_data(data, model, where):
    X, D = data.X, data.dictionary
    if where == "X":
        X = X + 1j
    else:
        D = D + 1j
        D = torch.from_numpy(D) if where == "dictionary tensor" else D
    with pytest.raises(ValueError, match="Complex data not supported"):
        model.set_params(dictionary=D).fit(X, data.y)


def test_sparse_observations(data, model):
    with pytest.raises(TypeError, match=r"(?i)sparse"):
        model.fit(scipy.sparse.csr_array(data.X), data.y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_empty_batch(data, model, method):
    with pytest.raises(ValueError, match="0 sample"):
        getattr(model, method)(data.X[:0], data.y[:0])
    with pytest.raises(ValueError, match="0 sample"):
        model.fit(data.X, data.y).predict(data.X[:0])
    with pytest.raises(ValueError, match="0 sample"):
        getattr(ALISTARegressor(data.dictionary), method)(data.X[:0], data.y[:0])
    with pytest.raises(ValueError, match="0 sample"):
        HyperLISTARegressor(data.dictionary).fit(data.X[:0])


def test_another_number_of_features_at_predict(data, model):
    with pytest.raises(ValueError, match="11 features.*expecting 12"):
        model.fit(data.X, data.y).predict(data.X[:, :11])


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"n_layers": 0}, "n_layers"),
        ({"n_layers": 2.5}, "n_layers"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1.0}, "alpha"),
        ({"weights": "fre"}, r"'coupled'.*'free'|'free'.*'coupled'"),
        ({"tied": "yes"}, "tied"),
        ({"trainer": "adam"}, "trainer"),
        ({"trainer": Trainer("supervise")}, "'lasso'.*'supervised'|'supervised'.*'lasso'"),
        ({"trainer": Trainer(schedule="greedy")}, "'end_to_end'"),
        ({"trainer": Trainer(decay="linear")}, "'cosine'"),
        ({"trainer": Trainer(learning_rate=-1)}, "learning_rate"),
        ({"trainer": Trainer(max_epochs=-1)}, "max_epochs"),
        ({"trainer": Trainer(batch_size=0)}, "batch_size"),
        ({"trainer": Trainer(validation_fraction=1.0)}, "validation_fraction"),
        ({"device": "gpu"}, "device='gpu' cannot be used.*'cpu'"),
        ({"device": "cuda:99"}, "cuda:99.*use 'auto'"),
        ({"random_state": "seed"}, "random_state"),
    ],
    ids=lambda p: str(p)[:40],
)
def test_invalid_parameters(data, model, parameters, message):
    with pytest.raises(ValueError, match=message):
        model.set_params(**parameters).fit(data.X, data.y)
    assert not hasattr(model, "n_features_in_")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_where_there_is_none(data, model):
    with pytest.raises(ValueError, match="device='cuda' cannot be used: torch .* says"):
        model.set_params(device="cuda").fit(data.X, data.y)


def test_no_y_with_an_objective_that_needs_it(data, model):
    with pytest.raises(ValueError, match=r"Supervised .*requires y.*y is None"):
        model.set_params(trainer__objective="supervised").fit(data.X)


def test_no_y_and_no_dictionary(data):
    with pytest.raises(ValueError, match="requires y to be passed"):
        LISTARegressor().fit(data.X)


@pytest.mark.parametrize("weight", [-np.ones(240), np.zeros(240), np.ones(239), "half"])
def test_invalid_weights(data, model, weight):
    with pytest.raises(ValueError, match=r"(?i)weight|negative|convert"):
        model.fit(data.X, data.y, sample_weight=weight)


class Explode(Objective):
    """Fine once, then NaN."""

    requires_y = False
    calls = 0

    def value(self, iterates, obs, y):
        type(self).calls += 1
        return iterates[-1].sum(-1) * (1.0 if self.calls < 2 else float("nan"))


class Interrupt(Objective):
    """What Ctrl-C in the middle of training does."""

    requires_y = False

    def value(self, iterates, obs, y):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "objective, error", [(Explode, DivergenceError), (Interrupt, KeyboardInterrupt)]
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_fit_that_does_not_end_well_leaves_no_trace(data, model, objective, error, method):
    Explode.calls = 0 if method == "fit" else 5
    model.set_params(trainer__objective=objective())
    with pytest.raises(error):
        getattr(model, method)(data.X)
    assert not [name for name in vars(model) if name.endswith("_") and not name.startswith("__")]
    with pytest.raises(NotFittedError):
        model.predict(data.X)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("warm_start", [False, True])
def test_and_an_earlier_fit_stays_whole(data, model, method, warm_start):
    model.set_params(warm_start=warm_start).fit(data.X, data.y)
    before, state = model.predict(data.X), set(vars(model))
    Explode.calls = 1
    model.set_params(trainer=Trainer(Explode()))
    with pytest.raises(DivergenceError):
        getattr(model, method)(data.X)
    np.testing.assert_array_equal(model.predict(data.X), before)
    assert set(vars(model)) == state


def test_divergence_tells_stage_epoch_and_rate(data, model):
    Explode.calls = 0
    with pytest.raises(DivergenceError, match=r"stage 'end_to_end', epoch 1.*now 0\.001"):
        clone(model).set_params(trainer__objective=Explode()).fit(data.X)
