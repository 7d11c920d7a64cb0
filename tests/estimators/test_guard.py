"""Guards and units of the sample, over the table of estimators."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import (
    AdaLISTARegressor,
    ADMMCSNetRegressor,
    ALISTARegressor,
    FBSNet,
    FeedForwardRegressor,
    HyperLISTARegressor,
    LAMPRegressor,
    LISTARegressor,
    TISTARegressor,
    Trainer,
)
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.exceptions import GuardWarning
from sklearn_unroll.functional import Box

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

QUICK = Trainer(max_epochs=2, batch_size=60)
ALPHA = 0.1
LABEL_FREE = {
    "LISTA": LISTARegressor(),
    "LISTA, free": LISTARegressor(weights="free"),
    "LISTA, tied": LISTARegressor(tied=True),
    "step-LISTA": LISTARegressor(weights="adjoint"),
    "LISTA, normalize": LISTARegressor(normalize=True),
    "LISTA, alpha_relative": LISTARegressor(alpha_relative=True),
    "LISTA, normal": LISTARegressor(init="normal", weights="free", shrinkage="smooth"),
    "Ada-LISTA": AdaLISTARegressor(),
    "ALISTA": ALISTARegressor(),
    "FBSNet": FBSNet(),
    "feed-forward": FeedForwardRegressor(),
}
PAIRS = {
    "LISTA": LISTARegressor(),
    "LISTA-CPSS": LISTARegressor(support_selection=(2.0, 100.0), learn_step=True),
    "step-LISTA": LISTARegressor(weights="adjoint"),
    "Ada-LISTA": AdaLISTARegressor(),
    "ALISTA": ALISTARegressor(),
    "NA-ALISTA": ALISTARegressor(rule="recurrent", hidden_size=4),
    "FBSNet": FBSNet(),
    "feed-forward": FeedForwardRegressor(alpha=0.1, normalize=True),
    "HyperLISTA": HyperLISTARegressor(),
    "TISTA": TISTARegressor(),
    "LAMP": LAMPRegressor(),
    "dense ADMM-CSNet": ADMMCSNetRegressor(parametrization="dense"),
}


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(240, 20, 40, sparsity=3, random_state=0)


def fitted(model, data, y=None, **changes):
    model = clone(model).set_params(n_layers=5, **changes)
    name = "operator" if isinstance(model, ADMMCSNetRegressor) else "dictionary"
    model.set_params(**{name: data.dictionary})
    parameters = model.get_params(deep=False)
    if "trainer" in parameters:
        model.set_params(trainer=QUICK, random_state=0)
    if "alpha" in parameters and "alpha" not in changes and y is None:
        model.set_params(alpha=ALPHA)
    return model.fit(data.X, y)


@torch.no_grad()
def spoil(model, factor=1e4):
    """Let layers amplify what they are given."""
    for name, parameter in model.network_.named_parameters():
        if "log_" in name:
            parameter.add_(np.log(factor) * (-1 if name.endswith("theta") else 1))
        else:
            parameter.mul_(factor)
    return model


def quietly(method, *given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuardWarning)
        return method(*given)


def objective(model, X, codes, alpha):
    return 0.5 * ((X - codes @ model.dictionary_) ** 2).sum(1) + np.ravel(alpha) * abs(codes).sum(
        1
    )


def alphas(model, X):
    """Return the weight of the l1 norm in the units of X."""
    if model.get_params().get("alpha_relative"):
        return model.alpha * abs(X @ model.dictionary_.T).max(1)
    return (
        model.alpha
        if model.norm_ is None
        else model.alpha * np.linalg.norm(X, axis=1) / model.norm_
    )


@pytest.mark.parametrize("name", LABEL_FREE)
def test_without_pairs_nothing_is_worse_than_zeros_whatever_was_learned(name, data):
    model = spoil(fitted(LABEL_FREE[name], data))
    assert model.guard_.region == "objective"
    X = np.geomspace(1e-3, 1e4, len(data.X))[:, None] * data.X[::-1]
    if model.guards_whole:  # untrained ones are worse than zeros on the data of fit, too
        codes = quietly(model.predict, X)
    else:
        with pytest.warns(GuardWarning, match=r"refused .* % of the layers' steps"):
            codes = model.predict(X)
    weight = alphas(model, X)
    at_zero = 0.5 * (X**2).sum(1)
    least = np.full(len(X), np.inf)
    for stage in model.staged_predict(X):
        least = np.minimum(least, objective(model, X, stage, weight))
    if not model.guards_whole:
        assert (least <= at_zero * (1 + 1e-12)).all()
        np.testing.assert_allclose(objective(model, X, codes, weight), least, rtol=1e-12)
    assert (objective(model, X, codes, weight) <= at_zero * (1 + 1e-12)).all()
    assert model.count_refused(X).max() > 0
    assert (quietly(model.certify, X) <= 1 + 1e-9).all()


@pytest.mark.parametrize("name", PAIRS)
def test_with_pairs_codes_scale_with_the_data(name, data):
    model = fitted(PAIRS[name], data, data.y)
    codes = quietly(model.predict, data.X)
    assert codes.any()
    for c in (1e-6, 0.1, 3.0, 1e6):
        np.testing.assert_allclose(
            quietly(model.predict, c * data.X) / c, codes, rtol=1e-7, atol=1e-9
        )


@pytest.mark.parametrize("own", [True, False], ids=["dictionary", "estimated"])
@pytest.mark.parametrize("of_x, of_y", [(-20, -20), (20, 20), (20, -20), (-10, 17)])
@pytest.mark.parametrize("name", PAIRS)
def test_with_pairs_units_do_not_matter(name, of_x, of_y, own, data):
    """What is learned in other units of X, y and dictionary is the same, in those units."""
    model = clone(PAIRS[name]).set_params(n_layers=3)
    if "trainer" in model.get_params(deep=False):
        model.set_params(trainer=QUICK, random_state=0)
    if isinstance(model, ADMMCSNetRegressor) and of_x != of_y:
        pytest.skip("an operator, which may be no matrix, stays as it is")
    _same_in_other_units(model, data, own, 2.0**of_x, 2.0**of_y, rtol=1e-6)  # rounding is the same


@pytest.mark.parametrize("x, y", [(1e-6, 1e-6), (1e6, 1e6), (255.0, 255.0), (1e3, 1e-3)])
@pytest.mark.parametrize("name", PAIRS)
def test_with_pairs_units_that_round_do_not_matter_either(name, x, y, data):
    model = clone(PAIRS[name]).set_params(n_layers=3)
    if isinstance(model, ADMMCSNetRegressor) and x != y:
        pytest.skip("an operator, which may be no matrix, stays as it is")
    if "trainer" in model.get_params(deep=False):
        model.set_params(trainer=QUICK, random_state=0)
    _same_in_other_units(model, data, True, x, y, rtol=1e-4)


@pytest.mark.parametrize("x, d", [(1e-6, 1.0), (1e6, 1e3), (255.0, 1e-2)])
@pytest.mark.parametrize(
    "name", [n for n in LABEL_FREE if n not in ("LISTA, normal", "feed-forward")]
)
def test_without_pairs_units_do_not_matter_either(name, x, d, data):
    """Networks that start from normal numbers are for data of order one."""
    model = clone(LABEL_FREE[name]).set_params(n_layers=3, random_state=0)
    model.set_params(trainer=model.default_trainer(len(data.X), False).set_params(max_epochs=2))
    # alpha is in units of unit atoms, or of the largest correlation, where estimators say so.
    of_alpha = {
        (False, False): x * d, (True, False): x, (False, True): 1.0, (True, True): 1.0
    }[model.task.unit_atoms, bool(model.get_params().get("alpha_relative"))]  # fmt: skip
    codes = []
    for X, D, alpha in [
        (data.X, data.dictionary, model.alpha),
        (x * data.X, d * data.dictionary, of_alpha * model.alpha),
    ]:
        model.set_params(dictionary=D, alpha=alpha)
        codes.append(quietly(clone(model).fit(X).predict, X))
    np.testing.assert_allclose(codes[1] * (d / x), codes[0], rtol=1e-4, atol=1e-6)
    assert codes[0].any()


def _same_in_other_units(model, data, own, x, y, rtol):
    parameter = "operator" if isinstance(model, ADMMCSNetRegressor) else "dictionary"
    given = [(data.X, data.y, data.dictionary), (x * data.X, y * data.y, x / y * data.dictionary)]
    codes = []
    for X, target, D in given:
        if own:
            model.set_params(**{parameter: D})
        codes.append(quietly(clone(model).fit(X, target).predict, X))
    np.testing.assert_allclose(codes[1] / y, codes[0], rtol=rtol, atol=1e-3 * rtol)
    assert codes[0].any()


@pytest.mark.parametrize("name", ["LISTA", "ALISTA", "TISTA", "HyperLISTA", "LISTA-CPSS"])
def test_with_pairs_no_residual_exceeds_the_data(name, data):
    model = spoil(fitted(PAIRS[name], data, data.y, guard="residual"))
    codes = quietly(model.predict, data.X)
    left = ((data.X - codes @ data.dictionary) ** 2).sum(1)
    assert (left <= (data.X**2).sum(1) * (1 + 1e-9)).all()


def test_off_by_a_word(data):
    model = spoil(fitted(LISTARegressor(), data, guard=None))
    assert model.guard_ is None and not model.count_refused(data.X).any()
    codes = model.predict(data.X)
    assert objective(model, data.X, codes, ALPHA).max() > 1e6


def test_a_guard_that_would_cost_quality_on_the_pairs_is_off(data):
    """Codes that do not explain their observations are none of the dictionary's."""
    rng = np.random.default_rng(0)
    learned_by_heart = rng.standard_normal((4, 40))
    few = data.X[:4]
    trainer = Trainer(learning_rate=0.02, max_epochs=200)
    model = FeedForwardRegressor(data.dictionary, n_layers=3, trainer=trainer, random_state=0)
    with pytest.warns(UserWarning, match="X and y do not fit"):
        model.fit(few, learned_by_heart)
    assert model.guard_ is None


