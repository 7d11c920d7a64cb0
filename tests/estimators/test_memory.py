"""Large data: read-only maps as they are, and no copy of the whole."""

import gc
import pickle
import sys
import tracemalloc
from functools import cache
from inspect import signature

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import (
    HyperLISTARegressor,
    LassoCoder,
    LISTARegressor,
    OMPCoder,
    TISTARegressor,
    Trainer,
)
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.training import Augmentation
from tests.estimator_table import MAKERS, case, fitted
from tests.estimators.test_faults import all_results

pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

every = pytest.mark.parametrize("name", MAKERS)


def mapped(array, folder, name):
    """Return an array as a read-only map of a file."""
    if array is None:
        return None
    file = folder / f"{name}.npy"
    np.save(file, array)
    return np.load(file, mmap_mode="r")


def kinds_of_maps(model):
    """Yield what an estimator holds that is, or looks at, a map."""
    for name, value in vars(model).items():
        if name in model.get_params(deep=False):
            continue
        base = value
        while base is not None:
            if isinstance(base, np.memmap):
                yield name
            base = getattr(base, "base", None)


@every
def test_read_only_maps_give_the_same_bits(name, tmp_path):
    entry, model = case(name), fitted(name)
    expected = list(all_results(entry, model))
    X, y = mapped(entry.X, tmp_path, "X"), mapped(entry.y, tmp_path, "y")
    metadata = {k: mapped(value, tmp_path, k) for k, value in entry.metadata.items()}
    changes = {
        k: mapped(value, tmp_path, k)
        for k, value in entry.estimator.get_params(deep=False).items()
        if isinstance(value, np.ndarray)
    }
    new = clone(entry.estimator).set_params(**changes).fit(X, y, **metadata)
    holes = mapped(entry.holes(), tmp_path, "holes")
    found = list(all_results(entry._replace(metadata=metadata), new, holes))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list(kinds_of_maps(new))
    loaded = pickle.loads(pickle.dumps(new))
    np.testing.assert_array_equal(entry.run(loaded), expected[0])


@every
def test_weights_may_be_a_read_only_map(name, tmp_path):
    entry, new = case(name), clone(case(name).estimator)
    if "sample_weight" not in signature(new.fit).parameters:
        pytest.skip("takes no weights")
    weight = np.linspace(0.5, 1.5, len(entry.X))
    plain = clone(new).fit(entry.X, entry.y, sample_weight=weight, **entry.metadata)
    weight = mapped(weight, tmp_path, "weight")
    new.fit(entry.X, entry.y, sample_weight=weight, **entry.metadata)
    np.testing.assert_array_equal(entry.run(new), entry.run(plain))


def numbers_held(job):
    """Return the largest number of bytes that torch and numpy have held at a time in a job."""
    gc.collect()  # tensors of earlier tests that go in the middle of the job would count for it
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as profile:
            job()
            of_numpy = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        gc.enable()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(events, key=lambda event: event.start_ns())]
    return of_numpy + max(np.cumsum(changes), default=0)


QUICK = Trainer(max_epochs=1, batch_size=1024)
SHOWN = Trainer(max_epochs=1, batch_size=1024, augmentation=Augmentation(), early_stopping=False)
LARGE = {
    "LISTA": (LISTARegressor(n_layers=2, trainer=QUICK), True),
    "LISTA, without pairs": (LISTARegressor(n_layers=2, trainer=SHOWN), False),
    "LISTA, relative": (LISTARegressor(n_layers=2, trainer=QUICK, alpha_relative=True), False),
    "HyperLISTA": (HyperLISTARegressor(n_layers=2), True),
    "TISTA": (TISTARegressor(n_layers=1, trainer=QUICK), True),
    "LassoCoder": (LassoCoder(alpha=0.1), False),
    "OMPCoder": (OMPCoder(n_nonzero_coefs=2), False),
}


@cache
def large():
    """Return 12000 pairs in float32."""
    return make_sparse_recovery(12_000, 64, 128, sparsity=2, random_state=0, dtype="float32")


@pytest.fixture
def small_blocks(monkeypatch):
    """Make what is computed at a time small beside the data."""
    monkeypatch.setattr(sys.modules["sklearn_unroll.functional.rows"], "_BLOCK", 2**15)
    monkeypatch.setattr(sys.modules["sklearn_unroll.training.augmentation"], "_AT_ONCE", 512)
    # Otherwise more samples bring the shuffle of those that are monitored.
    monkeypatch.setattr(sys.modules["sklearn_unroll.training.loop"], "MONITORED", 2**30)
    aims = sys.modules["sklearn_unroll.estimators._lasso_aim"]
    monkeypatch.setattr(aims, "_NUMBERS", 2**15)


@pytest.mark.parametrize("kind", ["array", "map"])
@pytest.mark.parametrize("name", LARGE)
def test_more_data_take_no_more_memory_than_their_own(name, kind, tmp_path, small_blocks):
    model, has_y = LARGE[name]
    data = large()
    model = clone(model).set_params(dictionary=data.dictionary)
    X, y = data.X, data.y if has_y else None
    if kind == "map":
        X, y = mapped(X, tmp_path, "X"), mapped(y, tmp_path, "y")
    few, many = slice(4550), slice(11_370)  # minibatches of 1023 of the nine tenths

    def grows_by(job):
        """Return how many bytes a job holds for each further sample."""
        job(few)  # what is made once
        numbers_held(lambda: None)
        return (numbers_held(lambda: job(many)) - numbers_held(lambda: job(few))) / 6820

    fit = grows_by(lambda rows: model.fit(X[rows], None if y is None else y[rows]))
    # Norms, numbers of rows and the like; a copy of X would be 256, of pairs 768.
    assert fit <= 96
    assert grows_by(lambda rows: model.predict(X[rows])) <= 1.1 * 128 * 4


@every
def test_what_is_fitted_is_no_memory_of_the_user(name):
    entry = case(name)
    before, holes = entry.run(fitted(name)), entry.holes()
    changes = {
        k: value.copy()
        for k, value in entry.estimator.get_params(deep=False).items()
        if isinstance(value, np.ndarray)
    }
    X, y = entry.X.copy(), None if entry.y is None else entry.y.copy()
    metadata = {k: value.copy() for k, value in entry.metadata.items()}
    model = clone(entry.estimator).set_params(**changes).fit(X, y, **metadata)
    for array in (X, y, *metadata.values(), *changes.values()):
        if array is not None:
            array.fill(np.nan)
    np.testing.assert_array_equal(entry.run(model, holes), before)
