"""skglm: Anderson-accelerated coordinate descent, in a loop over the signals (one thread)."""

from __future__ import annotations

import numpy as np

from benchmarks.base import Dataset, Solver


class SkglmCD(Solver):
    """``AndersonCD``; its tolerance is a violation of optimality, not a gap.

    numba compiles at the first call, which is the warm-up.
    """

    name = "skglm_cd"
    requires = "skglm"
    slow = True
    gap_bound = 1e-3
    parameters = ({"tol": 1e-7, "dtype": "float64"},)

    def prepare(self, dataset: Dataset) -> None:
        from skglm.datafits import Quadratic
        from skglm.penalties import L1
        from skglm.solvers import AndersonCD

        self.A = np.asfortranarray(dataset.dictionary.T)
        self.datafit = Quadratic()
        self.penalty = L1(dataset.alpha / len(self.A))  # skglm divides the squares by the features
        self.solver = AndersonCD(tol=self.settings["tol"], fit_intercept=False)

    def solve(self, X: np.ndarray) -> np.ndarray:
        codes = np.empty((len(X), self.A.shape[1]))
        for code, x in zip(codes, X, strict=True):
            code[:], _, _ = self.solver.solve(
                self.A, x, self.datafit, self.penalty, run_checks=False
            )
        return codes
