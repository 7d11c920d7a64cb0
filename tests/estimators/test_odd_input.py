"""Odd arrays, contexts of torch and labels, over the table: an answer or a clear error."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from sklearn_unroll import (
    ADMMCSNetRegressor,
    FBSNet,
    HyperLISTARegressor,
    LassoCoder,
    LISTARegressor,
    OMPCoder,
    Trainer,
    exceptions,
)
from sklearn_unroll.datasets import make_phantoms
from sklearn_unroll.functional import MaskedFourier
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


@pytest.mark.parametrize("weight", [1e308, 5e-324, 1e-200])
def test_only_ratios_of_weights_matter_whatever_their_size(weight):
    entry = case("LISTA")
    plain = clone(entry.estimator).fit(entry.X, entry.y, sample_weight=np.ones(len(entry.X)))
    odd = clone(entry.estimator).fit(entry.X, entry.y, sample_weight=np.full(len(entry.X), weight))
    np.testing.assert_allclose(odd.predict(entry.X), plain.predict(entry.X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("name", [n for n in PLAIN if not case(n).metadata])
def test_labels_of_a_pipeline_are_ignored_or_the_advice_works(name, words):
    entry = case(name)
    labels = np.array(["a", "b"] * (len(entry.X) // 2))
    labels = labels if words else (labels == "a").astype(int)
    after = LogisticRegression()
    try:
        make_pipeline(clone(entry.estimator), after).fit(entry.X, labels)
    except ValueError as error:
        advice = str(error)
        quick = {"objective": "lasso", "max_epochs": 1}
        if "trainer=Trainer(objective='lasso')" in advice:
            own = clone(entry.estimator).set_params(trainer=Trainer(**quick))
        else:
            assert re.search(
                r"use LISTARegressor\(dictionary, trainer=Trainer\('lasso'\)\)", advice
            )
            own = LISTARegressor(case("LISTA").estimator.dictionary, trainer=Trainer(**quick))
        make_pipeline(own, after).fit(entry.X, labels)


def test_what_has_no_dictionary_says_so_to_labels():
    X = case("LISTA").X
    for make in (LISTARegressor, LassoCoder, HyperLISTARegressor):
        with pytest.raises(ValueError, match=r"y must hold numbers.*give the dictionary"):
            make().fit(X, np.array(["a", "b"] * (len(X) // 2)))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in MAKERS
        if "operators" in case(name).metadata
        and not get_tags(case(name).estimator).input_tags.allow_nan
    ],
)
def test_the_way_to_missing_entries_that_errors_name(name):
    entry = case(name)
    seen = np.random.default_rng(0).random(entry.X.shape) < 0.8
    with pytest.raises(ValueError, match=r"X contains NaN.*SimpleImputer.*operators=") as caught:
        entry.fit(X=np.where(seen, entry.X, np.nan))
    assert "HistGradient" not in str(caught.value)
    X, D = np.where(seen, entry.X, 0), entry.metadata["operators"] * seen[:, None, :]
    model = clone(entry.estimator).fit(X, entry.y, operators=D)
    assert np.isfinite(model.predict(X, operators=D)).all()


def test_warnings_name_their_paragraph_of_the_guide():
    guide = (Path(__file__).parents[2] / "docs" / "user_guide.rst").read_text(encoding="utf-8")
    title = "When a fit or a prediction warns"
    section = guide.split(f"{title}\n---")[1].split("\n----")[0]
    for name in exceptions.__all__:
        assert f"``{name}``:" in section
        assert f'See {name} in the user guide, "{title}".' in str(getattr(exceptions, name)("x"))


def test_pictures_in_other_shapes_are_told_how_to_be_flattened():
    y = make_phantoms(20, (8, 8), random_state=0)
    A = MaskedFourier(np.broadcast_to(np.arange(8) % 2 == 0, (8, 8)))
    X = A(torch.from_numpy(y)).numpy()
    model = ADMMCSNetRegressor(A, image_shape=(8, 8), n_layers=1, trainer=Trainer(max_epochs=1))
    with pytest.raises(ValueError, match=r"y.*\(20, 8, 8\).*y\.reshape\(len\(y\), -1\)"):
        model.fit(X, y.reshape(20, 8, 8))
    with pytest.raises(ValueError, match=r"y is complex.*complex_images=True"):
        model.fit(X, y + 1j)
    for shape in ((8.0, 8.0), (8, 8, 1), ("8", 8), (-8, -8), (True, 64)):
        with pytest.raises(ValueError, match="image_shape must be"):
            clone(model).set_params(image_shape=shape).fit(X, y)
    model.fit(X, y)


def test_as_many_atoms_as_there_are_by_default():
    D = np.eye(3, 50)
    X = np.random.default_rng(0).standard_normal((30, 50))
    found = OMPCoder(D).fit(X).solve(X)  # a warning would be an error
    assert found.converged.all() and (found.n_nonzero == 3).all()
    np.testing.assert_allclose(found.codes, X[:, :3], atol=1e-12)
    with pytest.raises(ValueError, match="n_nonzero.*Got 0.05"):
        HyperLISTARegressor(case("LISTA").estimator.dictionary, n_nonzero=0.05).fit(
            case("LISTA").X
        )


def test_exact_coders_answer_whatever_the_size():
    entry = case("LISTA")
    X, D = entry.X, entry.estimator.dictionary
    for coder in (LassoCoder(D, alpha_relative=True), OMPCoder(D)):
        codes = coder.fit(X).transform(X)
        for size in (2.0**530, 2.0**-530):
            np.testing.assert_array_equal(coder.transform(size * X), size * codes)
        with pytest.raises(ValueError, match="Rescale .*X"):
            coder.score(2.0**530 * X)
    with pytest.raises(ValueError, match="squared residuals of X overflow"):
        OMPCoder(D).fit(X).solve(2.0**530 * X)


def test_devices_and_depths_that_are_not_there():
    entry = case("LISTA")
    with pytest.raises(ValueError, match=r"device='cpu:7' cannot be used.*one CPU"):
        entry.fit(device="cpu:7")
    model = FBSNet(entry.estimator.dictionary, n_layers=2).set_params(trainer__max_epochs=1)
    model.fit(entry.X, entry.y)
    for wrong in ("4", 0, 2.5, True):
        with pytest.raises(ValueError, match="n_layers must be a positive integer"):
            model.refine(wrong)
