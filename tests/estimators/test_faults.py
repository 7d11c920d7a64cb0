"""What goes wrong around an estimator leaves it as it was: interrupts, refusals, settings."""

import pickle
import random
import sys
import warnings
from contextlib import ExitStack, contextmanager
from copy import copy, deepcopy
from inspect import CO_GENERATOR

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone

from sklearn_unroll.nn import Unrolled
from tests.estimator_table import LEARNED, MAKERS, case, fitted

pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

every = pytest.mark.parametrize("name", MAKERS)
learned = pytest.mark.parametrize("name", LEARNED)


class Stop(BaseException):
    """Not to be caught by anyone."""


@contextmanager
def disturbed(disturb=lambda: None, at=0):
    """Do something at the given call of a Python function, as a signal would; count the calls."""
    calls = []

    def watch(frame, event, arg):
        # What is raised while a generator is thrown away, nobody hears of.
        if event == "call" and not frame.f_code.co_flags & CO_GENERATOR:
            calls.append(frame.f_code.co_name)
            if len(calls) == at:
                sys.setprofile(None)
                disturb()
                sys.setprofile(watch)

    sys.setprofile(watch)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def count_calls(job):
    """Return how many Python functions a job calls when it runs the second time."""
    job()
    with disturbed() as calls:
        job()
    return len(calls)


def stop():
    raise Stop


def fit(name, model):
    """Fit in a thread, say: without touching the filters of warnings."""
    entry = case(name)
    return model.fit(entry.X, entry.y, **entry.metadata)


def unchanged(model, before):
    """Return whether all attributes are the very same objects."""
    now = vars(model)
    return now.keys() == before.keys() and all(now[k] is v for k, v in before.items())


@every
def test_an_interrupt_at_any_place_of_a_fit_leaves_the_estimator_as_it_was(name):
    entry, model = case(name), fitted(name)
    new, spare, codes = clone(model), clone(model), entry.run(model)
    n_calls = count_calls(lambda: fit(name, spare))
    for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        for estimator in (model, new):
            before = dict(vars(estimator))
            with pytest.raises(Stop), disturbed(stop, at=int(share * n_calls)):
                fit(name, estimator)
            # The last calls come when all is done.
            assert unchanged(estimator, before) or share > 0.95, share
    np.testing.assert_array_equal(entry.run(model), codes)
    np.testing.assert_array_equal(entry.run(fit(name, new)), codes)


@learned
@pytest.mark.parametrize("fault", [KeyboardInterrupt, MemoryError, OSError])
def test_a_training_that_breaks_off_leaves_the_estimator_as_it_was(name, fault, monkeypatch):
    entry, model = case(name), fitted(name)
    codes, steps = entry.run(model), []
    project = Unrolled.project_

    def broken(network):
        project(network)
        steps.append(1)
        if len(steps) == 2:
            raise fault("in the middle")

    warm = copy(model).set_params(warm_start=True)
    jobs = {
        "fit": (model, "fit"),
        "warm start": (warm, "fit"),
        "stream": (model, "partial_fit"),
        "first of a stream": (clone(model), "partial_fit"),
    }
    for estimator, method in jobs.values():
        before, params = dict(vars(estimator)), str(estimator.get_params())
        steps.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Unrolled, "project_", broken)
            with pytest.raises(fault, match="in the middle"):
                getattr(estimator, method)(entry.X, entry.y, **entry.metadata)
        assert unchanged(estimator, before) and str(estimator.get_params()) == params
        if estimator.__sklearn_is_fitted__():
            for same in (estimator, deepcopy(estimator), pickle.loads(pickle.dumps(estimator))):
                np.testing.assert_array_equal(entry.run(same), codes)
        assert not clone(estimator).__sklearn_is_fitted__()


class Breaks:
    """A callback that raises in one of its hooks."""

    def __init__(self, hook, task):
        self.hook, self.task = hook, task

    def _called(self, hook, context):
        if (hook, context.task_name) == (self.hook, self.task):
            raise RuntimeError("of a callback")

    def setup(self, estimator, context):
        self._called("setup", context)

    def on_fit_task_begin(self, estimator, context):
        self._called("begin", context)

    def on_fit_task_end(self, estimator, context):
        self._called("end", context)

    def teardown(self, estimator, context):
        pass


