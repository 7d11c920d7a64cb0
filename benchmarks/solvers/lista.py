"""``LISTARegressor`` trained without labels, and the ISTA of equal depth that it starts from."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.base import Dataset, Solver
from sklearn_unroll import LISTARegressor, Trainer


def untrained() -> Trainer:
    """Return a trainer that changes no weight: fit builds the network."""
    return Trainer("lasso", max_epochs=0)


class LISTA(Solver):
    """Fitted on ``X_train`` alone, to minimise the lasso objective; codes are ``predict``."""

    name = "lista"
    gap_bound = 0.2
    parameters = tuple(
        {"n_layers": n_layers, "max_epochs": 30, "dtype": "float32"} for n_layers in (4, 8, 16)
    )

    def trainer(self) -> Trainer:
        recipe = LISTARegressor().default_trainer(n_samples=10_000, has_y=False)
        return recipe.set_params(max_epochs=self.settings["max_epochs"])

    def training_data(self, dataset: Dataset) -> np.ndarray:
        return dataset.X_train

    def prepare(self, dataset: Dataset) -> None:
        self.model = LISTARegressor(
            dataset.dictionary,
            alpha=dataset.alpha,
            n_layers=self.settings["n_layers"],
            trainer=self.trainer(),
            device="cpu",
            random_state=0,
        ).fit(self.training_data(dataset))

    def solve(self, X: np.ndarray) -> Any:
        return self.model.predict(X)


class UntrainedISTA(LISTA):
    """The same network before training: ISTA cut after ``n_layers`` iterations."""

    name = "ista_untrained"
    gap_bound = 0.3
    parameters = tuple({"n_layers": n_layers, "dtype": "float32"} for n_layers in (4, 8, 16))

    def trainer(self) -> Trainer:
        return untrained()

    def training_data(self, dataset: Dataset) -> np.ndarray:
        return dataset.X_train[:2]
