"""Threads share fitted estimators, and fit their own, as if each were alone."""

import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll.functional import Convolution
from tests.estimator_table import LEARNED, MAKERS, case, fitted
from tests.estimators.test_faults import count_calls, disturbed, fit

# Filters of warnings belong to the process: no thread may set them.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

every = pytest.mark.parametrize("name", MAKERS)
learned = pytest.mark.parametrize("name", LEARNED)


def generators():
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()


@cache
def fitted_together():
    """Return estimators of the whole table, fitted by four threads, and the generators after."""
    for name in MAKERS:
        case(name), fitted(name)
    before = generators()
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda name: fit(name, clone(case(name).estimator)), MAKERS))
    return dict(zip(MAKERS, models, strict=True)), before == generators()


@every
def test_fits_in_threads_give_the_bits_of_fits_alone(name):
    models, untouched = fitted_together()
    assert untouched
    np.testing.assert_array_equal(case(name).run(models[name]), case(name).run(fitted(name)))


@every
def test_threads_share_a_fitted_estimator(name):
    entry, model = case(name), fitted(name)
    rows = [slice(start, start + 40) for start in (0, 10, 20, 30)] * 2
    X = entry.holes()

    def codes(some):
        metadata = {key: value[some] for key, value in entry.metadata.items()}
        return getattr(model, entry.method)(X[some], **metadata)

    alone = [codes(some) for some in rows]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(codes, rows))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def other_fit(name, model):
    """Fit an estimator to something else: other units, and pairs that begin elsewhere."""
    entry = case(name)
    changes = {"n_layers": model.n_layers + 1} if hasattr(model, "n_layers") else {}
    if hasattr(model, "dictionary") and not entry.metadata:
        D = entry.estimator.dictionary
        shifts = isinstance(D, Convolution)
        changes["dictionary"] = D.divided(torch.full((16,), 1 / 3)) if shifts else 3 * D
    model.set_params(**changes)
    return model.fit(2 * entry.X, entry.y, **entry.metadata)


@every
@pytest.mark.parametrize("staged", [False, True], ids=["whole", "staged"])
def test_a_call_sees_one_fit_though_another_thread_fits_meanwhile(name, staged):
    entry = case(name)
    method = ("staged_" if staged else "") + entry.method
    if method not in dir(entry.estimator):
        pytest.skip("no stages")

    def run(model):
        found = entry.run(model, method=method)
        return list(found) if staged else found

    old, new = fitted(name), other_fit(name, fitted(name))
    before, after = run(old), run(new)
    assert not np.array_equal(before, after)
    n_calls = count_calls(lambda: run(old))
    for share in (0.02, 0.2, 0.4, 0.6, 0.8):
        # What a thread does there that fits the same estimator, and ends.
        model = fitted(name)
        with disturbed(lambda m=model: vars(m).update(vars(new)), at=max(1, int(share * n_calls))):
            found = run(model)
        assert np.array_equal(found, before) or np.array_equal(found, after), share
        assert vars(model).keys() == vars(new).keys()
        np.testing.assert_array_equal(run(model), after)


@learned
def test_a_fit_shows_nothing_before_it_ends(name):
    entry, seen = case(name), []
    codes, spare = entry.run(fitted(name)), fitted(name)
    n_calls = count_calls(lambda: fit(name, spare))
    for share in (0.2, 0.5, 0.8):
        model = fitted(name)
        with disturbed(lambda m=model: seen.append(entry.run(m)), at=int(share * n_calls)):
            fit(name, model.set_params(random_state=1))
    assert len(seen) == 3
    for found in seen:
        np.testing.assert_array_equal(found, codes)
