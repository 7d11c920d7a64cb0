"""LassoCoder: the certificate, the drop-in for SparseCoder, alpha, weights, starts, bad input."""

import pickle
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.decomposition import MiniBatchDictionaryLearning, SparseCoder
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.parallel import Parallel, delayed

from sklearn_unroll import LassoCoder, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import duality_gap
from sklearn_unroll.solvers import cvxpy_lasso

SOLVERS = ["auto", "ista", "fista", "admm", "active_set", "coordinate_descent", "cvxpy"]


@pytest.fixture(autouse=True)
def numba_is_there(request):
    """Skip what needs numba where there is none."""
    if "coordinate_descent" in request.node.name:
        pytest.importorskip("numba")


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(60, 20, 40, sparsity=3, snr_db=20, random_state=0)


def exact(X, D, alpha):
    obs = Observation(torch.from_numpy(X), Dense(torch.from_numpy(D)))
    return cvxpy_lasso(obs, alpha).numpy()


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_finds_the_codes(data, solver):
    X, D = data.X[:12], data.dictionary
    coder = LassoCoder(D, 0.1, solver=solver, tol=1e-10, max_iter=100_000).fit(X)
    found = coder.solve(X)
    assert found.converged.all()
    assert found.converged.dtype == bool
    assert found.n_iter.dtype == np.int64
    np.testing.assert_allclose(found.codes, exact(X, D, 0.1), atol=1e-4)
    np.testing.assert_allclose(found.gap, duality_gap(X, found.codes, D, 0.1), atol=1e-13)
    assert found.gap.max() <= 1e-10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_code_of_a_zero_atom_is_zero(data, solver, dtype):
    X, D = data.X[:6].astype(dtype), data.dictionary.copy()
    D[[0, 7, 39]] = 0
    limits = {"solver": solver, "tol": 1e-6, "max_iter": 100_000}
    found = LassoCoder(D, 0.1, **limits).fit(X).solve(X)
    # cvxpy's interior points are never quite there.
    least = 1e-12 if solver == "cvxpy" else 0.0
    assert found.converged.all() and (np.abs(found.codes[:, [0, 7, 39]]) <= least).all()
    rest = np.delete(np.arange(40), [0, 7, 39])
    few = LassoCoder(D[rest], 0.1, **limits).fit(X).solve(X)
    np.testing.assert_allclose(found.codes[:, rest], few.codes, atol=1e-3)
    for none in (LassoCoder(0 * D, 0.1, **limits), LassoCoder(0 * D, 0.1, alpha_relative=True)):
        assert (none.fit(X).transform(X) == 0).all()


def test_the_methods_agree(data):
    coder = LassoCoder(data.dictionary, 0.1)
    codes = coder.fit_transform(data.X)
    for other in (coder.transform(data.X), coder.predict(data.X), coder.solve(data.X).codes):
        np.testing.assert_array_equal(other, codes)
    np.testing.assert_allclose(coder.inverse_transform(codes), codes @ data.dictionary)
    value = 0.5 * ((data.X - codes @ data.dictionary) ** 2).sum(1) + 0.1 * np.abs(codes).sum(1)
    assert coder.score(data.X) == pytest.approx(-value.mean())
    weight = np.arange(60.0)
    assert coder.score(data.X, sample_weight=weight) == pytest.approx(
        -(weight @ value) / weight.sum()
    )
    assert coder.score(data.X, data.y) > 0.5


@pytest.mark.parametrize("algorithm", ["lasso_lars", "lasso_cd"])
def test_it_takes_the_place_of_sparse_coder_in_a_pipeline(algorithm):
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    centers = generator.standard_normal((3, 16))
    X = centers[labels] + generator.standard_normal((120, 16))
    learner = MiniBatchDictionaryLearning(24, alpha=0.5, random_state=0, max_iter=5)
    D = learner.fit(X).components_
    theirs = SparseCoder(D, transform_algorithm=algorithm, transform_alpha=0.5)
    pipes = []
    for coder in (theirs, LassoCoder(D, alpha=0.5, tol=1e-12)):
        classifier = LogisticRegression(max_iter=1000)
        pipes.append(make_pipeline(coder, classifier).fit(X, labels))
    np.testing.assert_allclose(pipes[1][:-1].transform(X), pipes[0][:-1].transform(X), atol=1e-6)
    np.testing.assert_array_equal(pipes[1].predict(X), pipes[0].predict(X))
    labels = np.array(["a", "b", "c"])[labels]
    assert make_pipeline(LassoCoder(D, 0.5), LogisticRegression()).fit(X, labels).score(X, labels)


