"""celer: dual extrapolation and working sets, in a loop over the signals (one thread)."""

from __future__ import annotations

import numpy as np

from benchmarks.base import Dataset, Solver


class CelerPath(Solver):
    """``celer_path`` at one alpha: the package's fastest way in, without an estimator's checks."""

    name = "celer_path"
    requires = "celer"
    slow = True
    gap_bound = 2e-3
    parameters = ({"tol": 1e-3, "dtype": "float64"}, {"tol": 1e-5, "dtype": "float64"})

    def prepare(self, dataset: Dataset) -> None:
        from celer import celer_path

        self.path = celer_path
        self.A = np.asfortranarray(dataset.dictionary.T)
        self.alphas = [dataset.alpha / len(self.A)]  # celer divides the squares by the features

    def solve(self, X: np.ndarray) -> np.ndarray:
        codes = np.zeros((len(X), self.A.shape[1]))
        for code, x in zip(codes, X, strict=True):
            if x.any():  # it does not accept a zero signal, whose code is zero
                _, coefs, _ = self.path(
                    self.A, x, "lasso", alphas=self.alphas, tol=self.settings["tol"]
                )
                code[:] = coefs[:, 0]
        return codes
