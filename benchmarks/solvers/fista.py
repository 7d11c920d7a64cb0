"""The batched FISTA of this package, with restart, stopped by a duality gap per signal."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.base import Dataset, Solver
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.solvers import fista


class FISTA(Solver):
    """``solvers.fista`` to a relative duality gap; float32 cannot certify 1e-6."""

    name = "fista"
    gap_bound = 1.1e-2
    parameters = (
        {"tol": 1e-2, "dtype": "float32"},
        {"tol": 1e-4, "dtype": "float32"},
        {"tol": 1e-4, "dtype": "float64"},
        {"tol": 1e-6, "dtype": "float64"},
    )

    def prepare(self, dataset: Dataset) -> None:
        self.A = Dense(torch.from_numpy(dataset.dictionary))
        self.alpha = dataset.alpha

    def solve(self, X: np.ndarray) -> np.ndarray:
        obs = Observation(torch.from_numpy(X), self.A)
        return fista(obs, self.alpha, tol=self.settings["tol"]).x.numpy()
