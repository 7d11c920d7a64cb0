"""MathL2OSolver: instances of any size, operators and weights as metadata, never diverging."""

import pickle

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_unroll import MathL2OSolver, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Box, Dense, GroupL1, Smooth
from sklearn_unroll.training import ProblemObjective

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")


def family(n_samples=32, n_features=12, n_components=20, seed=0, dtype=np.float64):
    data = make_sparse_recovery(
        n_samples, n_features, n_components, sparsity=2, per_sample_dictionary=True,
        dtype=dtype, random_state=seed,
    )  # fmt: skip
    return data.X, data.dictionary


def solver(**given):
    trainer = Trainer(
        ProblemObjective("log"), learning_rate=1e-2, batch_size=16, truncate=10, max_epochs=2,
        early_stopping=False,
    )  # fmt: skip
    sizes = {"n_layers": 20, "hidden_size": 8, "trainer": trainer, "random_state": 0}
    return MathL2OSolver(**{**sizes, **given})


@pytest.fixture(scope="module")
def data():
    return family()


@pytest.fixture(scope="module")
def fitted(data):
    X, operators = data
    return solver().fit(X, operators=operators)


def test_it_learns_to_be_faster_on_new_instances(assert_below):
    X, operators = family(64)
    new, theirs = family(40, seed=1)
    model = solver(n_layers=10).set_params(trainer__max_epochs=8, trainer__learning_rate=3e-2)
    model.fit(X, operators=operators)
    start = clone(model).set_params(trainer__max_epochs=0)
    start.fit(X, operators=operators)
    exact = model.solve(new, n_iter=800, operators=theirs).objective
    digits = [
        np.log10(m.solve(new, n_iter=20, operators=theirs).objective - exact + 1e-14).mean()
        for m in (start, model)
    ]
    assert_below(digits[1] - digits[0], -1)
    monitor = model.history_.column("monitor")
    assert_below(monitor.min() - monitor[0], -0.2)


def test_solutions_are_certified_and_trajectories_fall(data, fitted):
    X, operators = data
    found = fitted.solve(X, n_iter=400, operators=operators)
    assert found.codes.shape == (32, 20)
    assert found.trajectory.shape == (401, 32)
    assert found.gap.max() < 1e-8
    assert np.all(np.diff(found.trajectory, axis=0) <= 1e-13 * found.trajectory[:-1])
    np.testing.assert_array_equal(found.trajectory[-1], found.objective)
    value = 0.5 * ((X - np.einsum("in,inm->im", found.codes, operators)) ** 2).sum(1)
    value += 0.1 * np.abs(found.codes).sum(1)
    np.testing.assert_allclose(found.objective, value)
    assert found.n_fallbacks.dtype == np.int64
    assert fitted.score(X, operators=operators) == pytest.approx(
        -fitted.solve(X, operators=operators).objective.mean()
    )


def test_any_number_of_iterations_at_any_size(fitted):
    X, operators = family(5, 31, 47, seed=3)
    stages = list(fitted.staged_predict(X, n_iter=7, operators=operators))
    assert len(stages) == 7
    np.testing.assert_allclose(stages[-1], fitted.predict(X, n_iter=7, operators=operators))
    shared = fitted.predict(X, operators=operators[0])
    repeated = np.broadcast_to(operators[0], operators.shape)
    np.testing.assert_allclose(shared, fitted.predict(X, operators=repeated), atol=1e-10)


def test_alpha_and_start_are_per_instance(data, fitted):
    X, operators = data
    alpha = np.geomspace(0.01, 0.3, 32)
    found = fitted.solve(X, n_iter=300, operators=operators, alpha=alpha)
    for row in (0, 17, 31):
        one = slice(row, row + 1)
        alone = fitted.solve(X[one], n_iter=300, operators=operators[one], alpha=float(alpha[row]))
        np.testing.assert_allclose(found.codes[one], alone.codes, atol=1e-5)
    assert fitted.predict(
        X[:1], n_iter=1, operators=operators[:1], x0=found.codes[:1]
    ) == pytest.approx(fitted.predict(X[:1], n_iter=300, operators=operators[:1]), abs=0.3)
    far = fitted.solve(X, n_iter=500, operators=operators, x0=np.full((32, 20), 100.0))
    near = fitted.solve(X, n_iter=300, operators=operators)
    np.testing.assert_allclose(far.objective, near.objective, rtol=1e-5)