def test_nonnegative_codes_agree_with_scikit_learn(data):
    A = data.dictionary.T
    lasso = Lasso(0.1 / len(A), fit_intercept=False, positive=True, tol=1e-14, max_iter=100_000)
    expected = np.array([lasso.fit(A, x).coef_ for x in data.X])
    for solver in SOLVERS:
        coder = LassoCoder(data.dictionary, 0.1, positive=True, tol=1e-9, solver=solver)
        codes = coder.fit_transform(data.X)
        assert (codes >= 0).all()
        np.testing.assert_allclose(codes, expected, atol=1e-3)


@pytest.mark.parametrize("solver", ["auto", "admm", "coordinate_descent", "cvxpy"])
def test_weights_of_atoms_are_scaled_atoms(data, solver):
    weights = np.random.default_rng(0).uniform(0.5, 2, 40)
    X = data.X[:10]
    coder = LassoCoder(data.dictionary, 0.1, atom_weights=weights, tol=1e-10, solver=solver)
    codes = coder.fit_transform(X)
    expected = exact(X, data.dictionary / weights[:, None], 0.1) / weights
    np.testing.assert_allclose(codes, expected, atol=1e-4)
    value = 0.5 * ((X - codes @ data.dictionary) ** 2).sum(1) + 0.1 * np.abs(codes) @ weights
    assert coder.score(X) == pytest.approx(-value.mean())
    gap = duality_gap(X, codes * weights, data.dictionary / weights[:, None], 0.1)
    assert gap.max() <= 1e-9


def test_one_alpha_per_sample(data):
    alpha = np.linspace(0.01, 0.5, 60)
    coder = LassoCoder(data.dictionary, tol=1e-12).fit(data.X)
    together = coder.solve(data.X, alpha=alpha).codes
    alone = [
        LassoCoder(data.dictionary, a, tol=1e-12).fit(data.X).transform(x[None])[0]
        for x, a in zip(data.X, alpha, strict=True)
    ]
    np.testing.assert_allclose(together, alone, atol=1e-9)
    np.testing.assert_array_equal(coder.transform(data.X, alpha=alpha), together)
    np.testing.assert_array_equal(coder.predict(data.X, alpha=list(alpha)), together)
    np.testing.assert_array_equal(coder.solve(data.X, alpha=alpha[:, None]).codes, together)
    other = coder.solve(data.X, alpha=torch.from_numpy(alpha)).codes
    np.testing.assert_array_equal(other, together)


def test_alpha_as_a_fraction(data):
    X = np.vstack([data.X, np.zeros((1, 20))])
    largest = np.abs(X @ data.dictionary.T).max(1)
    coder = LassoCoder(data.dictionary, 0.2, alpha_relative=True, tol=1e-12).fit(X)
    absolute = LassoCoder(data.dictionary, tol=1e-12).fit(X)
    expected = absolute.transform(data.X, alpha=0.2 * largest[:-1])
    found = coder.solve(X)
    np.testing.assert_allclose(found.codes[:-1], expected, atol=1e-9)
    assert found.converged.all()
    assert not found.codes[-1].any()
    np.testing.assert_allclose(coder.transform(1e3 * X), 1e3 * found.codes, atol=1e-6)
    assert not coder.solve(X, alpha=1.0).codes.any()


@pytest.mark.parametrize("solver", SOLVERS)
def test_from_alpha_max_on_codes_are_zero_without_iterating(data, solver):
    alpha = 1.000001 * np.abs(data.X @ data.dictionary.T).max(1)
    start = LISTARegressor(data.dictionary, n_layers=2, random_state=0).fit(data.X, data.y)
    coder = LassoCoder(data.dictionary, solver=solver, warm_start_from=start).fit(data.X)
    found = coder.solve(data.X, alpha=alpha)
    assert not found.codes.any()
    assert not found.gap.any()
    assert not found.n_iter.any()
    assert found.converged.all()


