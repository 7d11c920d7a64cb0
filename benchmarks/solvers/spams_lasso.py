"""SPAMS: LARS, coordinate descent and OMP in C++, many signals in one call.

Signals are columns and arrays are Fortran-ordered: the transpose of a C-ordered X is both,
without a copy. Codes come back as a sparse matrix, which is left sparse in the timed part.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix, diags

from benchmarks.base import Dataset, Solver


class _Spams(Solver):
    requires = "spams"

    def prepare(self, dataset: Dataset) -> None:
        import spams

        self.spams = spams
        self.D = np.asfortranarray(dataset.dictionary.T)
        self.dataset = dataset

    def solve(self, X: np.ndarray) -> Any:
        return self.code(np.asfortranarray(X.T)).T

    @abstractmethod
    def code(self, columns: np.ndarray) -> Any:
        """Return the codes of columns, as columns."""


class SpamsLARS(_Spams):
    """``spams.lasso``: exact in float64; in float32 a few signals in 10,000 go astray."""

    name = "spams_lasso"
    gap_bound = 1e-3
    parameters = ({"dtype": "float32"}, {"dtype": "float64"})

    def code(self, columns: np.ndarray) -> Any:
        return self.spams.lasso(
            columns, D=self.D, lambda1=self.dataset.alpha, mode=2, numThreads=self.threads
        )


class SpamsCD(_Spams):
    """``spams.cd``; it runs to ``itermax`` on a signal whose code is zero, hence a small one."""

    name = "spams_cd"
    gap_bound = 1e-2
    parameters = (
        {"tol": 2e-4, "itermax": 300, "dtype": "float32"},
        {"tol": 2e-4, "itermax": 300, "dtype": "float64"},
        {"tol": 2e-6, "itermax": 300, "dtype": "float64"},
    )

    def code(self, columns: np.ndarray) -> Any:
        start = csc_matrix((self.D.shape[1], columns.shape[1]), dtype=columns.dtype)
        return self.spams.cd(
            columns,
            self.D,
            start,
            lambda1=self.dataset.alpha,
            mode=2,
            numThreads=self.threads,
            **self.settings,
        )


class SpamsOMP(_Spams):
    """``spams.omp`` with a number of atoms, or down to 0.8 of the noise energy: not the lasso.

    The factor 0.8 does best on Gaussian data at 30 dB, and the noise energy is given: an
    optimistic setting for OMP.
    """

    name = "spams_omp"
    parameters = (
        {"stop": "n_nonzero", "dtype": "float32"},
        {"stop": "noise", "dtype": "float32"},
    )

    def applies_to(self, dataset: Dataset) -> bool:
        return self.settings["stop"] == "n_nonzero" or dataset.noise_energy is not None

    def code(self, columns: np.ndarray) -> Any:
        if self.settings["stop"] == "n_nonzero":
            # Without eps, spams reads one that nobody has set, and may return empty codes.
            return self.omp(columns, L=self.dataset.n_nonzero, eps=0.0)
        # It takes one eps for all signals (an array is refused), so bring the noise to one.
        noise = np.sqrt(self.dataset.noise_energy)
        scale = np.where(noise > 0, noise, 1)
        return self.omp(columns / scale, eps=0.8) @ diags(scale)

    def omp(self, columns: np.ndarray, **limit: float) -> Any:
        return self.spams.omp(columns, self.D, numThreads=self.threads, **limit)
