"""The experiment behind a phase diagram: how often a method recovers, cell by cell."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.parallel import Parallel, delayed

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import nmse_db


class Trial(NamedTuple):
    """What is the same in all cells; ``law`` is passed to ``make_sparse_recovery``."""

    method: Any
    n_components: int
    n_samples: int
    n_train_samples: int
    success_db: float
    law: dict


def success_rates(
    trial: Trial,
    undersampling: np.ndarray,
    sparsity: np.ndarray,
    random_state: Any,
    n_jobs: int | None,
) -> np.ndarray:
    """Return the share of signals recovered, of shape (n_sparsity, n_undersampling)."""
    sizes = [
        (m, max(round(rho * m), 1))
        for rho in sparsity
        for m in (max(round(delta * trial.n_components), 1) for delta in undersampling)
    ]
    # Drawn beforehand, so that the order in which cells are worked on does not matter; two a
    # cell, so that the test signals do not depend on the number of training pairs.
    rng = check_random_state(random_state)
    seeds = rng.randint(np.iinfo(np.int32).max, size=(len(sizes), 2)).tolist()
    with warnings.catch_warnings():
        # Beyond recovery nothing converges; that is what the rate of such a cell says.
        warnings.simplefilter("ignore", ConvergenceWarning)
        rates = Parallel(n_jobs=n_jobs)(
            delayed(_success_rate)(trial, *size, *pair)
            for size, pair in zip(sizes, seeds, strict=True)
        )
    return np.reshape(rates, (len(sparsity), len(undersampling)))


def _success_rate(
    trial: Trial, n_features: int, n_nonzero: int, train_seed: int, test_seed: int
) -> float:
    law = {**trial.law, "sparsity": n_nonzero}
    train = make_sparse_recovery(
        trial.n_train_samples, n_features, trial.n_components, random_state=train_seed, **law
    )
    law["dictionary"] = train.dictionary
    test = make_sparse_recovery(trial.n_samples, random_state=test_seed, **law)
    if _is_template(trial.method):
        model = clone(trial.method).set_params(dictionary=train.dictionary)
        codes = model.fit(train.X, train.y).predict(test.X)
    else:
        codes = trial.method(train.dictionary, test.X)
    return float(np.mean(nmse_db(test.y, codes, aggregate="none") < trial.success_db))


def check_grid(values: Sequence[float], name: str) -> np.ndarray:
    """Return at least two increasing numbers in (0, 1]; raise for anything else."""
    grid = np.asarray(values, dtype=np.float64)
    valid = grid.ndim == 1 and len(grid) > 1 and np.all(np.diff(grid) > 0)
    if not (valid and grid[0] > 0 and grid[-1] <= 1):
        raise ValueError(
            f"{name} must hold at least two increasing numbers in (0, 1], got {values!r}."
        )
    return grid


def check_method(estimator: Any) -> Any:
    """Return an estimator to clone or a callable; raise for anything else."""
    if isinstance(estimator, type) or not (_is_template(estimator) or callable(estimator)):
        raise TypeError(
            f"estimator must be an object with fit, predict and a parameter dictionary, or a "
            f"callable (dictionary, X) -> codes; got {estimator!r}."
        )
    return estimator


def _is_template(estimator: Any) -> bool:
    template = HasMethods(["fit", "predict", "get_params"]).is_satisfied_by(estimator)
    return template and "dictionary" in estimator.get_params()