def test_a_guarded_good_network_is_the_network(data):
    model = fitted(LISTARegressor(), data)
    off = fitted(LISTARegressor(), data, guard=None)
    assert model.guard_.share == 0
    assert not model.count_refused(data.X).any()
    np.testing.assert_allclose(
        objective(model, data.X, model.predict(data.X), ALPHA),
        np.min([objective(off, data.X, x, ALPHA) for x in off.staged_predict(data.X)], 0),
        rtol=1e-12,
    )


def test_the_warning_tells_contrast_from_kind(data):
    model = spoil(fitted(LISTARegressor(), data), 3.0)
    with pytest.warns(GuardWarning, match=r"norms are \d+ times those .*contrast"):
        model.predict(100 * data.X)
    with pytest.warns(GuardWarning, match="differ in kind"):
        model.predict(np.random.default_rng(0).permuted(data.X, axis=1))


@pytest.mark.parametrize("make", [TISTARegressor, LAMPRegressor, HyperLISTARegressor])
def test_a_guard_of_an_objective_needs_one(make, data):
    with pytest.raises(ValueError, match=r"guard='objective' needs a problem .* has no alpha"):
        fitted(make(), data, data.y, guard="objective")


def test_a_box_is_guarded_inside(data):
    X = np.abs(data.y) / 10 @ data.dictionary
    model = FBSNet(data.dictionary, penalty=Box(0.0, 1.0), n_layers=5, guard="objective")
    model.set_params(trainer=QUICK, random_state=0).fit(X, np.abs(data.y) / 10)
    assert model.norm_ is None  # a box does not scale
    codes = quietly(spoil(model).predict, X)
    assert codes.min() >= 0 and codes.max() <= 1


