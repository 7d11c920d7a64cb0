"""This package's ``LassoCoder``: a few batched iterations, then the exact finish."""

from __future__ import annotations

import numpy as np

from benchmarks.base import Dataset, Solver
from sklearn_unroll import LassoCoder


class Coder(Solver):
    """``LassoCoder.transform``, every signal certified."""

    name = "lasso_coder"
    gap_bound = 1.1e-4
    parameters = (
        {"tol": 1e-4, "dtype": "float32"},
        {"tol": 1e-6, "dtype": "float64"},
        {"tol": 1e-10, "dtype": "float64"},
    )

    def prepare(self, dataset: Dataset) -> None:
        coder = LassoCoder(dataset.dictionary, dataset.alpha, device="cpu", **self.settings)
        self.coder = coder.fit(dataset.X[:1])

    def solve(self, X: np.ndarray) -> np.ndarray:
        return self.coder.transform(X)