@pytest.mark.parametrize("solver", ["auto", "fista", "active_set"])
def test_a_network_is_polished(data, solver):
    network = LISTARegressor(data.dictionary, alpha=0.1, n_layers=8, random_state=0).fit(data.X)
    cold = LassoCoder(data.dictionary, 0.1, tol=1e-8, solver=solver).fit(data.X).solve(data.X)
    warm = LassoCoder(warm_start_from=network, alpha=0.1, tol=1e-8, solver=solver).fit(data.X)
    found = warm.solve(data.X)
    assert found.gap.max() <= 1e-8
    # An active set starts smaller from zero than from a network's small entries.
    assert solver == "active_set" or found.n_iter.sum() < cold.n_iter.sum()
    np.testing.assert_allclose(found.codes, cold.codes, atol=1e-3)
    np.testing.assert_array_equal(warm.dictionary_, data.dictionary)


def test_a_frozen_network_survives_cloning(data):
    network = LISTARegressor(data.dictionary, alpha=0.1, n_layers=3, random_state=0).fit(data.X)
    coder = LassoCoder(warm_start_from=FrozenEstimator(network), atom_weights=np.full(40, 2.0))
    codes = clone(coder).fit(data.X).transform(data.X)
    np.testing.assert_allclose(codes, LassoCoder(data.dictionary, 0.2).fit_transform(data.X),
                               atol=1e-3)  # fmt: skip
    with pytest.raises(NotFittedError, match="FrozenEstimator"):
        clone(LassoCoder(warm_start_from=network)).fit(data.X)


def test_a_start_keeps_the_names_of_features(data):
    X = pd.DataFrame(data.X, columns=[f"f{i}" for i in range(20)])
    network = LISTARegressor(data.dictionary, alpha=0.1, n_layers=3, random_state=0).fit(X)
    coder = LassoCoder(warm_start_from=network).set_output(transform="pandas").fit(X)
    codes = coder.transform(X)
    assert list(codes.columns[:2]) == ["lassocoder0", "lassocoder1"]


def test_a_path(data):
    alphas = [0.05, 0.5, 0.1]
    coder = LassoCoder(data.dictionary, tol=1e-10, atom_weights=np.full(40, 0.5)).fit(data.X)
    path = coder.path(data.X, alphas)
    np.testing.assert_array_equal(path.alphas, [0.5, 0.1, 0.05])
    assert path.codes.shape == (3, 60, 40)
    assert path.gap.shape == path.n_iter.shape == path.converged.shape == (3, 60)
    assert path.gap.max() <= 1e-10
    for alpha, codes in zip(path.alphas, path.codes, strict=True):
        np.testing.assert_allclose(codes, coder.transform(data.X, alpha=alpha), atol=1e-5)
    relative = clone(coder).set_params(alpha_relative=True).fit(data.X)
    found = relative.path(data.X, np.array([0.3, 0.2])).codes[1]
    np.testing.assert_allclose(found, relative.transform(data.X, alpha=0.2), atol=1e-5)


def test_grid_search_chooses_alpha(data):
    search = GridSearchCV(LassoCoder(data.dictionary), {"alpha": [0.001, 0.05, 2.0]}, cv=3)
    assert search.fit(data.X, data.y).best_params_ == {"alpha": 0.05}


def test_single_precision_is_certified_in_double(data):
    X = data.X.astype(np.float32)
    coder = LassoCoder(data.dictionary, 0.05, tol=1e-6).fit(X)
    found = coder.solve(X)
    assert found.codes.dtype == np.float32
    assert found.gap.dtype == np.float64
    assert found.gap.max() <= 1e-6
    # A dual point made of rounded codes is a worse one.
    assert (found.gap <= duality_gap(X, found.codes, coder.dictionary_, 0.05) + 1e-13).all()
    assert coder.path(X, [0.05]).codes.dtype == np.float32