def test_alpha_relative_is_one_network_for_all_contrasts(data):
    model = fitted(LISTARegressor(), data, alpha_relative=True)
    assert model.trainer_ is QUICK and model.norm_ is None
    X = data.X.copy()
    X[3] = 0
    codes = model.predict(X)
    assert not codes[3].any() and codes.any()
    np.testing.assert_allclose(model.predict(1e5 * X), 1e5 * codes, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="two units for one observation"):
        fitted(LISTARegressor(), data, alpha_relative=True, normalize=True)
    problem = model.problem(X)
    np.testing.assert_allclose(
        problem.value(torch.from_numpy(codes)).numpy(),
        objective(model, X, codes, alphas(model, X)),
    )


def test_samples_of_zero_and_odd_operators_are_guarded_too(data):
    X = data.X.copy()
    X[::3] = 0
    rng = np.random.default_rng(0)
    D = rng.standard_normal((len(X), 40, 20))
    model = AdaLISTARegressor(n_layers=4, trainer=QUICK, random_state=0, alpha=ALPHA)
    spoil(model.fit(X, operators=D))
    with pytest.warns(GuardWarning):
        codes = model.predict(X, operators=D)
    left = 0.5 * ((X - np.einsum("in,inm->im", codes, D)) ** 2).sum(1)
    assert (left + ALPHA * abs(codes).sum(1) <= 0.5 * (X**2).sum(1) * (1 + 1e-12)).all()


def test_streams_and_pickles_keep_the_guard(data):
    model = clone(LABEL_FREE["LISTA"]).set_params(
        dictionary=data.dictionary, n_layers=4, trainer=QUICK, random_state=0
    )
    for _ in range(2):
        model.partial_fit(data.X)
    assert model.guard_.region == "objective"
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(data.X), model.predict(data.X))
    assert again.guard_.region == "objective"


@pytest.mark.parametrize("name", sorted(set(PAIRS) - {"feed-forward"}))
def test_estimated_atoms_that_no_sample_uses_get_no_code(name, data):
    y = data.y.copy()
    y[:, [3, 7]] = 0
    model = clone(PAIRS[name]).set_params(n_layers=3)
    if "trainer" in model.get_params(deep=False):
        model.set_params(trainer=QUICK, random_state=0)
    codes = quietly(model.fit(y @ data.dictionary, y).predict, data.X)
    assert np.isfinite(codes).all() and codes.any()
    np.testing.assert_allclose(codes[:, [3, 7]], 0, atol=1e-12)
