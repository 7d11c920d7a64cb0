"""What holds for every estimator of the package: one table, every duty of the shell."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils import get_tags

from sklearn_unroll import GlowProxInpainter
from sklearn_unroll.functional import Zero, composite_gap
from sklearn_unroll.metrics import duality_gap_scorer
from tests.estimator_table import LEARNED, MAKERS, case, fitted

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

every = pytest.mark.parametrize("name", MAKERS)
learned = pytest.mark.parametrize("name", LEARNED)


def same(found, expected):
    np.testing.assert_array_equal(found, expected)


def stated_problem(name, model):
    """Return the problem of an entry's data."""
    return model.problem(case(name).holes(), **case(name).metadata)


@every
def test_what_a_failed_fit_leaves_is_what_was_there(name):
    entry, model = case(name), fitted(name)
    before = entry.run(model)
    bad = entry.X.copy()
    bad[3, 1] = np.inf
    with pytest.raises(ValueError, match=r"(?i)infinity"):
        entry.refit(model, bad)
    same(entry.run(model), before)
    new = clone(entry.estimator)
    with pytest.raises(ValueError, match=r"(?i)infinity"):
        entry.refit(new, bad)
    assert not [k for k in vars(new) if k.endswith("_") and not k.startswith("_")]


@every
def test_pickles_and_copies_do_the_same(name):
    entry, model = case(name), fitted(name)
    before = entry.run(model)
    same(entry.run(pickle.loads(pickle.dumps(model))), before)
    same(entry.run(deepcopy(model)), before)


@every
def test_same_seed_same_bits_whatever_the_global_generators(name):
    entry = case(name)
    before = entry.run(fitted(name))
    torch.manual_seed(5)
    np.random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    same(entry.run(entry.fit()), before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])


@every
def test_fit_transform_is_fit_and_transform_with_all_metadata(name):
    entry = case(name)
    model = clone(entry.estimator)
    if isinstance(model, GlowProxInpainter):
        found = model.fit_transform(entry.X)
    else:
        found = model.fit_transform(entry.X, entry.y, **entry.metadata)
    X = entry.X
    expected = entry.run(fitted(name), X, "transform")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    with pytest.raises(TypeError, match="bogus"):
        model.fit_transform(entry.X, entry.y, bogus=1)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_the_input_is_kept_and_memory_may_be_read_only(name, dtype):
    entry, model = case(name), fitted(name)
    X = entry.holes().astype(dtype)
    X.flags.writeable = False
    assert entry.run(model, X).dtype == dtype


def again(model, entry, alpha):
    """Return codes for another alpha, where they depend on it."""
    more = {"alpha": alpha} if "n_iter" in model.get_params() else {}
    return torch.from_numpy(getattr(model, entry.method)(entry.X, **entry.metadata, **more))


@every
def test_score_certificate_and_scorer_state_one_problem(name):
    entry, model = case(name), fitted(name)
    if isinstance(model, GlowProxInpainter):
        problem = stated_problem(name, model)
        filled = torch.from_numpy(entry.run(model))
        assert float(problem.f.value(filled, problem).max()) < 1e-20  # it agrees with what is seen
        return
    problem = stated_problem(name, model)
    codes = torch.from_numpy(entry.run(model))
    value = problem.value(codes)
    if not name.startswith("OMP"):  # its own objective is the squared residual, without a half
        expected = -float(value.mean())
        assert model.score(entry.X, **entry.metadata) == pytest.approx(expected, rel=1e-9)
        weight = np.arange(80.0)
        assert model.score(entry.X, sample_weight=weight, **entry.metadata) == pytest.approx(
            -np.average(value, weights=weight), rel=1e-9
        )
    if isinstance(problem.R, Zero):
        with pytest.raises((ValueError, AttributeError), match="alpha|certify"):
            model.certify(entry.X, **entry.metadata)
        return
    solves = name.startswith("LassoCoder") or name == "dictionary learning"
    other = model.certify(entry.X, alpha=0.3, **entry.metadata)
    stated = model.problem(entry.X, alpha=0.3, **entry.metadata)
    if not solves:
        np.testing.assert_allclose(
            other[0], composite_gap(again(model, entry, 0.3), stated)[0], rtol=1e-6, atol=1e-12
        )
    gaps = model.certify(entry.X, **entry.metadata)
    assert gaps.dtype == np.float64 and (gaps >= 0).all()
    stated = composite_gap(codes, problem).numpy()
    if solves:  # and keeps the best dual point it has met
        tol = getattr(model, "coder_", model).get_params()["tol"]
        assert (gaps <= stated + 1e-12).all() and gaps.max() <= tol
    else:
        np.testing.assert_allclose(gaps, stated, rtol=1e-6, atol=1e-12)
    if not entry.metadata:
        assert duality_gap_scorer(model, entry.X) == pytest.approx(-gaps.mean(), rel=1e-9)


@every
def test_stages_end_with_the_result_and_do_not_begin_with_the_start(name):
    entry, model = case(name), fitted(name)
    method = "staged_" + entry.method
    if method not in dir(model):
        pytest.skip("no stages")
    stages = list(entry.run(model, method=method))
    same(stages[-1], entry.run(model))
    depth = model.n_iter if "n_iter" in model.get_params() else model.n_layers
    assert len(stages) == depth


