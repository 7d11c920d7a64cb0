"""scikit-learn: ``SparseCoder`` by coordinate descent, LARS and OMP, and ``Lasso`` on a Gram."""

from __future__ import annotations

from warnings import catch_warnings, filterwarnings

import numpy as np
from sklearn.decomposition import SparseCoder
from sklearn.linear_model import Lasso

from benchmarks.base import Dataset, Solver


class _SparseCoder(Solver):
    """``SparseCoder`` as a user calls it; more than one thread means ``n_jobs``."""

    algorithm: str

    def prepare(self, dataset: Dataset) -> None:
        self.coder = SparseCoder(
            dataset.dictionary,
            transform_algorithm=self.algorithm,
            transform_max_iter=5000,
            n_jobs=self.threads if self.threads > 1 else None,
            **self.target(dataset),
        )

    def target(self, dataset: Dataset) -> dict:
        return {"transform_alpha": dataset.alpha}

    def solve(self, X: np.ndarray) -> np.ndarray:
        return self.coder.transform(X)


class LassoCD(_SparseCoder):
    """Coordinate descent, to a tolerance that is fixed inside scikit-learn.

    It is about 1e-8, which float32 cannot reach on every signal: hence float64 alone.
    """

    name = "sklearn_lasso_cd"
    algorithm = "lasso_cd"
    gap_bound = 1e-4
    parameters = ({"dtype": "float64"},)


class LassoLARS(_SparseCoder):
    """The homotopy method: the default of ``sparse_encode``."""

    name = "sklearn_lasso_lars"
    slow = True
    algorithm = "lasso_lars"
    gap_bound = 1e-3  # not always exact: now and then a signal ends at 1e-4
    parameters = ({"dtype": "float64"},)


class OMP(_SparseCoder):
    """Orthogonal matching pursuit with a fixed number of atoms: not the lasso."""

    name = "sklearn_omp"
    algorithm = "omp"
    parameters = ({"dtype": "float64"},)

    def target(self, dataset: Dataset) -> dict:
        return {"transform_n_nonzero_coefs": dataset.n_nonzero}

    def solve(self, X: np.ndarray) -> np.ndarray:
        with catch_warnings():
            # It warns of signals that need fewer atoms than asked for, such as flat patches.
            filterwarnings("ignore", "Orthogonal matching pursuit ended prematurely")
            return super().solve(X)


class LassoGram(Solver):
    """``Lasso`` with all signals as targets of one fit and a precomputed Gram matrix."""

    name = "sklearn_lasso_gram"
    gap_bound = 1e-3
    parameters = ({"tol": 1e-4, "dtype": "float64"}, {"tol": 1e-6, "dtype": "float64"})

    def prepare(self, dataset: Dataset) -> None:
        self.A = np.asfortranarray(dataset.dictionary.T)
        self.lasso = Lasso(
            dataset.alpha / len(self.A),  # scikit-learn divides the squares by the features
            fit_intercept=False,
            precompute=self.A.T @ self.A,
            tol=self.settings["tol"],
            max_iter=10_000,
            copy_X=False,
        )

    def solve(self, X: np.ndarray) -> np.ndarray:
        return self.lasso.fit(self.A, X.T).coef_.reshape(len(X), -1)
