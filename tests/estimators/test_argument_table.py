"""Every other argument: of constructors, of trainers and their parts, and of methods."""

import inspect
from collections import Counter
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_unroll import Trainer
from sklearn_unroll.training import (
    SGD,
    Adam,
    Augmentation,
    Descent,
    EndToEnd,
    Grouped,
    Lasso,
    LayerNoise,
    ProblemObjective,
    StageWise,
    Supervised,
)
from tests.estimator_table import MAKERS, case, fitted
from tests.estimators.test_input_table import METHODS, TAKES_Y
from tests.odd_input import SPOILED, THINGS, Outcomes

# Trainings here are short, some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore")
# One of each class and of each way to make its network.
NAMES = (
    "LISTA", "ALISTA", "NA-ALISTA", "HyperLISTA", "LAMP", "TISTA", "Ada-LISTA", "FBSNet",
    "feed-forward", "ADMM-CSNet", "ADMM-CSNet, dense", "Math-L2O", "GLOW-Prox", "LassoCoder",
    "OMPCoder", "dictionary learning", "dictionary learning, unrolled",
)  # fmt: skip
# What a parameter may be, though it is odd for others.
MAY_BE = {
    ("memory", "word"), ("c3", "inf"), ("sharpness", "inf"),
}  # fmt: skip
TOTAL = Counter()


@pytest.mark.parametrize("name", NAMES)
def test_constructor_parameters(name):
    entry, outcomes = case(name), Outcomes()
    for parameter in entry.estimator.get_params(deep=False):
        for label, thing in THINGS.items():
            if (parameter, label) in MAY_BE:
                continue
            outcomes.of(
                f"{name}({parameter}={label})",
                lambda p=parameter, v=thing: entry.run(entry.fit(**{p: v})),
                parameter,
            )
    outcomes.check(TOTAL)


PARTS = {
    None: [Trainer(max_epochs=1)],
    "objective": [Lasso(), Supervised(), ProblemObjective("log")],
    "schedule": [EndToEnd(), StageWise(), Grouped({"rule.theta": 1.0})],
    "optimizer": [Adam(), SGD()],
    "augmentation": [Augmentation()],
    "perturbation": [LayerNoise()],
    "constraint": [Descent()],
}


@pytest.mark.parametrize("where", PARTS)
def test_parameters_of_the_trainer_and_of_its_parts(where):
    entry, outcomes = case("LISTA"), Outcomes()
    pairs = [(0.0, float("nan")), (1.0, float("inf")), (-1.0, 2.0)]
    things = THINGS | {f"pair {pair}": pair for pair in pairs}
    for part in PARTS[where]:
        for parameter in part.get_params(deep=False):
            for label, thing in things.items():
                if (parameter, label) in (("constraint", "empty"), ("rates", "list")):
                    continue  # none, and three passes over the layers
                new = clone(part).set_params(**{parameter: thing})
                trainer = new if where is None else Trainer(max_epochs=1, **{where: new})
                names = [parameter, "kinds of parameters"]
                outcomes.of(
                    f"{type(part).__name__}({parameter}={label})",
                    lambda t=trainer: entry.run(entry.fit(trainer=t)),
                    *names,
                )
    outcomes.check(TOTAL)


def good(name, argument):
    """Return what an argument of a method may be."""
    entry, n = case(name), len(case(name).X)
    if argument == "y" and entry.y is not None:
        return entry.y.astype(float)
    n_components = getattr(_shared(name), "n_components_", entry.X.shape[1])
    return {
        "y": np.zeros((n, n_components)),
        "sample_weight": np.ones(n),
        "operators": entry.metadata.get("operators"),
        "alpha": np.full(n, 0.1),
        "tol": np.full(n, 0.1),
        "x0": np.zeros((n, n_components)),
        "alphas": np.array([0.1, 0.2]),
        "mask": (np.arange(entry.X.size).reshape(entry.X.shape) % 3 == 0).astype(float),
        "n_iter": None,
        "dtype": None,
    }[argument]


ARGUMENTS = (
    "y", "sample_weight", "operators", "alpha", "tol", "x0", "alphas", "mask", "n_iter", "dtype",
)  # fmt: skip


def is_ignored(name, method, argument):
    """Return whether a method says that it does not look at an argument."""
    document = inspect.getdoc(
        getattr(_shared(name), "fit" if method == "fit_transform" else method)
    )
    forms = "object, default=None\n    Ignored", "None\n    Ignored", "Ignored\n"
    return any(f"\n{argument} : {form}" in document for form in forms)


def is_right(argument, label):
    """Return whether an odd thing is what an argument takes."""
    return (argument, label) in {
        ("alpha", "fraction"), ("tol", "fraction"), ("alphas", "fraction"),
        ("sample_weight", "fraction"), ("alphas", "list"), ("alphas", "long"), ("alphas", "short"),
    }  # fmt: skip


@pytest.mark.parametrize("name", [n for n in MAKERS if n in NAMES or "operators" in n])
def test_arguments_of_methods(name):
    entry, outcomes = case(name), Outcomes()
    for method in [m for m in METHODS if hasattr(_shared(name), m)]:
        known = inspect.signature(getattr(_shared(name), method)).parameters
        arguments = [a for a in ARGUMENTS if a in known]
        arguments += ["operators"] if "metadata" in known else []
        for argument in [a for a in arguments if not is_ignored(name, method, a)]:
            _try_one(entry, name, method, argument, known, outcomes)
    outcomes.check(TOTAL)


def _try_one(entry, name, method, argument, known, outcomes):
    things, right = dict(THINGS), good(name, argument)
    if right is not None:
        things |= {label: make(right) for label, make in SPOILED.items()}
    coder = name.startswith(("LassoCoder", "OMPCoder", "HyperLISTA", "dictionary"))
    if argument == "y" and method in TAKES_Y and coder:
        return  # labels, which are ignored
    X = entry.X if method in TAKES_Y else entry.holes()
    if method == "inverse_transform":
        X = np.zeros((len(X), _shared(name).n_components_))
    base = {k: v for k, v in entry.metadata.items() if k in known or "metadata" in known}
    if method in TAKES_Y and entry.y is not None:
        base["y"] = entry.y
    if method == "path":
        base["alphas"] = [0.1]
    if method == "certify" and entry.estimator.get_params().get("alpha") is None:
        base["alpha"] = 0.1
    for label, thing in things.items():
        if is_right(argument, label):
            continue
        # What is refused leaves an estimator as it was.
        model = _shared(name)
        outcomes.of(
            f"{name}.{method}({argument}={label})",
            lambda m=model, v=thing: getattr(m, method)(X, **(base | {argument: v})),
            argument,
        )


@cache
def _shared(name):
    """Return a fitted estimator that is not to be changed."""
    return fitted(name)


def test_counts(capsys):
    with capsys.disabled():
        print("\narguments:", dict(TOTAL))
    assert TOTAL["unclear"] == TOTAL["silent"] == TOTAL["NaN"] == 0
