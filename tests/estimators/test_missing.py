"""NaN in X: estimators solve on what was seen, and complete signals in a Pipeline."""

import sys

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, orthogonal_mp
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from sklearn_unroll import LassoCoder, MathL2OSolver, OMPCoder, OnlineDictionaryLearning, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.estimators._batch_coding import CoderCoding, CompiledLassoCoding
from sklearn_unroll.estimators._missing import filled
from sklearn_unroll.solvers import DictionaryStatistics, update_atoms

DATA = make_sparse_recovery(40, 20, 30, sparsity=2, snr_db=40, random_state=0)
D = DATA.dictionary


def holes(X=DATA.X, share=0.4, seed=0, dtype=np.float64):
    """Return X with NaN; the first rows are complete, and some share a mask."""
    missing = np.random.default_rng(seed).random(X.shape) < share
    missing[:4], missing[10:14] = False, missing[10]
    return np.where(missing, np.nan, X).astype(dtype)


def row_by_row(X, code):
    """Return the codes of every row over the seen columns of the dictionary."""
    seen = ~np.isnan(X)
    return np.array([code(D[:, m], x[m], i) for i, (x, m) in enumerate(zip(X, seen, strict=True))])


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("solver", ["auto", "active_set", "fista"])
def test_lasso_is_scikit_learns_row_by_row(solver, positive):
    X, alpha = holes(), np.linspace(0.01, 0.2, len(DATA.X))
    coder = LassoCoder(D, positive=positive, solver=solver, tol=1e-9).fit(X)
    found = coder.solve(X, alpha=alpha)
    assert found.converged.all()

    def code(own, x, i):
        lasso = Lasso(alpha[i] / len(x), positive=positive, fit_intercept=False, tol=1e-12)
        return lasso.set_params(max_iter=100_000).fit(own.T, x).coef_

    np.testing.assert_allclose(found.codes, row_by_row(X, code), atol=1e-3)
    values = coder.problem(X, alpha=alpha).exact()
    assert coder.score(X, alpha=alpha) == pytest.approx(
        -float(values.value(values.b.new_tensor(found.codes)).mean())
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 0.2, "alpha_relative": True},
        {"alpha": 0.05, "atom_weights": np.linspace(0.5, 2, 30)},
        {"alpha": 0.05, "l2": 0.1},
        {"error": 1e-2},
        {"l1_radius": 0.5},
        {"solver": "homotopy", "alpha": 0.05},
    ],
    ids=lambda p: " ".join(p),
)
def test_every_option_is_that_of_the_seen_columns(parameters):
    pytest.importorskip("numba")
    X = holes()[:15]
    found = LassoCoder(D, tol=1e-10).set_params(**parameters).fit(X).solve(X)
    assert found.converged.all()

    def code(own, x, i):
        return (
            LassoCoder(own, tol=1e-10).set_params(**parameters).fit(x[None]).transform(x[None])[0]
        )

    np.testing.assert_allclose(found.codes, row_by_row(X, code), atol=1e-4)


def test_path_and_dictionaries_of_samples():
    X = holes()
    coder = LassoCoder(D, tol=1e-9).fit(X)
    path = coder.path(X, [0.05, 0.2])
    assert path.converged.all()
    np.testing.assert_allclose(path.codes[1], coder.transform(X, alpha=0.05), atol=1e-3)
    own = np.random.default_rng(0).permutation(D)
    operators = np.where(np.arange(40)[:, None, None] % 2, own, D)
    for est, name in ((coder, "score"), (OMPCoder(D).fit(X), "score")):
        found = est.transform(X, operators=operators)
        np.testing.assert_allclose(found[::2], est.transform(X)[::2], atol=1e-3)
        other = type(est)(own).fit(X)
        np.testing.assert_allclose(found[1::2], other.transform(X)[1::2], atol=1e-3)
        halves = getattr(est, name)(X[::2]), getattr(other, name)(X[1::2])
        assert getattr(est, name)(X, operators=operators) == pytest.approx(
            np.mean(halves), rel=1e-3
        )


