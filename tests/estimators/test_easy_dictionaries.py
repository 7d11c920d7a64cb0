"""Dictionaries for which there is nothing to do, and data that are partly zero, over the table."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_unroll.exceptions import TrainingWarning
from sklearn_unroll.metrics import nmse_db
from tests.estimator_table import MAKERS, case

WITH_DICTIONARY = [
    name for name in MAKERS if getattr(case(name).estimator, "dictionary", None) is not None
]


@pytest.mark.parametrize("kind", ["identity", "one atom", "duplicates", "zeros among them"])
@pytest.mark.parametrize("name", WITH_DICTIONARY)
def test_codes_are_finite_and_no_worse_than_zeros(name, kind):
    rng = np.random.default_rng(0)
    D = {
        "identity": np.eye(8),
        "one atom": rng.standard_normal((1, 8)),
        "duplicates": np.vstack([np.eye(8), np.eye(8)]),
        "zeros among them": np.eye(8),
    }[kind].astype(np.float32)
    y = rng.standard_normal((40, len(D))) * (rng.random((40, len(D))) < 0.2)
    y[: 20 if kind == "zeros among them" else 1] = 0
    y = y.astype(np.float32)
    entry = case(name)
    model = clone(entry.estimator).set_params(dictionary=D)
    if entry.estimator.get_params().get("groups") is not None:
        model.set_params(groups=min(2, len(D)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        model.fit(y @ D, None if entry.y is None else y)
    codes = model.predict(y @ D)
    assert np.isfinite(codes).all()
    assert not codes[~y.any(1)].any() or name in ("feed-forward", "LISTA, smooth")
    if entry.y is not None and kind != "duplicates":
        assert nmse_db(y, codes) < 1