def test_it_agrees_with_coordinate_descent(data, fitted):
    from sklearn.linear_model import Lasso

    X, operators = data
    codes = fitted.predict(X[:5], n_iter=400, operators=operators[:5])
    for x, D, z in zip(X[:5], operators[:5], codes, strict=True):
        theirs = Lasso(alpha=0.1 / 12, fit_intercept=False, tol=1e-12, max_iter=10**5)
        np.testing.assert_allclose(z, theirs.fit(D.T, x).coef_, atol=1e-6)


class Huber(Smooth):
    """The user's own."""

    def value(self, x, obs):
        r = obs.A.residual(obs.b, x).abs()
        return torch.where(r < 1, 0.5 * r.square(), r - 0.5).sum(-1)

    def gradient(self, x, obs):
        return -obs.A.adjoint(obs.A.residual(obs.b, x).clamp(-1, 1))

    def lipschitz(self, obs):
        return obs.A.lipschitz()


PROBLEMS = [
    {"penalty": "nonnegative_l1"},
    {"penalty": "elastic_net"},
    {"penalty": "ridge"},
    {"penalty": Box(-0.1, 0.2)},
    {"penalty": "none"},
    {"penalty": None},
    {"loss": Huber()},
    {"loss": "none", "operator": None},
]


@pytest.mark.parametrize("given", PROBLEMS, ids=range(len(PROBLEMS)))
def test_every_problem_goes_through_the_same_code(data, given):
    X, operators = data
    model = solver(**given).set_params(trainer__max_epochs=1)
    found = model.fit(X, operators=operators).solve(X, operators=operators)
    assert np.all(np.isfinite(found.codes))
    assert np.all(found.objective <= found.trajectory[0])
    if given.get("penalty") == "nonnegative_l1":
        assert found.codes.min() >= 0


def test_logistic_takes_any_two_labels(data):
    _, operators = data
    rng = np.random.default_rng(0)
    labels = rng.choice([3.0, 7.0], (32, 12))
    model = solver(loss="logistic", alpha=0.02).set_params(trainer__max_epochs=1)
    model.fit(labels, operators=operators)
    np.testing.assert_array_equal(model.classes_, [3, 7])
    codes = model.predict(labels, operators=operators)
    signed = clone(model).fit(np.where(labels == 7, 1.0, -1.0), operators=operators)
    np.testing.assert_array_equal(
        signed.predict(np.where(labels == 7, 1.0, -1.0), operators=operators), codes
    )
    # One class alone is known after the fit.
    assert model.predict(labels[:1] * 0 + 7, operators=operators[:1]).shape == (1, 20)
    for bad in (labels[0] * np.arange(12), np.full(12, 5.0)):
        with pytest.raises(ValueError, match=r"labels of two classes in X, \[3.0, 7.0\]"):
            model.predict(bad[None], operators=operators[:1])
    with pytest.raises(ValueError, match="labels of two classes in X, such as 0 and 1; got 3"):
        model.fit(rng.choice([0.0, 1.0, 2.0], (32, 12)), operators=operators)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("features", ["raw", "relative"])
def test_nothing_diverges_on_any_data(scale, features):
    X, operators = family(16)
    model = solver(features=features, momentum="wide", init="random", state="normal")
    model.set_params(trainer__max_epochs=1).fit(X, operators=operators)
    rng = np.random.default_rng(0)
    wild = scale * rng.standard_cauchy((16, 12))
    found = model.solve(
        wild, operators=operators * rng.lognormal(0, 3, (16, 1, 1)), alpha=scale * 0.1,
        x0=scale * rng.standard_normal((16, 20)),
    )  # fmt: skip
    assert np.all(np.isfinite(found.codes))
    before, after = found.trajectory[:-1], found.trajectory[1:]
    assert np.all(after <= before * (1 + 1e-13))


def test_without_the_safeguard_there_are_no_fallbacks(data):
    X, operators = data
    model = solver(safeguard=None).set_params(trainer__max_epochs=1).fit(X, operators=operators)
    assert not model.solve(X, operators=operators).n_fallbacks.any()