@every
def test_observe_is_what_the_network_sees(name):
    entry, model = case(name), fitted(name)
    if "network_" not in vars(model):
        pytest.skip("no network")
    obs, codes = model.observe(entry.holes(), entry.y, **entry.metadata)
    assert (codes is None) == (entry.y is None)
    kind = next(model.network_.parameters(), obs.b)
    assert obs.b.dtype == (obs.b.dtype if name == "Math-L2O" else kind.dtype)
    with torch.no_grad():
        x = model.network_(obs)
    assert len(x) == len(entry.X) and bool(torch.isfinite(x).all())
    exact, _ = model.observe(entry.holes(), dtype=torch.float64, **entry.metadata)
    assert exact.b.dtype == torch.float64


@learned
def test_parameters_of_the_recipe_can_be_set_where_there_is_no_trainer(name):
    entry = case(name)
    model = clone(entry.estimator).set_params(trainer=None)
    with pytest.raises(ValueError, match="bogus"):
        model.set_params(trainer__bogus=1)
    assert model.trainer is None  # nothing is left half set
    model.set_params(trainer__max_epochs=0)
    assert model.trainer.max_epochs == 0
    entry.refit(model)
    assert model.n_epochs_ == 0 and model.trainer_.max_epochs == 0
    assert np.isfinite(entry.run(model)).all()


class Keeper:
    """Keeps what a callback is handed at the end of every epoch."""

    def __init__(self):
        self.kept = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch" and fitted_estimator is not None:
            network = fitted_estimator.network_
            self.kept.append((network, [p.detach().clone() for p in network.parameters()]))


@learned
def test_callbacks_are_handed_copies(name):
    keeper = Keeper()
    entry = case(name)
    model = clone(entry.estimator).set_params(trainer__max_epochs=2)
    entry.refit(model.set_callbacks(keeper))
    assert len(keeper.kept) >= 2
    for network, parameters in keeper.kept:
        assert all(
            torch.equal(p, q) for p, q in zip(network.parameters(), parameters, strict=True)
        )


@learned
def test_a_stream_and_a_warm_start_go_on(name):
    entry = case(name)
    model = clone(entry.estimator)
    for _ in range(2):
        model.partial_fit(entry.X, entry.y, **entry.metadata)
    assert model.n_epochs_ == 2
    first = entry.run(model)
    stored = pickle.loads(pickle.dumps(model))
    for stream in (model, stored):
        stream.partial_fit(entry.X, entry.y, **entry.metadata)
    same(entry.run(stored), entry.run(model))
    assert not np.array_equal(entry.run(model), first)
    model.set_params(warm_start=True, trainer__max_epochs=0)
    last = entry.run(model)
    np.testing.assert_allclose(entry.run(entry.refit(model)), last, rtol=1e-9, atol=1e-12)
    model.set_params(n_layers=model.n_layers + 1)
    with pytest.raises(ValueError, match="Training cannot go on"):
        entry.refit(model)


OLD = [
    ("LISTA", {"start": "ista"}, "init"),
    ("ADMM-CSNet", {"start": "admm"}, "init"),
    ("FBSNet", {"start": "polar"}, "init"),
    ("Math-L2O", {"start": "random"}, "init"),
    ("GLOW-Prox", {"start": "flat"}, "x0"),
    ("GLOW-Prox", {"shrink": 0.1}, "shrinkage"),
    ("ALISTA", {"weight": "analytic"}, "weights"),
    ("HyperLISTA", {"weight": "analytic"}, "weights"),
]


@pytest.mark.parametrize("name, old, new", OLD)
def test_old_names_say_the_new_ones(name, old, new):
    with pytest.raises(TypeError, match=f"has no parameter .*: it is {new}"):
        type(case(name).estimator)(**old)


def test_old_names_of_attributes_and_modules_say_the_new_ones():
    import sklearn_unroll

    with pytest.raises(AttributeError, match="it is 'n_epochs_'"):
        fitted("LISTA").n_iter_  # noqa: B018
    for room, name, new in (
        (sklearn_unroll, "FBSNetRegressor", "FBSNet"),
        (sklearn_unroll, "reference", "solvers"),
        (sklearn_unroll.functional, "debias", "solvers.debias"),
        (sklearn_unroll.estimators, "TrainedUnrolledRegressor", "estimators.Learned"),
    ):
        with pytest.raises(ImportError, match=rf"it is sklearn_unroll\.{new}"):
            getattr(room, name)
        with pytest.raises(AttributeError, match="has no attribute 'bogus'"):
            room.bogus  # noqa: B018


BAD = {
    "nan": lambda X: np.where(np.arange(X.size).reshape(X.shape) == 7, np.nan, X),
    "infinite": lambda X: np.where(np.arange(X.size).reshape(X.shape) == 7, np.inf, X),
    "complex": lambda X: X + 0j,
    "wide": lambda X: np.hstack([X, X]),
    "flat": lambda X: X.ravel(),
    "empty": lambda X: X[:0],
    "words": lambda X: X.astype(str),
    "three-dimensional": lambda X: X[None],
}


@every
@pytest.mark.parametrize("kind", BAD)
def test_bad_observations_are_refused_by_fit_and_by_every_method(name, kind):
    entry, model = case(name), fitted(name)
    if kind == "nan" and get_tags(model).input_tags.allow_nan:
        pytest.skip("NaN was not seen")
    X = BAD[kind](entry.X)
    if kind == "words":
        X = np.full(entry.X.shape, "a")
    methods = ["predict", "transform", "score", "certify", "observe", "problem"]
    for method in [m for m in methods if m in dir(model)]:
        with pytest.raises((ValueError, TypeError)):
            entry.run(model, X, method)
    if kind not in ("wide",):
        with pytest.raises((ValueError, TypeError)):
            entry.refit(clone(entry.estimator), X)
