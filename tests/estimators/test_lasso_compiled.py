"""LassoCoder's compiled loops: what is certified is so, whatever the samples, atoms and units."""

import sys
import threading

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator

from sklearn_unroll import LassoCoder
from sklearn_unroll.datasets import make_sparse_recovery

pytest.importorskip("numba")
MODULE = sys.modules["sklearn_unroll.estimators._lasso_compiled"]
DATA = make_sparse_recovery(50, 20, 40, sparsity=3, snr_db=20, random_state=0)


def dictionaries():
    """Yield the names of dictionaries, and these."""
    D = DATA.dictionary
    yield "random", D
    yield "zero atoms", np.where(np.arange(40)[:, None] % 3, D, 0)
    yield "equal atoms", D[np.arange(40) // 2]
    yield "nearly equal atoms", D[np.arange(40) // 2] + 0.01 * D
    yield "atoms of all sizes", D * np.geomspace(1e-3, 1e3, 40)[:, None]
    yield "large atoms", 1e90 * D
    yield "one atom", D[:1]
    yield "two atoms", D[:2]


def value(z, X, D, alpha):
    return 0.5 * ((X - z @ D) ** 2).sum(1) + alpha * np.abs(z).sum(1)


def cases():
    """Yield a dictionary, a solver and a unit; descent takes too many passes over equal atoms."""
    for name, D in dictionaries():
        for solver in ("auto", "coordinate_descent", "homotopy"):
            if solver != "coordinate_descent" or "equal" not in name:
                yield name, D, solver


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name, D, solver", list(cases()))
def test_no_code_is_farther_from_the_minimum_than_it_says(name, D, dtype, solver):
    D = (1e-80 * D if name == "large atoms" and dtype == np.float32 else D).astype(dtype)
    X = DATA.X.astype(dtype)
    X[::7] = 0
    live = X.any(1)
    for unit in (1.0, 1e-6, 1e6) if solver == "auto" else (1.0,):
        scaled = (unit * X).astype(dtype)
        coder = LassoCoder(D, 0.05, alpha_relative=True, solver=solver).fit(scaled)
        found = coder.solve(scaled)
        assert found.codes.dtype == dtype and found.converged.all()
        for field in (found.codes, found.n_iter, found.gap):
            assert not field[~live].any()
        some = scaled[live].astype(float), D.astype(float), found.alpha[live]
        codes = found.codes[live].astype(float)
        exact = LassoCoder(some[1], tol=1e-12).fit(some[0])
        least = value(exact.transform(some[0], alpha=some[2]), *some)
        energy = 0.5 * (some[0] ** 2).sum(1)
        assert np.all(value(codes, *some) - least <= (found.gap[live] + 1e-12) * energy)
        one = coder.solve(scaled[1:2])  # inner products are not stored
        above = value(one.codes.astype(float), some[0][:1], some[1], some[2][:1])
        assert one.converged.all() and above - least[0] <= (one.gap + 1e-12) * energy[0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("given", [{"alpha": 0.1}, {"error": 0.05}, {"l1_radius": 0.5}])
def test_samples_in_small_chunks_are_the_same(monkeypatch, given, dtype):
    X = DATA.X.astype(dtype)
    X[5:9] *= 1e-3  # codes of some are zero, also those of a whole chunk
    X[9] = 0
    coder = LassoCoder(DATA.dictionary, **given).fit(X)
    whole = coder.solve(X)
    for name in ("_NUMBERS", "_MOST"):
        monkeypatch.setattr(MODULE, name, 2 * 40)
    parts = coder.solve(X)
    for name in ("codes", "alpha", "converged"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-3)
    assert not whole.codes[9].any() and whole.converged.all() and parts.converged.all()


def test_a_code_in_float32_that_underflows_is_told():
    X = DATA.X.astype(np.float32)
    D = np.float32(1e17) * DATA.dictionary.astype(np.float32)  # codes are about 1e-44
    X *= np.float32(1e-27)
    coder = LassoCoder(D, 0.1, alpha_relative=True).fit(X)
    with pytest.warns(match="did not reach"):
        found = coder.solve(X)
    assert found.gap.min() > 1e-6 and not found.converged.any()


def test_those_that_need_more_passes_go_on_and_the_last_ones_take_the_path(monkeypatch):
    calls = []
    real = MODULE.follow_batch
    monkeypatch.setattr(
        MODULE, "follow_batch", lambda *args: calls.append(len(args[2][0])) or real(*args)
    )
    X = np.repeat(DATA.X[:1], 50, axis=0)
    alpha = np.full(50, 0.5)
    alpha[40:] = 1e-4  # these take many passes
    coder = LassoCoder(DATA.dictionary, 0.1, alpha_relative=True, tol=1e-12).fit(X)
    monkeypatch.setattr(MODULE, "_LONGER", 1)
    monkeypatch.setattr(MODULE, "_FEW", 0.3)
    few = coder.solve(X, alpha=alpha)
    monkeypatch.setattr(MODULE, "_LONGER", 1000)
    many = coder.solve(X, alpha=alpha)
    assert calls == [10] and few.converged.all() and many.converged.all()
    np.testing.assert_allclose(few.codes, many.codes, atol=1e-9)


def test_what_is_found_for_one_sample_is_found_in_any_company():
    coder = LassoCoder(DATA.dictionary, 0.1, alpha_relative=True, tol=1e-12).fit(DATA.X)
    whole = coder.solve(DATA.X)
    for i in range(3):
        np.testing.assert_allclose(coder.transform(DATA.X[[i]])[0], whole.codes[i], atol=1e-10)


def test_a_dictionary_that_is_changed_in_place_is_the_one_that_is_used():
    coder = LassoCoder(DATA.dictionary, 0.1).fit(DATA.X)
    coder.transform(DATA.X)
    coder.dictionary_[:] = coder.dictionary_[::-1].copy()
    np.testing.assert_allclose(
        coder.transform(DATA.X),
        LassoCoder(DATA.dictionary[::-1].copy(), 0.1).fit_transform(DATA.X),
    )


def test_arrays_that_need_no_conversion_are_checked_all_the_same():
    frame = pytest.importorskip("pandas").DataFrame(DATA.X).rename(columns=str)
    named = LassoCoder(DATA.dictionary, 0.1).fit(frame)
    with pytest.warns(UserWarning, match="valid feature names"):
        named.transform(DATA.X)
    coder = LassoCoder(DATA.dictionary, 0.1).fit(DATA.X)
    wrong = DATA.X.copy()
    wrong[3, 4] = np.inf
    for X, message in ((wrong, "infinity"), (DATA.X[:, :-1], "features"), (DATA.X[:0], "sample")):
        with pytest.raises(ValueError, match=message):
            coder.transform(X)
    largest = np.full_like(DATA.X, 1e307)  # whose sum is infinite
    assert np.isfinite(coder.transform(largest)).all()


@pytest.mark.parametrize("given", [{"alpha": 0.1}, {"error": 0.05}])
@pytest.mark.parametrize("several", [False, True])
def test_threads_that_share_samples_find_what_one_finds(monkeypatch, two_threads, several, given):
    X, D = np.tile(DATA.X, (3, 1)), DATA.dictionary
    coder = LassoCoder(D, tol=1e-12, **given).fit(X)
    operators = [(D, -D, D[::-1])[i % 3] for i in range(len(X))] if several else None
    alone = coder.solve(X, operators=operators)
    seen = []
    follow = MODULE.solve_part
    both = threading.Barrier(2)

    def watched(*given):
        seen.append((threading.get_ident(), torch.get_num_threads()))
        if len(seen) <= 2:
            both.wait(20)
        follow(*given)

    monkeypatch.setattr(MODULE, "_SHARED", 0)
    monkeypatch.setattr(MODULE, "solve_part", watched)
    shared = coder.solve(X, operators=operators)
    assert len({thread for thread, _ in seen}) == 2
    assert {n for _, n in seen} == {1} and len(seen) == (3 if several else 2)
    for name in ("codes", "alpha"):
        np.testing.assert_allclose(getattr(shared, name), getattr(alone, name), atol=1e-6)
    assert alone.converged.all() and shared.converged.all()


def test_the_code_of_a_start_stays_in_its_thread(monkeypatch, two_threads):
    callers = []

    class Zeros(BaseEstimator):
        dictionary_ = DATA.dictionary

        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def predict(self, X):
            callers.append(threading.get_ident())
            return np.zeros((len(X), len(self.dictionary_)))

    for name, value in {"_SHARED": 0, "_NUMBERS": 800, "_MOST": 800}.items():
        monkeypatch.setattr(MODULE, name, value)
    coder = LassoCoder(warm_start_from=Zeros().fit(DATA.X)).fit(DATA.X)
    assert coder.solve(DATA.X).converged.all()
    assert callers == [threading.get_ident()] * 3