@pytest.mark.array_api
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_tensors_in_tensors_out(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    data = make_sparse_recovery(40, 6, 9, random_state=0)
    X, y, D = (torch.from_numpy(a).to(device) for a in (data.X, data.y, data.dictionary))
    with sklearn.config_context(array_api_dispatch=True):
        network = LISTARegressor(D, n_layers=2, trainer=Trainer(max_epochs=3)).fit(X, y)
        for coder in (LassoCoder(D), LassoCoder(warm_start_from=network), LassoCoder()):
            coder.fit(X, y)
            found, path = coder.solve(X, alpha=torch.full((40,), 0.1)), coder.path(X, [0.2, 0.1])
            for out in (*found, *path, coder.dictionary_, coder.inverse_transform(found.codes)):
                assert isinstance(out, torch.Tensor) and out.device == X.device
            assert found.n_iter.dtype == torch.int64 and found.converged.dtype == torch.bool
            assert isinstance(coder.score(X, y), float) and isinstance(coder.score(X), float)
        codes = LassoCoder(D).fit(X).transform(X).cpu().numpy()
    expected = LassoCoder(data.dictionary).fit_transform(data.X)
    np.testing.assert_allclose(codes, expected, atol=1e-6)


def test_what_does_not_converge_is_counted(data):
    coder = LassoCoder(data.dictionary, 0.01, solver="ista", tol=1e-12, max_iter=3).fit(data.X)
    with pytest.warns(ConvergenceWarning, match=r"60 of 60 samples .* the largest is"):
        found = coder.solve(data.X)
    assert not found.converged.any()
    assert (found.n_iter == 3).all()
    few = {"tol": 1e-14, "max_iter": 3, "solver": "ista"}
    single = LassoCoder(data.dictionary, 0.01, **few).fit(data.X.astype(np.float32))
    with pytest.warns(ConvergenceWarning, match="fit in float64"):
        single.transform(data.X.astype(np.float32))


def test_many_samples_in_chunks_equal_few(data, monkeypatch):
    alpha = np.linspace(0.01, 0.5, 60)
    coder = LassoCoder(data.dictionary, alpha_relative=True).fit(data.X)
    network = LISTARegressor(data.dictionary, n_layers=2, random_state=0).fit(data.X, data.y)
    coders = [coder, LassoCoder(warm_start_from=network, alpha_relative=True).fit(data.X)]
    whole = [c.solve(data.X, alpha=alpha).codes for c in coders]
    aims = sys.modules["sklearn_unroll.estimators._lasso_aim"]
    loops = sys.modules["sklearn_unroll.estimators._lasso_compiled"]
    for module, name in ((aims, "_NUMBERS"), (loops, "_NUMBERS"), (loops, "_MOST")):
        monkeypatch.setattr(module, name, 7 * len(data.dictionary))
    for c, codes in zip(coders, whole, strict=True):
        np.testing.assert_allclose(c.solve(data.X, alpha=alpha).codes, codes, atol=1e-3)
        np.testing.assert_allclose(c.transform(list(data.X), alpha), codes, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_and_dtype_do_not_depend_on_jobs(data, dtype):
    X, alpha = data.X.astype(dtype), np.linspace(0.01, 0.5, 60)
    coder = LassoCoder(data.dictionary, tol=1e-6).fit(X)
    blocks = np.array_split(np.arange(60), 4)
    parts = {
        n_jobs: Parallel(n_jobs)(delayed(coder.solve)(X[i], alpha=alpha[i]) for i in blocks)
        for n_jobs in (1, 2)
    }
    for one, two in zip(parts[1], parts[2], strict=True):
        assert [a.dtype for a in one] == [a.dtype for a in two]
        np.testing.assert_allclose(one.codes, two.codes, atol=1e-3)
    codes = np.vstack([part.codes for part in parts[2]])
    assert codes.dtype == dtype
    np.testing.assert_allclose(codes, coder.transform(X, alpha), atol=1e-3)


def test_alpha_is_routed_through_a_pipeline(data):
    alpha, labels = np.linspace(0.01, 0.5, 60), (data.X[:, 0] > 0).astype(int)
    with sklearn.config_context(enable_metadata_routing=True):
        coder = LassoCoder(data.dictionary).set_transform_request(alpha=True)
        pipe = make_pipeline(coder, LogisticRegression()).fit(data.X, labels, alpha=alpha)
        found = pipe.decision_function(data.X, alpha=alpha)
    codes = coder.fit(data.X).transform(data.X, alpha)
    again = LogisticRegression().fit(codes, labels)
    np.testing.assert_allclose(found, again.decision_function(codes))


@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_are_compiled_where_numba_is_installed(monkeypatch, numba, dtype):
    module = sys.modules["sklearn_unroll.estimators._lasso_compiled"]
    calls, real = [], module.descend_batch
    monkeypatch.setattr(module, "descend_batch", lambda *a, **k: calls.append(1) or real(*a, **k))
    if numba:
        pytest.importorskip("numba")
    else:
        module = sys.modules["sklearn_unroll.estimators._lasso_solvers"]
        monkeypatch.setattr(module, "compiled_available", lambda: False)
    few = make_sparse_recovery(66, 20, 40, sparsity=3, snr_db=20, random_state=1, dtype=dtype)
    coder = LassoCoder(few.dictionary, 0.1, alpha_relative=True).fit(few.X)
    assert coder.solve(few.X).converged.all()
    assert bool(calls) == numba


def test_without_numba_coordinate_descent_says_what_to_do(data, monkeypatch):
    for name in ("solvers.coordinate", "estimators._lasso_solvers"):
        module = sys.modules[f"sklearn_unroll.{name}"]
        monkeypatch.setattr(module, "compiled_available", lambda: False)
    coder = LassoCoder(data.dictionary, solver="coordinate_descent").fit(data.X)
    with pytest.raises(ImportError, match="sklearn-unroll.fast"):
        coder.transform(data.X)


def test_a_list_as_dictionary_and_pickle(data):
    coder = LassoCoder(data.dictionary.tolist()).fit(data.X)
    expected = LassoCoder(data.dictionary).fit_transform(data.X)
    np.testing.assert_array_equal(coder.transform(data.X), expected)
    again = pickle.loads(pickle.dumps(coder))
    np.testing.assert_array_equal(again.transform(data.X), expected)
    assert coder.get_feature_names_out()[0] == "lassocoder0"


def test_a_dictionary_from_pairs(data):
    clean = make_sparse_recovery(400, 20, 40, sparsity=3, random_state=0)
    coder = LassoCoder(alpha=0.01).fit(clean.X, clean.y)
    np.testing.assert_allclose(coder.dictionary_, clean.dictionary, atol=1e-4)
    one = LassoCoder(alpha=0.01).fit(clean.X, clean.y[:, 0])
    assert one.predict(clean.X).shape == (400,)
    assert one.transform(clean.X).shape == (400, 1)
    assert one.inverse_transform(one.predict(clean.X)).shape == (400, 20)


@pytest.mark.parametrize("kind", ["repeated", "rank", "one feature", "one sample", "one atom"])
def test_awkward_problems_agree_with_cvxpy(data, kind):
    X, D = data.X[:8].copy(), data.dictionary.copy()
    if kind == "repeated":
        D[20:] = D[:20]
    elif kind == "rank":
        D[:, 5:] = 0
    elif kind == "one feature":
        X, D = X[:, :1], D[:, :1]
    elif kind == "one sample":
        X = X[:1]
    else:
        D = D[:1]
    codes = LassoCoder(D, 0.01, tol=1e-8).fit_transform(X)

    def value(z):
        return 0.5 * ((X - z @ D) ** 2).sum(1) + 0.01 * np.abs(z).sum(1)

    np.testing.assert_allclose(value(codes), value(exact(X, D, 0.01)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "alpha, message",
    [
        (0.0, "positive"),
        (-1.0, "positive"),
        (np.nan, "positive"),
        (np.full(60, -1.0), "positive"),
        (np.ones(59), r"\(60,\)"),
        (np.ones((60, 2)), r"\(60,\)"),
        (np.full(60, np.nan), "NaN"),
        (np.full(60, np.inf), "infinity"),
    ],
)
def test_a_wrong_alpha_is_told(data, alpha, message):
    coder = LassoCoder(data.dictionary).fit(data.X)
    with pytest.raises(ValueError, match=message):
        coder.solve(data.X, alpha=alpha)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1}, "alpha"),
        ({"alpha": "small"}, "alpha"),
        ({"solver": "lars"}, "solver"),
        ({"tol": -1.0}, "tol"),
        ({"max_iter": 0}, "max_iter"),
        ({"atom_weights": np.ones(3)}, r"shape \(40,\)"),
        ({"atom_weights": np.zeros(40)}, "atom_weights must be positive"),
        ({"dictionary": np.zeros((20, 40))}, "transposed"),
        ({"dictionary": np.full((40, 20), np.nan)}, "NaN"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_a_wrong_parameter_is_told(data, parameters, message):
    with pytest.raises(ValueError, match=message):
        LassoCoder(**({"dictionary": data.dictionary} | parameters)).fit(data.X)


def test_wrong_data_are_told(data):
    coder = LassoCoder(data.dictionary).fit(data.X)
    with pytest.raises(ValueError, match="NaN"):
        coder.transform(np.full((3, 20), np.nan))
    with pytest.raises(ValueError, match="features"):
        coder.transform(data.X[:, :5])
    with pytest.raises(ValueError, match="omplex"):
        coder.transform(data.X + 1j)
    with pytest.raises(ValueError, match="components"):
        coder.inverse_transform(np.ones((3, 7)))
    with pytest.raises(NotFittedError):
        LassoCoder(data.dictionary).transform(data.X)
    with pytest.raises(ValueError, match="requires y"):
        LassoCoder().fit(data.X)
    network = LISTARegressor(data.dictionary, n_layers=2, random_state=0).fit(data.X, data.y)
    with pytest.raises(ValueError, match="no start"):
        LassoCoder(data.dictionary[:7], warm_start_from=network).fit(data.X)


def test_a_failed_fit_leaves_the_estimator_as_it_was(data):
    coder = LassoCoder(data.dictionary).fit(data.X)
    with pytest.raises(ValueError, match="transposed"):
        coder.set_params(dictionary=data.dictionary.T).fit(data.X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert coder.transform(data.X).shape == (60, 40)


@pytest.mark.parametrize("solver", ["auto", "coordinate_descent", "active_set", "fista", "admm"])
@pytest.mark.parametrize("of_atoms, of_data", [(1e-30, 1), (1e30, 1), (1, 1e-160), (1, 1e160)])
def test_codes_and_certificates_do_not_depend_on_units(solver, of_atoms, of_data):
    rng = np.random.default_rng(0)
    D, X = rng.standard_normal((30, 16)), rng.standard_normal((20, 16))
    X[3] = 0
    plain = LassoCoder(D, alpha=0.5, tol=1e-9, solver=solver, max_iter=20_000).fit(X)
    scaled = clone(plain).set_params(dictionary=of_atoms * D, alpha=0.5 * of_atoms * of_data)
    found = scaled.fit(of_data * X).solve(of_data * X)
    codes = found.codes * (of_atoms / of_data)
    np.testing.assert_allclose(codes, plain.transform(X), rtol=1e-6, atol=1e-7)
    assert found.converged.all() and np.isfinite(found.gap).all()


@pytest.mark.parametrize("alpha", [1e-12, 1e-40, 1e-300])
@pytest.mark.parametrize("solver", ["auto", "coordinate_descent", "active_set"])
def test_an_alpha_that_is_lost_in_rounding_is_the_least_that_is_not(solver, alpha):
    rng = np.random.default_rng(0)
    D, X = rng.standard_normal((30, 16)), rng.standard_normal((20, 16))
    found = LassoCoder(D, alpha=alpha, solver=solver).fit(X).solve(X)
    assert found.converged.all()
    np.testing.assert_allclose(found.codes @ D, X, atol=0.1)  # a gap of 1e-4


def test_the_certificate_of_rounded_codes_is_taken_at_the_exact_dual_point():
    """Rounding the codes moves the value by a little, and a dual point made of them by much."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 24)
    D = np.exp(-0.5 * ((t - rng.random(40)[:, None]) / 0.3) ** 2)  # very coherent
    X = (rng.random((50, 40)) * (rng.random((50, 40)) < 0.1) + 0.01) @ D
    alpha = 1e-3
    X32, D32 = X.astype(np.float32), D.astype(np.float32)
    found = LassoCoder(D32, alpha=alpha, tol=1e-6).fit(X32).solve(X32)
    exact = LassoCoder(D32.astype(float), alpha=alpha, tol=1e-12, max_iter=100_000)
    wide = X32.astype(float)
    best = exact.fit(wide).transform(wide)

    def value(codes):
        return 0.5 * ((wide - codes @ D32.astype(float)) ** 2).sum(1) + alpha * abs(codes).sum(1)

    excess = (value(found.codes.astype(float)) - value(best)) / (0.5 * (wide**2).sum(1))
    assert found.converged.all() and (found.gap <= 1e-6).all()
    assert (excess <= found.gap + 1e-11).all()
