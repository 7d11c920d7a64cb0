"""OnlineDictionaryLearning with coders that meet a bound, and what counts of its data."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_unroll import LassoCoder, OMPCoder, OnlineDictionaryLearning
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.exceptions import WorthlessFitWarning


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(200, 8, 12, sparsity=2, snr_db=20, random_state=0)


START = np.random.default_rng(1).standard_normal((12, 8))
START /= np.linalg.norm(START, axis=1, keepdims=True)


def learner(coder=None, **parameters):
    given = {"max_iter": 12, "random_state": 0, "dict_init": START, "alpha": 0.2, **parameters}
    return OnlineDictionaryLearning(coder=coder, **given)


def minimised(coder, X, D):
    """Return of every sample what the coder makes least, and its squared error."""
    codes = clone(coder).set_params(dictionary=D).fit(X).transform(X)
    left = np.nansum(np.square(X - codes @ D), axis=1)
    if isinstance(coder, OMPCoder):
        return (codes != 0).sum(1), left
    weights = 1 if coder.atom_weights is None else coder.atom_weights
    return (0.5 * left if coder.l1_radius else np.abs(codes * weights).sum(1)), left


@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
@pytest.mark.parametrize(
    "coder, gain",
    [(LassoCoder(error=0.02), 0.7), (LassoCoder(l1_radius=0.8), 0.9), (OMPCoder(tol=0.3), 0.8),
     (LassoCoder(error=0.02, atom_weights=np.linspace(0.5, 2, 12)), 0.7)],
    ids=["error", "l1_radius", "tol", "weights"],
)  # fmt: skip
def test_what_the_coder_makes_least_falls_while_the_bound_is_met(data, coder, gain, missing):
    X = data.X.copy()
    if missing:
        X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    model = learner(coder).fit(X)
    value, left = minimised(coder, X, model.components_)
    assert value.mean() < gain * minimised(coder, X, START)[0].mean()
    bound = coder.tol if isinstance(coder, OMPCoder) else coder.error
    assert bound is None or left.max() <= bound * (1 + 1e-6)
    weight = np.arange(200.0)
    assert model.score(X) == pytest.approx(-value.mean())
    assert model.score(X, sample_weight=weight) == pytest.approx(
        -np.average(value, weights=weight)
    )
    monitored = model.history_.column("monitor")
    assert monitored[-1] < monitored[0] and np.isfinite(model.history_.column("loss")[1:]).all()


def test_a_dictionary_that_misses_the_bound_is_no_good_one(data):
    # One atom has small codes, and its residuals are above the tolerance.
    poor = np.concatenate([START[:1], np.zeros((11, 8))])
    coder = OMPCoder(tol=0.3)
    with pytest.warns(ConvergenceWarning, match="not reached their tol"):
        few, _ = minimised(coder, data.X, poor)
    model = learner(coder, dict_init=poor).fit(data.X)
    assert -model.score(data.X) > few.mean()
    assert minimised(coder, data.X, model.components_)[1].max() <= 0.3 * (1 + 1e-9)


@pytest.mark.parametrize("coder", [LassoCoder(error=1e3), OMPCoder(tol=1e3)])
def test_a_bound_that_zeros_meet_is_told(data, coder):
    name = "error" if isinstance(coder, LassoCoder) else "tol"
    with pytest.warns(WorthlessFitWarning, match=f"{name} is at least the squared norm"):
        learner(coder).fit(data.X)


def test_atoms_are_positive_once_they_are_to_be(data):
    model = learner(warm_start=True).fit(data.X)
    stream = learner().partial_fit(data.X)
    for one in (model, stream):
        assert one.components_.min() < 0
        one.set_params(positive_dict=True)
    assert model.fit(data.X).components_.min() >= 0
    assert stream.partial_fit(data.X[:1]).components_.min() >= 0


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_samples_without_weight_are_not_there(data, method):
    X, weight = data.X.copy(), np.ones(200)
    X[[0, 7]], weight[[0, 7]] = np.nan, 0
    ours = getattr(learner(), method)(X, sample_weight=weight)
    alone = getattr(learner(), method)(np.delete(X, [0, 7], axis=0))
    np.testing.assert_array_equal(ours.components_, alone.components_)
    X = data.X.copy()
    X[1:, 3] = np.nan
    with pytest.raises(ValueError, match=r"no sample has seen, all NaN, in columns \[3\]"):
        learner().fit(X, sample_weight=np.arange(200) > 0)