@pytest.mark.parametrize("limits", [{}, {"n_nonzero_coefs": 3}, {"tol": 5e-3}])
def test_pursuit_is_scikit_learns_row_by_row(limits):
    X = holes()

    def code(own, x, i):
        norms = np.linalg.norm(own, axis=1)
        most = None if "tol" in limits else limits.get("n_nonzero_coefs", max(1, len(x) // 10))
        atoms = (own / norms[:, None]).T
        return orthogonal_mp(atoms, x, n_nonzero_coefs=most, tol=limits.get("tol")) / norms

    found = OMPCoder(D, **limits).fit(X).solve(X)
    assert found.converged.all()
    np.testing.assert_allclose(found.codes, row_by_row(X, code), atol=1e-9)


def test_a_pipeline_imputes():
    X = holes(share=0.3)
    completer = make_pipeline(OMPCoder(D, tol=20 * DATA.noise_std[0] ** 2))
    complete = completer.inverse_transform(completer.fit_transform(X))
    missing = np.isnan(X)
    error = np.square(complete - DATA.X)[missing].mean() / np.square(DATA.X)[missing].mean()
    assert error < 0.01  # where zeros have 1


@pytest.mark.parametrize("make", [LassoCoder, OMPCoder])
def test_units_dtypes_and_what_is_complete(make):
    X = holes()
    coder = make(D).fit(X)
    codes = coder.transform(X)
    np.testing.assert_array_equal(coder.transform(X[:4]), make(D).fit(X).transform(DATA.X[:4]))
    single = holes(dtype=np.float32)
    assert coder.fit(single).transform(single).dtype == np.float32
    np.testing.assert_allclose(coder.transform(single), codes, atol=1e-3)
    factor = 2.0**-300
    given = {"alpha": 0.1 * factor} if make is LassoCoder else {}
    np.testing.assert_array_equal(make(D, **given).fit(X).transform(factor * X), factor * codes)


def test_math_l2o_solves_what_a_coder_solves():
    X = holes()
    solver = MathL2OSolver(D, n_layers=4, trainer=Trainer("lasso", max_epochs=0), random_state=0)
    solution = solver.fit(X).solve(X, n_iter=500)
    assert solution.gap.max() < 1e-8
    np.testing.assert_allclose(
        solution.codes, LassoCoder(D, tol=1e-12).fit(X).transform(X), atol=1e-3
    )
    assert solver.certify(X).shape == (40,)
    dense = np.where(np.isnan(X)[:, None], 0, D)
    other = solver.solve(np.nan_to_num(X), operators=dense, n_iter=500)
    np.testing.assert_allclose(solution.codes, other.codes, atol=1e-12)
    labels = np.where(np.isnan(X), np.nan, np.sign(DATA.X))
    with pytest.raises(ValueError, match="X contains NaN"):
        solver.set_params(loss="logistic").fit(labels)


def test_a_dictionary_is_estimated_from_pairs_that_miss_entries():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((200, 5))
    X = holes(y @ D[:5])
    found = OMPCoder().fit(X, y).dictionary_
    np.testing.assert_allclose(found, D[:5], atol=1e-5)
    with pytest.raises(ValueError, match="y is all zero where X was seen"):
        OMPCoder().fit(X, 0 * y)


def test_what_was_not_seen_at_all_is_named():
    X = holes()
    X[[5, 7]] = np.nan
    for est in (LassoCoder(D), OMPCoder(D), MathL2OSolver(D), OnlineDictionaryLearning(5)):
        with pytest.raises(ValueError, match=r"X has 2 sample\(s\) .* at rows \[5, 7\]"):
            est.fit(X)
    coder = LassoCoder(D).fit(DATA.X)
    with pytest.raises(ValueError, match=r"at rows \[5, 7\]"):
        coder.transform(X)
    with pytest.raises(ValueError, match="X contains infinity"):
        coder.transform(np.where(np.isnan(X), np.inf, X))
    X = holes()
    X[:, 3] = np.nan
    with pytest.raises(ValueError, match=r"1 feature\(s\) that no sample has seen.*columns \[3\]"):
        OnlineDictionaryLearning(5).fit(X)


def learned(X, **parameters):
    learner = OnlineDictionaryLearning(30, alpha=0.05, tol=0.0, batch_size=64, random_state=0)
    return learner.set_params(**parameters).fit(X)


def test_a_dictionary_is_learned_from_what_is_seen():
    pytest.importorskip("numba")
    whole = make_sparse_recovery(1500, 10, 15, sparsity=1, snr_db=40, random_state=1)
    X = holes(whole.X, share=0.3, seed=1)
    learner = learned(X, n_components=15, max_iter=20)
    assert (np.abs(whole.dictionary @ learner.components_.T).max(1) > 0.9).mean() > 0.7
    complete = learner.inverse_transform(learner.transform(X))
    missing = np.isnan(X)
    error = np.square(complete - whole.X)[missing].mean() / np.square(whole.X)[missing].mean()
    assert error < 0.3  # where zeros have 1
    monitored = [epoch.monitor for epoch in learner.history_]
    assert monitored[0] < 1
    assert monitored[-1] < 0.8 * monitored[0]


@pytest.mark.parametrize("relative", [False, True])
def test_batches_are_coded_alike_compiled_or_not(relative):
    pytest.importorskip("numba")
    coder = LassoCoder(alpha=0.1, alpha_relative=relative, tol=1e-12)
    b, atoms = torch.from_numpy(holes()), torch.from_numpy(D)
    codings = [kind(coder)(b, atoms, 1e-12) for kind in (CompiledLassoCoding, CoderCoding)]
    for one, other in zip(*codings, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_filling_in_never_raises_the_objective_of_what_is_seen():
    b = torch.from_numpy(holes())
    atoms = torch.from_numpy(np.random.default_rng(0).standard_normal((12, 20)))
    atoms /= atoms.norm(dim=1, keepdim=True)
    coding = CoderCoding(LassoCoder(alpha=0.05, tol=1e-10))

    def value(atoms):
        codes, penalty, *_ = coding(b, atoms, 0.0)
        fit = 0.5 * (b - codes @ atoms).nan_to_num(0.0).square().sum(1)
        return float((fit + penalty).sum()), codes, penalty

    before, codes, penalty = value(atoms)
    start = before
    for _ in range(10):
        signals = filled(b, codes, atoms)
        statistics = DictionaryStatistics.of(codes, signals, penalty=penalty)
        # The surrogate touches the objective of what is seen.
        assert statistics.value(atoms) * len(b) == pytest.approx(before, rel=1e-9)
        atoms = update_atoms(atoms, statistics)
        after, codes, penalty = value(atoms)
        assert after <= before * (1 + 1e-9)
        before = after
    assert before < 0.9 * start


def test_learning_takes_nan_where_its_coder_does():
    X = holes()
    learner = learned(X, coder=OMPCoder(n_nonzero_coefs=2), max_iter=2)
    assert get_tags(learner).input_tags.allow_nan
    assert np.isfinite(learner.components_).all() and np.isfinite(learner.score(X))
    partial = OnlineDictionaryLearning(8, alpha=0.05, random_state=0)
    first = X[:20].copy()
    first[:, 3] = np.nan  # seen later
    assert not partial.partial_fit(first).components_[:, 3].any()
    assert partial.partial_fit(X[20:]).components_[:, 3].any()


@pytest.mark.parametrize(
    "parameters",
    [
        {"error": 0.02},
        {"l1_radius": 0.5},
        {"alpha": 0.0, "positive": True},
        {"alpha": 0.05, "solver": "homotopy"},
    ],
    ids=lambda p: " ".join(p),
)
def test_no_option_of_the_path_goes_mask_by_mask(monkeypatch, parameters):
    pytest.importorskip("numba")
    X = holes()
    coder = LassoCoder(D, tol=1e-9, **parameters).fit(X)
    expected = coder.solve(X)
    solvers = sys.modules["sklearn_unroll.estimators._lasso_solvers"]
    monkeypatch.setattr(solvers, "each_mask", None)  # not called
    for factor in (2.0**-20, 2.0**20):  # in any units
        given = {"error": factor**2, "l1_radius": factor, "alpha": factor}
        scaled = {k: v * given.get(k, 1) if k in given else v for k, v in parameters.items()}
        found = LassoCoder(D, tol=1e-9, **scaled).fit(factor * X).solve(factor * X)
        assert found.converged.all() and expected.converged.all()
        np.testing.assert_allclose(found.codes / factor, expected.codes, atol=1e-12)
        np.testing.assert_allclose(found.alpha / factor, expected.alpha, atol=1e-12)


def test_alphas_of_samples_with_masks_of_their_own_share_a_path(monkeypatch):
    pytest.importorskip("numba")
    X = holes()
    coder, solvers = LassoCoder(D, tol=1e-9).fit(X), "sklearn_unroll.estimators._lasso_solvers"
    expected = coder.transform(X, alpha=0.05)
    monkeypatch.setattr(sys.modules[solvers], "masked_lasso", None)  # not called
    path = coder.path(X, [0.2, 0.05])
    assert path.converged.all()
    np.testing.assert_allclose(path.codes[1], expected, atol=1e-3)


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_path_loses_goes_mask_by_mask(monkeypatch, fails):
    pytest.importorskip("numba")
    X = holes()
    coder = LassoCoder(D, 0.0, positive=True, tol=1e-8).fit(X)
    if fails:
        coder.set_params(max_iter=2)  # corners
    found = coder.solve(X)
    assert found.converged.all()
    for x, code in zip(X, found.codes, strict=True):
        seen = ~np.isnan(x)
        left = np.sum((x[seen] - code @ D[:, seen]) ** 2)
        assert left <= nnls(D[:, seen].T, x[seen])[1] ** 2 + 1e-7 * np.sum(x[seen] ** 2)


def test_an_error_above_what_is_seen_has_zero_codes():
    X = holes()
    energy = np.nansum(X**2, axis=1)
    error = np.where(np.arange(40) % 2, 0.1, 1.01) * energy
    found = LassoCoder(D).fit(X).solve(X, error=error)
    assert found.converged.all() and not found.codes[::2].any() and found.codes[1::2].any(1).all()
    assert not found.gap[::2].any()
    peak = np.abs(np.nan_to_num(X) @ D.T).max(1)
    np.testing.assert_allclose(found.alpha[::2], peak[::2])
    left = np.nansum((X - found.codes @ D) ** 2, axis=1)
    np.testing.assert_allclose(left[1::2], error[1::2])


@pytest.mark.parametrize("numba", [True, False])
def test_an_elastic_net_needs_no_dictionary_for_each_mask(monkeypatch, numba):
    if numba:
        pytest.importorskip("numba")
    solvers = sys.modules["sklearn_unroll.estimators._lasso_solvers"]
    loops = sys.modules["sklearn_unroll.solvers.masked"]
    monkeypatch.setattr(solvers, "each_mask", None)  # not called
    monkeypatch.setattr(loops, "_LASSO_FROM", 0)
    monkeypatch.setattr(loops, "compiled_available", lambda: numba)
    data = make_sparse_recovery(20, 10, 15, sparsity=3, snr_db=20, random_state=0)
    X = np.where(np.random.default_rng(0).random(data.X.shape) < 0.4, np.nan, data.X)
    weights = np.linspace(0.5, 2, 15)
    given = {"alpha": 0.02, "l2": 0.1, "atom_weights": weights, "tol": 1e-10}
    found = LassoCoder(data.dictionary, **given).fit(X).solve(X)
    assert found.converged.all()
    for i in (0, 7):
        seen = ~np.isnan(X[i])
        own = LassoCoder(data.dictionary[:, seen], **given).fit(X[i : i + 1, seen])
        codes = own.transform(X[i : i + 1, seen])
        np.testing.assert_allclose(found.codes[i], codes[0], atol=1e-5)


@pytest.mark.parametrize("repeat, share", [(1, 1.0), (25, 1e-3)], ids=["few", "alike"])
def test_few_samples_and_alike_atoms_follow_their_paths_on_what_is_seen(
    repeat, share, monkeypatch
):
    pytest.importorskip("numba")
    solvers = sys.modules["sklearn_unroll.estimators._lasso_solvers"]
    monkeypatch.setattr(solvers, "masked_lasso", None)  # not called
    rng = np.random.default_rng(0)
    atoms = np.abs(rng.standard_normal(20)) + share * rng.standard_normal((40, 20))
    X = rng.standard_normal((40, 20))
    X[rng.random(X.shape) < 0.3] = np.nan
    coder = LassoCoder(atoms, alpha=1e-4, alpha_relative=True).fit(X)
    found = coder.solve(np.tile(X, (repeat, 1)))
    assert found.converged.all()
    for x, code, alpha in zip(X[:5], found.codes, found.alpha, strict=False):
        seen = ~np.isnan(x)
        alone = LassoCoder(atoms[:, seen], alpha=alpha).fit(x[None, seen])
        objective = 0.5 * np.sum((x - code @ atoms)[seen] ** 2) + alpha * np.abs(code).sum()
        assert objective <= -alone.score(x[None, seen]) + 1e-6 * 0.5 * np.sum(x[seen] ** 2)


def test_what_descent_leaves_follows_its_path_on_what_is_seen(monkeypatch):
    pytest.importorskip("numba")
    solvers = sys.modules["sklearn_unroll.estimators._lasso_solvers"]
    monkeypatch.setattr(solvers, "PASSES", 1)
    monkeypatch.setattr(solvers, "_DESCENDS_FROM", 0)
    X = holes()
    coder = LassoCoder(D, 1e-3, alpha_relative=True).fit(X)
    found, few = coder.solve(X), coder.set_params(max_iter=1)
    assert found.converged.all() and found.gap.max() < 1e-9  # that of a path
    with pytest.warns(ConvergenceWarning):
        assert not few.fit(X).solve(X).converged.all()


def test_a_batch_is_shared_by_threads_only_where_it_takes_long(monkeypatch):
    pytest.importorskip("numba")
    shared = []
    real = sys.modules["sklearn_unroll.solvers._samples"].shared_out
    monkeypatch.setattr(
        "sklearn_unroll.solvers._samples.shared_out", lambda *a: shared.append(1) or real(*a)
    )
    data = make_sparse_recovery(30, 10, 15, sparsity=3, random_state=0)
    b, D = torch.from_numpy(data.X), torch.from_numpy(data.dictionary)
    coding = CompiledLassoCoding(LassoCoder(alpha=0.05))
    coding.seconds = 0.0
    alone, *_ = coding(b, D, 1e-6)
    assert not shared and coding.seconds > 0
    coding.seconds = 60.0
    together, *_ = coding(b, D, 1e-6)
    assert shared and torch.equal(alone, together)