def test_operators_are_routed_and_sliced():
    X, operators = family(30)
    with sklearn.config_context(enable_metadata_routing=True):
        model = solver().set_params(trainer__max_epochs=1)
        model.set_fit_request(operators=True, alpha=True)
        model.set_score_request(operators=True, alpha=True)
        search = GridSearchCV(model, {"variant": ["P", "PA"]}, cv=KFold(2), error_score="raise")
        search.fit(X, operators=operators, alpha=np.geomspace(0.05, 0.2, 30))
    assert search.best_estimator_.n_components_ == 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_come_back_as_they_went_in(dtype):
    X, operators = family(16, dtype=dtype)
    model = solver().set_params(trainer__max_epochs=1).fit(X, operators=operators)
    found = model.solve(X, operators=operators)
    for array in (found.codes, model.predict(X, operators=operators)):
        assert isinstance(array, np.ndarray)
        assert array.dtype == dtype


def test_same_seed_same_bits_and_a_copy_too(data):
    X, operators = data
    model = solver().fit(X, operators=operators)
    torch.rand(3)
    again = clone(model).fit(X, operators=operators)
    codes = model.predict(X, n_iter=30, operators=operators)
    np.testing.assert_array_equal(again.predict(X, n_iter=30, operators=operators), codes)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).predict(X, n_iter=30, operators=operators), codes
    )


def test_a_shared_operator_needs_no_metadata(data):
    X, operators = data
    D = operators[0]
    model = solver(operator=D).set_params(trainer__max_epochs=1).fit(X)
    np.testing.assert_array_equal(model.operator_, D)
    codes = model.transform(X)
    np.testing.assert_allclose(codes, model.predict(X, operators=D), atol=1e-12)
    assert list(model.get_feature_names_out())[:1] == ["mathl2osolver0"]
    free = solver(operator=Dense(torch.from_numpy(D))).set_params(trainer__max_epochs=1).fit(X)
    np.testing.assert_allclose(free.predict(X), codes, atol=1e-12)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda D: D[:31], "holds 31 operators, but X has 32 samples"),
        (
            lambda D: D[:, :, :11],
            "X has 12 features, but operators, a Dense of 20 components, gives 11",
        ),
        (lambda D: D.transpose(0, 2, 1), "looks transposed"),
        (lambda D: [D[0][:10], *D[1:]], r"all have one shape, got \[\(10, 12\), \(20, 12\)\]"),
        (lambda D: np.where(np.arange(12) == 3, np.nan, D), "operators contains NaN"),
        (lambda D: D[0, 0], r"\(n_components, n_features\), one for all; got \(12,\)"),
    ],
    ids=["number", "features", "transposed", "sizes", "NaN", "1-D"],
)
def test_bad_operators(data, spoil, message):
    X, operators = data
    with pytest.raises(ValueError, match=message):
        solver().fit(X, operators=spoil(operators))


def test_bad_numbers(data, fitted):
    X, operators = data
    for n_iter in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="n_iter must be an integer of at least 1"):
            fitted.predict(X, n_iter=n_iter, operators=operators)
    for alpha in (0.0, -1.0, np.zeros(32), np.ones(3), np.nan):
        with pytest.raises(ValueError, match="alpha"):
            fitted.predict(X, operators=operators, alpha=alpha)
    with pytest.raises(ValueError, match=r"x0 must be finite codes of shape \(32, 20\)"):
        fitted.predict(X, operators=operators, x0=np.zeros((32, 3)))
    with pytest.raises(ValueError, match="not separable"):
        solver(penalty=GroupL1(2)).fit(X, operators=operators)
    for bad in ({"alpha": 0}, {"n_iter": 0}, {"variant": "AP"}, {"largest_step": 1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            solver(**bad).fit(X, operators=operators)
    with pytest.raises(ValueError, match=r"pass operators=\.\.\., or operator="):
        fitted.predict(X)


@pytest.mark.parametrize("layers", ["last", "mean", "weighted", "log"])
def test_every_loss_trains(data, layers, assert_below):
    X, operators = data
    model = solver(n_layers=5).set_params(trainer__objective=ProblemObjective(layers))
    model.set_params(trainer__max_epochs=5, trainer__learning_rate=3e-2)
    model.fit(X, operators=operators)
    monitor = model.history_.column("monitor")
    assert_below((monitor.min() - monitor[0]) / abs(monitor[0]), -0.12)
