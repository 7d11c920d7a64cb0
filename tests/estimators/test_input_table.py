"""Estimators x methods x inputs: each call is right, or refused by an error that names X."""

import inspect
from collections import Counter

import numpy as np
import pytest
from sklearn.utils import get_tags

from tests.estimator_table import MAKERS, case, fitted
from tests.odd_input import EDGES, MISSING, RIGHT, ROUNDED, WRONG, Outcomes

# Trainings here are short, some are worth nothing, and some data at the edges are.
pytestmark = pytest.mark.filterwarnings("ignore")
TAKES_Y = ("fit", "partial_fit", "fit_transform")
METHODS = (
    *TAKES_Y, "predict", "transform", "inverse_transform", "score", "certify", "staged_predict",
    "staged_transform", "observe", "problem", "solve", "path", "count_refused",
)  # fmt: skip
TOTAL = Counter()


def methods_of(estimator):
    return [method for method in METHODS if hasattr(estimator, method)]


def call(entry, method, X, scale=lambda y: y, model=None):
    """Return what a method gives; for a fit, what the main method gives afterwards."""
    model = fitted(entry.name) if model is None else model
    bound = getattr(model, method)
    takes = inspect.signature(bound).parameters
    known = {k: v for k, v in entry.metadata.items() if k in takes or "metadata" in takes}
    if method in TAKES_Y:
        y = entry.y if entry.y is None else scale(entry.y.astype(float))
        found = bound(X, y, **known)
        return found if method == "fit_transform" else entry.run(model)
    if method == "path":
        known["alphas"] = [0.1, 0.2]
    if method == "certify" and entry.estimator.get_params().get("alpha") is None:
        known["alpha"] = 0.1
    found = bound(X, **known)
    if method == "problem":
        x = found.b if entry.name == "GLOW-Prox" else found.b.new_zeros(1, found.A.n_components)
        return 0.0 if entry.name == "GLOW-Prox" else found.take(slice(1)).value(x)
    return found[0].b if method == "observe" else found


class Named:
    """An entry of the table that knows its name."""

    def __init__(self, name):
        self.name, self.entry = name, case(name)

    def __getattr__(self, name):
        return getattr(self.entry, name)

    def given(self, method):
        """Return what a method takes, in float64."""
        if method == "inverse_transform":
            n = fitted(self.name).n_components_
            return np.random.default_rng(0).standard_normal((len(self.X), n))
        return (self.X if method in TAKES_Y else self.holes()).astype(float)


def run(name, methods, table, wrong, expected=False):
    """Count the outcomes of methods on the inputs of a table."""
    entry, outcomes = Named(name), Outcomes()
    model = fitted(name)
    for method in methods:
        X = entry.given(method)
        right = np.asarray(call(entry, method, X, model=model)) if expected else None
        for label, make in table.items():
            # What is refused leaves an estimator as it was.
            own = fitted(name) if method in TAKES_Y and not wrong else model
            outcomes.of(
                f"{name}.{method}({label})",
                lambda e=entry, m=method, f=make, X=X, own=own: call(e, m, f(X), f, own)
                if m in TAKES_Y and wrong is None
                else call(e, m, f(X), model=own),
                "X", *(["y"] if wrong is None else []), wrong=wrong, expected=right,
            )  # fmt: skip
    outcomes.check(TOTAL)


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_no_table_of_numbers_is_refused_by_every_method(name):
    model = fitted(name)
    fits_of_any_width = name in ("Math-L2O",)
    table = {k: v for k, v in WRONG.items() if not (fits_of_any_width and k == "other width")}
    if not get_tags(model).input_tags.allow_nan:  # takes NaN for what was not seen
        table = table | MISSING
    run(name, [m for m in methods_of(model) if m not in ("fit", "fit_transform")], table, True)
    outer = {k: v for k, v in table.items() if k != "other width"}  # any width begins a fit
    run(name, ["fit"], outer, True)


@pytest.mark.parametrize("name", MAKERS)
def test_what_was_not_seen_is_taken_by_every_method_or_by_none(name):
    model = fitted(name)
    taken = get_tags(model).input_tags.allow_nan
    takers = ("GLOW", "Math-L2O", "LassoCoder", "OMPCoder")
    assert taken == (name.startswith(takers) or name == "dictionary learning")
    methods = [m for m in methods_of(model) if m not in ("inverse_transform", "fit_transform")]
    if taken and name != "GLOW-Prox":  # which is given holes by all other tests
        run(name, methods, MISSING, False)


@pytest.mark.parametrize("name", MAKERS)
def test_numbers_in_any_kind_of_array_give_the_same_codes(name):
    run(name, [case(name).method], RIGHT, False, expected=True)
    if name != "GLOW-Prox":  # whose pictures have NaN, and a range
        run(name, [case(name).method], ROUNDED, False)


@pytest.mark.parametrize("name", MAKERS)
def test_at_the_edges_of_the_range_codes_are_finite_or_refused(name):
    methods = [m for m in methods_of(fitted(name)) if m not in ("partial_fit", "fit_transform")]
    run(name, methods, EDGES, None)


def test_counts(capsys):
    # Of those that ran before this one.
    with capsys.disabled():
        print("\ninputs:", dict(TOTAL))
    assert TOTAL["unclear"] == TOTAL["silent"] == TOTAL["NaN"] == 0
