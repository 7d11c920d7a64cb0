"""What is measured of codes: the lasso objective, its duality gap, recovery. In float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse

from benchmarks.base import Dataset
from sklearn_unroll.functional import Dense, Observation, lasso_value
from sklearn_unroll.metrics import duality_gap, nmse_db, support_f1
from sklearn_unroll.solvers import fista

OPTIMUM_GAP = 1e-9  # relative duality gap of the codes whose objective counts as the optimum


def dense(codes: Any) -> np.ndarray:
    """Return codes, which may be sparse and in float32, as an array in float64."""
    return np.asarray(codes.toarray() if issparse(codes) else codes, dtype=np.float64)


def gaps(dataset: Dataset, codes: Any) -> dict[str, float]:
    """Return duality gaps relative to ``P(0)``, of codes of the first signals or all."""
    codes = dense(codes)
    X = dataset.X[: len(codes)]
    gap = duality_gap(X, codes, dataset.dictionary, dataset.alpha)
    return {
        "gap_median": float(np.median(gap)),
        "gap_max": float(gap.max()),
        "n_nonzero": float((codes != 0).sum(1).mean()),
    }


class Objective:
    """``0.5 ||x - z D||^2 + alpha ||z||_1`` of a dataset, and how far codes are from its minimum.

    The minimum comes from FISTA in float64, certified per signal by a duality gap of 1e-9.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset.astype("float64")
        D = torch.from_numpy(self.dataset.dictionary)
        self.obs = Observation(torch.from_numpy(self.dataset.X), Dense(D))
        solution = fista(self.obs, dataset.alpha, tol=OPTIMUM_GAP, max_iter=100_000)
        if not solution.converged.all():
            raise RuntimeError(
                f"The optimum of {dataset.name} was not certified: the largest relative gap is "
                f"{solution.gap.max():.1e} after {solution.n_iter.max()} iterations. Raise alpha."
            )
        self.optimal_codes = solution.x.numpy()
        self.optimum = self.value(self.optimal_codes)
        self.optimal_n_nonzero = float((self.optimal_codes != 0).sum(1).mean())

    def value(self, codes: np.ndarray) -> float:
        """Return the mean objective over the signals."""
        return float(lasso_value(torch.from_numpy(codes), self.obs, self.dataset.alpha).mean())

    def evaluate(self, codes: Any) -> dict[str, float]:
        """Return every measure of codes; of recovery where there are true codes.

        ``objective_excess`` is ``mean P(z) / mean P(z*) - 1``. A method may beat the reference
        by less than 1e-9.
        """
        codes, data = dense(codes), self.dataset
        found = gaps(data, codes)
        found["objective_excess"] = self.value(codes) / self.optimum - 1
        if data.codes is not None:
            found["nmse_db"] = nmse_db(data.codes, codes)
            found["support_f1"] = support_f1(data.codes, codes, zero_division=0.0)
        return found
