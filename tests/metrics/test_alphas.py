"""Scores over alphas: against the truth, by hand, in any unit; and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.sparse.linalg import aslinearoperator
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit

from sklearn_unroll import LassoCoder, OMPCoder
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Convolution
from sklearn_unroll.metrics import alpha_scores, discrepancy, noise_energy, sure

DATA = make_sparse_recovery(150, 30, 60, sparsity=4, snr_db=20, random_state=0)
X, D, NOISE = DATA.X, DATA.dictionary, DATA.noise_std
SIGNALS = DATA.y @ D
CRITERIA = ["sure", "discrepancy", "cross_validation"]
every = pytest.mark.parametrize("criterion", CRITERIA)


def fitted(**parameters):
    return LassoCoder(D, **parameters).fit(X)


def missing():
    holes = np.random.default_rng(1).random(X.shape) < 0.2
    return np.where(holes, np.nan, X)


@pytest.mark.parametrize("relative", [False, True])
def test_choices_against_the_best_alpha(relative):
    coder = fitted(alpha_relative=relative)
    path = None
    regret = {}
    for criterion in CRITERIA:
        found = alpha_scores(coder, X, 25, criterion=criterion, noise=NOISE)
        path = coder.path(X, found.alphas) if path is None else path
        errors = ((path.codes @ D - SIGNALS) ** 2).mean((1, 2))
        chosen = np.interp(found.best_alpha, found.alphas[::-1], errors[::-1])
        regret[criterion] = chosen / errors.min()
    # The estimates have their least where the error has, give or take a step of the grid; codes
    # whose residual is all of the noise are too sparse, always.
    assert regret["sure"] < 1.1 and regret["cross_validation"] < 1.1
    assert regret["discrepancy"] > regret["sure"]


def test_functions_of_codes_agree_and_take_many_alphas():
    coder = fitted(l2=0.01)
    for data in (X, np.where(np.isnan(missing()[0]), np.nan, X)):  # one mask: one path
        alphas = [0.1, 0.02, 0.05]
        codes = coder.path(data, alphas).codes
        seen = (~np.isnan(data)).sum(1)
        estimate = sure(data, codes, D, NOISE, l2=0.01)
        assert estimate.shape == (3, 150)
        found = alpha_scores(coder, data, alphas, noise=NOISE)
        assert found.alphas.tolist() == [0.1, 0.05, 0.02]
        assert_allclose(found.per_sample, estimate / seen, rtol=1e-10)
        assert_allclose(found.scores, (estimate / seen).mean(1), rtol=1e-10)
        assert_allclose(sure(data, codes[1], D, NOISE, l2=0.01), estimate[1])
        ratio = discrepancy(data, codes, D, NOISE)
        by_hand = np.nansum((data - codes @ D) ** 2, 2) / (seen * NOISE**2)
        assert_allclose(ratio, by_hand)
        found = alpha_scores(coder, data, alphas, criterion="discrepancy", noise=NOISE)
        assert_allclose(found.per_sample, ratio, rtol=1e-10)


def test_the_discrepancy_is_met():
    noise = float(np.sqrt(np.mean(NOISE**2)))
    found = alpha_scores(fitted(), X, criterion="discrepancy", noise=noise)
    codes = fitted(alpha=found.best_alpha).transform(X)
    assert discrepancy(X, codes, D, noise).mean() == pytest.approx(1, abs=0.01)
    # Never, and always: the ends.
    for level, best in [(1e-9, 0.05), (1e9, 0.2)]:
        ends = alpha_scores(fitted(), X, [0.05, 0.2], criterion="discrepancy", noise=level)
        assert ends.best_alpha == best


@pytest.mark.parametrize(
    "cv",
    [
        KFold(3),
        ShuffleSplit(2, test_size=0.5, random_state=0),
        list(GroupKFold(3).split(np.arange(30), groups=np.arange(30) // 5)),
    ],
)
@pytest.mark.parametrize("relative", [False, True])
def test_entries_held_out_by_hand(cv, relative):
    data, alphas = missing()[:20], [0.3, 0.05]
    coder = fitted(alpha_relative=relative)
    found = alpha_scores(coder, data, alphas, criterion="cross_validation", cv=cv)
    total, count = np.zeros((2, 20)), np.zeros(20)
    for kept, held in cv if isinstance(cv, list) else cv.split(np.arange(30)):
        own = LassoCoder(D[:, kept], alpha_relative=relative, tol=1e-12).fit(X[:, kept])
        for nth, alpha in enumerate(alphas):
            weight = alpha if relative else alpha * len(kept) / 30
            codes = own.transform(data[:, kept], alpha=weight)
            total[nth] += np.nansum((codes @ D[:, held] - data[:, held]) ** 2, axis=1)
        count += (~np.isnan(data[:, held])).sum(1)
    assert_allclose(found.per_sample, total / count, rtol=2e-3)


def test_a_sample_with_nothing_left_is_scored_by_zero_codes():
    data = X[:2].copy()
    data[0, 1:] = np.nan
    found = alpha_scores(fitted(), data, [0.1], criterion="cross_validation", cv=KFold(3))
    assert found.per_sample[0, 0] == pytest.approx(data[0, 0] ** 2)
    # Nothing of the first sample is held out here.
    found = alpha_scores(
        fitted(),
        data,
        [0.1],
        criterion="cross_validation",
        cv=[(np.arange(20), np.arange(20, 30))],
    )
    assert np.isnan(found.per_sample[0, 0]) and np.isfinite(found.scores).all()


@every
@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("relative", [False, True])
def test_units(criterion, scale, relative):
    coder = fitted(alpha_relative=relative)
    data, given = missing()[:5], {"criterion": criterion, "cv": 2}
    one = alpha_scores(coder, data, 6, noise=NOISE[:5], **given)
    other = alpha_scores(coder, scale * data, 6, noise=scale * NOISE[:5], **given)
    unit = 1.0 if criterion == "discrepancy" else scale**2
    atol = 1e-5 * unit * np.abs(one.scores).max()
    assert_allclose(other.scores, unit * one.scores, rtol=1e-5, atol=atol)
    ratio = 1.0 if relative else scale
    assert other.best_alpha == pytest.approx(ratio * one.best_alpha, rel=1e-6)


@every
def test_kinds_of_data_and_parts_of_it(criterion, monkeypatch):
    coder, given = fitted(tol=1e-12), {"criterion": criterion, "noise": 0.05}
    whole = alpha_scores(coder, X, 6, **given)
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(30)])
    named = alpha_scores(LassoCoder(D, tol=1e-12).fit(frame), frame, 6, **given)
    assert_allclose(named.per_sample, whole.per_sample)
    tensor = alpha_scores(coder, torch.from_numpy(X), 6, **given)
    assert_allclose(tensor.per_sample, whole.per_sample)
    one = alpha_scores(coder, X[:1], whole.alphas, **given)
    assert_allclose(one.per_sample[:, 0], whole.per_sample[:, 0], rtol=1e-5)
    monkeypatch.setattr("sklearn_unroll.metrics._alphas._NUMBERS", 6 * 60 * 40)
    assert_allclose(alpha_scores(coder, X, 6, **given).per_sample, whole.per_sample, rtol=1e-5)


def test_grids_start_at_zero_codes():
    weights = np.linspace(0.5, 2, 60)
    for parameters in ({}, {"positive": True, "atom_weights": weights}, {"alpha_relative": True}):
        coder = fitted(**parameters)
        data = missing()[:10]
        found = alpha_scores(coder, data, 5, criterion="discrepancy", noise=0.1)
        first, second = coder.path(data, found.alphas[[0, 1]] * [1, 5.6]).codes
        assert not first.any() and second.any()
        assert found.alphas[-1] == pytest.approx(1e-3 * found.alphas[0])


@pytest.mark.parametrize(
    "change, kind, said",
    [
        ({"noise": None}, ValueError, "needs the standard deviation.*cross_validation"),
        ({"noise": 0.0}, ValueError, "one positive standard deviation"),
        ({"noise": -1.0}, ValueError, "smallest value -1"),
        ({"noise": [0.1, 0.2]}, ValueError, r"of shape \(150,\); got shape \(2,\)"),
        ({"noise": np.nan}, ValueError, "noise contains NaN"),
        ({"alphas": []}, ValueError, "alphas must be"),
        ({"alphas": 0}, ValueError, "alphas must be"),
        ({"alphas": [0.1, -0.1]}, ValueError, "positive weights"),
        ({"alphas": [0.0]}, ValueError, "positive weights"),
        ({"criterion": "aic"}, ValueError, "one of.*'sure'.*'aic'"),
        ({"criterion": "cross_validation", "cv": 31}, ValueError, "number of features, 30"),
        ({"criterion": "cross_validation", "cv": 1}, ValueError, "at least 2"),
        ({"X": np.zeros((150, 30))}, ValueError, "correlates with no atom"),
        ({"X": X[:, :7]}, ValueError, "7"),
        ({"X": np.full((150, 30), np.nan)}, ValueError, "nothing was seen"),
        ({"coder": LassoCoder(D)}, NotFittedError, "not fitted"),
        ({"coder": OMPCoder(D).fit(X)}, TypeError, "path.*OMPCoder"),
    ],
)
def test_what_is_refused(change, kind, said):
    given = {"coder": fitted(), "X": X, "alphas": 5, "noise": NOISE} | change
    with pytest.raises(kind, match=said):
        alpha_scores(given.pop("coder"), given.pop("X"), **given)


def test_codes_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"n_components, n_features\) = \(60, 30\)"):
        sure(X, DATA.y, D.T, NOISE)
    with pytest.raises(ValueError, match="inconsistent"):
        discrepancy(X, DATA.y[:3], D, NOISE)
    with pytest.raises(ValueError, match="codes must have shape"):
        sure(X, np.zeros((1, 1, 150, 60)), D, NOISE)
    blank = X.copy()
    blank[3] = np.nan
    with pytest.raises(ValueError, match="nothing was seen"):
        discrepancy(blank, DATA.y, D, NOISE)


def test_the_truth_lies_within_the_noise():
    rng = np.random.default_rng(2)
    noise = np.where(np.arange(20_000) % 2, 0.1, 3.0)
    white = noise[:, None] * rng.standard_normal((20_000, 7))
    white[:, 1:][rng.random((20_000, 6)) < 0.3] = np.nan
    energy = np.nansum(white**2, axis=1)
    ratio = energy / noise_energy(white, noise)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / 20_000**0.5
    for confidence in (0.5, 0.95, 0.999):
        within = np.mean(energy <= noise_energy(white, noise, confidence=confidence))
        spread = np.sqrt(confidence * (1 - confidence) / 20_000)
        assert abs(within - confidence) < 4 * spread


def test_codes_within_the_noise_are_no_larger_than_the_true_ones():
    data = missing()
    bound = noise_energy(data, NOISE, confidence=0.95)
    codes = fitted(tol=1e-10).transform(data, error=bound)
    inside = np.nansum((data - SIGNALS) ** 2, axis=1) <= bound
    assert inside.mean() > 0.85
    norms, true = (np.abs(z[inside]).sum(1) for z in (codes, DATA.y))
    assert (norms <= true * (1 + 1e-8)).all()
    reached = OMPCoder(D).fit(X).solve(data, tol=noise_energy(data, NOISE))
    assert (reached.residual <= noise_energy(data, NOISE)).all()


@pytest.mark.parametrize("given", [{"noise": 0.0}, {"confidence": 1.0}, {"confidence": 2}])
def test_no_bound_without_a_level(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        noise_energy(X, **({"noise": 0.1} | given))


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_energies_out_of_range_are_told(size):
    with pytest.raises(ValueError, match="leaves the range of float64. Rescale"):
        noise_energy(X, size)


@pytest.mark.parametrize("operator", [Convolution(np.ones((2, 3)), 30), aslinearoperator(D)])
@pytest.mark.parametrize("score", [sure, discrepancy])
def test_operators_are_refused_by_name(score, operator):
    with pytest.raises(TypeError, match=f"dictionary must be a matrix.*{type(operator).__name__}"):
        score(X, DATA.y, operator, NOISE)
