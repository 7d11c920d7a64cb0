"""Odd arrays, contexts of torch and labels, over the table: an answer or a clear error."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import (
    FBSNet,
    HyperLISTARegressor,
    LAMPRegressor,
    LassoCoder,
    LISTARegressor,
    TISTARegressor,
)
from tests.estimator_table import MAKERS, case, fitted

# Trainings here are short, and some are worth nothing.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This fit of"),
    pytest.mark.filterwarnings("ignore:The guard of"),
]
NAMES = sorted(MAKERS)
PLAIN = [name for name in NAMES if name not in ("GLOW-Prox",)]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("where", [torch.inference_mode, torch.no_grad, "autocast"])
def test_contexts_of_the_caller_do_not_matter(name, where):
    entry = case(name)
    context = torch.autocast("cpu", dtype=torch.bfloat16) if where == "autocast" else where()
    X = entry.holes()
    expected = entry.run(fitted(name), X)
    with context:
        inside = entry.run(entry.fit(), X)
        np.testing.assert_allclose(np.asarray(inside), np.asarray(expected), rtol=1e-6, atol=1e-8)
        again = entry.run(fitted(name), X)
    np.testing.assert_allclose(np.asarray(again), np.asarray(expected), rtol=1e-6, atol=1e-8)


def masked(X):
    mask = np.zeros(X.shape, dtype=bool)
    mask[1, 2] = True
    return np.ma.array(X, mask=mask)


ODD = {
    "masked": (masked, r"masked array with 1 masked"),
    "dates": (lambda X: (1e9 * X).astype("M8[s]"), "real numbers, got dates"),
    "grad": (lambda X: torch.from_numpy(X).requires_grad_(), r"requires grad.*detach\(\)"),
    "sparse": (lambda X: torch.from_numpy(X).to_sparse(), r"sparse tensor.*to_dense\(\)"),
    "meta": (lambda X: torch.from_numpy(X).to("meta"), "'meta', which holds no numbers"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", PLAIN)
def test_arrays_that_hold_no_plain_numbers_are_refused_by_name(name, kind):
    make, match = ODD[kind]
    entry, model = case(name), fitted(name)
    X = make(entry.holes().astype(np.float64))
    with pytest.raises((ValueError, TypeError), match=match):
        entry.run(model, X)
    with pytest.raises((ValueError, TypeError), match=match):
        entry.fit(X=X)


@pytest.mark.parametrize("kind", ["masked", "dates", "grad", "sparse", "meta"])
def test_odd_dictionaries_codes_and_weights_are_refused_by_name(kind):
    make, match = ODD[kind]
    entry = case("LISTA")
    D = entry.estimator.dictionary
    with pytest.raises((ValueError, TypeError), match=f"dictionary .*{match}"):
        entry.fit(dictionary=make(D))
    with pytest.raises((ValueError, TypeError), match=f"y .*{match}"):
        clone(entry.estimator).fit(entry.X, make(entry.y))
    weight = make(np.ones((len(entry.X), 3)))
    with pytest.raises((ValueError, TypeError), match=f"sample_weight .*{match}"):
        clone(entry.estimator).fit(entry.X, entry.y, sample_weight=weight)


@pytest.mark.parametrize("name", PLAIN)
def test_other_byte_orders_and_widths_are_numbers(name):
    entry, model = case(name), fitted(name)
    X = entry.holes().astype(np.float64)
    expected = np.asarray(entry.run(model, X))
    np.testing.assert_allclose(np.asarray(entry.run(model, X.astype(">f8"))), expected)
    entry.fit(X=X.astype(">f8"))
    np.testing.assert_allclose(np.asarray(entry.run(model, X.astype(np.longdouble))), expected)


@pytest.mark.parametrize("weight", [1e308, 5e-324, 1e-200])
def test_only_ratios_of_weights_matter_whatever_their_size(weight):
    entry = case("LISTA")
    plain = clone(entry.estimator).fit(entry.X, entry.y, sample_weight=np.ones(len(entry.X)))
    odd = clone(entry.estimator).fit(entry.X, entry.y, sample_weight=np.full(len(entry.X), weight))
    np.testing.assert_allclose(odd.predict(entry.X), plain.predict(entry.X), rtol=1e-9, atol=1e-12)


def test_labels_of_a_pipeline_are_ignored_or_the_advice_works():
    entry = case("LISTA")
    D, labels = entry.estimator.dictionary, np.array(["a", "b"] * (len(entry.X) // 2))
    expected = HyperLISTARegressor(D).fit(entry.X).predict(entry.X)
    for y in (labels, (labels == "a").astype(int)):
        found = HyperLISTARegressor(D).fit(entry.X, y).predict(entry.X)
        np.testing.assert_array_equal(found, expected)
    for make in (TISTARegressor, LAMPRegressor):
        with pytest.raises(ValueError, match=r"learns from pairs.*LISTARegressor\(dictionary"):
            make(D).fit(entry.X, labels)
    with pytest.raises(ValueError, match=r"trainer=Trainer\(objective='lasso'\)"):
        LISTARegressor(D).fit(entry.X, labels)
    LassoCoder(D).fit(entry.X, labels)


def test_devices_and_depths_that_are_not_there():
    entry = case("LISTA")
    with pytest.raises(ValueError, match=r"device='cpu:7' cannot be used.*one CPU"):
        entry.fit(device="cpu:7")
    model = FBSNet(entry.estimator.dictionary, n_layers=2).set_params(trainer__max_epochs=1)
    model.fit(entry.X, entry.y)
    for wrong in ("4", 0, 2.5, True):
        with pytest.raises(ValueError, match="n_layers must be a positive integer"):
            model.refine(wrong)
