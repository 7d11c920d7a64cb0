"""Starts, weights and counts that solvers are given: what is none of them is refused by name."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.solvers import (
    ADMM,
    FISTA,
    ISTA,
    active_set,
    certified_lasso,
    coordinate_descent,
    debias,
    fista,
    minimize,
    orthogonal_matching_pursuit,
)
from tests.estimator_table import pairs
from tests.odd_input import Outcomes

OBS = Observation(torch.tensor(pairs().X[:5]), Dense(torch.tensor(pairs().dictionary)))
Z = torch.zeros(5, 16, dtype=torch.float64)
WRONG = {
    "word": "word",
    "dict": {},
    "list": [1.0],
    "array": Z.numpy(),
    "short": Z[:, 1:],
    "rows": Z[1:],
    "1-D": Z[0],
    "3-D": Z[None],
    "NaN": Z * torch.nan,
    "inf": Z + torch.inf,
    "complex": Z + 1j,
    "number": -3,
    "class": torch.Tensor,
}


def from_(x0, method):
    return minimize(method(OBS, 0.1, x0=x0), OBS, tol=1e-3, max_iter=5).x


SOLVERS = {
    "ISTA": lambda x0: from_(x0, ISTA),
    "FISTA": lambda x0: from_(x0, FISTA),
    "ADMM": lambda x0: from_(x0, ADMM),
    "certified_lasso": lambda x0: certified_lasso(OBS, 0.1, x0=x0).x,
    "active_set": lambda x0: active_set(x0, OBS, 0.1).x,
    "coordinate_descent": lambda x0: coordinate_descent(OBS, 0.1, x0=x0).x,
    "debias": lambda x0: debias(x0, OBS),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_starts(name):
    outcomes, solve = Outcomes(), SOLVERS[name]
    for label, x0 in WRONG.items():
        if name == "debias" and label in ("NaN", "inf"):
            continue  # which leaves bad rows as they are
        outcomes.of(label, lambda x0=x0: solve(x0), "x0", "x")
    for x0 in (Z, Z.float(), Z.long()):  # of any dtype
        outcomes.of(str(x0.dtype), lambda x0=x0: solve(x0), "x0", "x", wrong=False)
    outcomes.check()


WEIGHTS = {
    "fista": lambda alpha: fista(OBS, alpha).x,
    "certified_lasso": lambda alpha: certified_lasso(OBS, alpha).x,
    "active_set": lambda alpha: active_set(Z, OBS, alpha).x,
    "coordinate_descent": lambda alpha: coordinate_descent(OBS, alpha).x,
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name):
    outcomes, solve = Outcomes(), WEIGHTS[name]
    for label, alpha in (WRONG | {"zero": 0, "not": float("nan"), "large": np.inf}).items():
        outcomes.of(label, lambda alpha=alpha: solve(alpha), "alpha")
    for alpha in (0.1, Fraction(1, 10), np.float32(0.1), torch.full((5,), 0.1)):
        outcomes.of(str(alpha), lambda alpha=alpha: solve(alpha), "alpha", wrong=False)
    outcomes.check()


def test_counts_and_tolerances_of_a_pursuit():
    outcomes = Outcomes()
    for label, wrong in (WRONG | {"share": 0.05, "not": float("nan")}).items():
        if label == "list":
            continue  # of one number, which is as good as the number
        for name in ("n_nonzero", "tol"):
            if (label, name) == ("share", "tol"):
                continue
            call = lambda k={name: wrong}: orthogonal_matching_pursuit(OBS, **k).x  # noqa: E731
            outcomes.of(f"{name}={label}", call, name)
    outcomes.check()