@learned
@pytest.mark.parametrize(
    "hook, task", [("setup", "fit"), ("begin", "epoch"), ("end", "epoch"), ("end", "fit")]
)
def test_a_callback_that_raises_leaves_the_estimator_as_it_was(name, hook, task):
    entry, model = case(name), fitted(name)
    codes = entry.run(model)
    model.set_callbacks(Breaks(hook, task))
    before = dict(vars(model))
    with pytest.raises(RuntimeError, match="of a callback"):
        fit(name, model)
    assert unchanged(model, before)
    np.testing.assert_array_equal(entry.run(fit(name, model.set_callbacks())), codes)


@every
def test_parameters_that_are_refused_change_nothing(name):
    model = clone(case(name).estimator)
    refused = [{"device": "cpu:0", "bogus": 1}]
    if "trainer" in model.get_params(deep=False):
        refused += [
            {"trainer__max_epochs": 7, "trainer__bogus": 1},
            {"trainer__max_epochs": 7, "trainer__optimizer__bogus": 1},
            {"random_state": 5, "n_layers": 7, "trainer__bogus": 1},
            {"trainer": None, "trainer__max_epochs": 7},
        ]
    for params in refused:
        for estimator in (
            model,
            clone(model).set_params(**dict.fromkeys({"trainer"} & params.keys())),
        ):
            before = {k: id(v) for k, v in estimator.get_params().items()}
            with pytest.raises((ValueError, AttributeError)):
                estimator.set_params(**params)
            assert {k: id(v) for k, v in estimator.get_params().items()} == before


def settings():
    """Return what a user may have set for the process or the thread."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_anomaly_enabled()),
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),
        "random": random.getstate(),
        "errors": (np.geterr(), np.geterrcall()),
        "printed": np.get_printoptions(),
        "warnings": list(warnings.filters),
        "sklearn": sklearn.get_config(),
    }


@contextmanager
def settings_of_a_user(kind):
    """Set much that changes what torch or numpy do."""
    before = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    with ExitStack() as stack:
        stack.callback(torch.set_default_dtype, before[0])
        stack.callback(torch.use_deterministic_algorithms, before[1])
        if kind == "dtype":
            torch.set_default_dtype(torch.float64)
        else:
            torch.use_deterministic_algorithms(True)
            for context in (torch.device("meta"), torch.no_grad(), np.errstate(all="raise")):
                stack.enter_context(context)
            stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
        yield


def all_results(entry, model, X=None):
    """Yield what the methods of a fitted estimator give."""
    X = entry.holes() if X is None else X
    for method in ("predict", "transform", "score", "certify", "solve", "count_refused"):
        if method in dir(model):
            more = {"alpha": 0.1} if method == "certify" else {}
            found = getattr(model, method)(X, **entry.metadata, **more)
            yield from found if isinstance(found, tuple) else (found,)
    staged = "staged_" + entry.method
    if staged in dir(model):
        yield from entry.run(model, X, staged)


@every
@pytest.mark.parametrize("kind", ["dtype", "others"])
def test_settings_of_the_user_change_no_bit_and_are_not_touched(name, kind):
    entry = case(name)
    expected = list(all_results(entry, fitted(name)))
    with settings_of_a_user(kind):
        before = settings()
        model = fit(name, clone(entry.estimator))
        found = list(all_results(entry, model))
        with pytest.raises(ValueError, match="features"):
            entry.run(model, entry.X[:, :-1])
        with pytest.raises(ValueError, match="NaN|infinity"):
            fit_on_infinity(name, model)
        after = settings()
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype
    assert {k for k in before if str(before[k]) != str(after[k])} == set()


def fit_on_infinity(name, model):
    X = case(name).X.copy()
    X[3, 1] = np.inf
    model.fit(X, case(name).y, **case(name).metadata)
