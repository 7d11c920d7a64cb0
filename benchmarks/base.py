"""The two contracts of a benchmark: a dataset is a record, a solver is a small class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True)
class Dataset:
    """One lasso problem: minimise ``0.5 ||x - z D||^2 + alpha ||z||_1`` for every row of X."""

    name: str
    X: np.ndarray  # (n_samples, n_features), what is solved and timed
    X_train: np.ndarray  # other signals of the same law, for solvers that learn
    dictionary: np.ndarray  # (n_components, n_features), rows are atoms
    alpha: float
    n_nonzero: int | None = None  # atoms for OMP; None: as many as the lasso optimum has
    codes: np.ndarray | None = None  # the true codes of X, where there are any
    noise_energy: np.ndarray | None = None  # expected ||noise||^2 per row, where it is known

    def astype(self, dtype: str) -> Dataset:
        """Return the same problem in another precision."""
        arrays = {
            name: value.astype(dtype)
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray)
        }
        return replace(self, **arrays)


class Solver(ABC):
    """How to get codes. A subclass in a file of ``solvers/`` is found by the runner."""

    name: ClassVar[str]
    # The module it needs beyond those of sklearn_unroll, and a bound on the relative duality
    # gap of every signal on an easy problem (None: it does not solve the lasso).
    requires: ClassVar[str | None] = None
    gap_bound: ClassVar[float | None] = None
    # Whether it loops over signals in Python, or takes milliseconds for each.
    slow: ClassVar[bool] = False
    # Which settings to run; "dtype" belongs in every one. `--quick` runs the first.
    parameters: ClassVar[tuple[dict[str, Any], ...]]

    def __init__(self, threads: int = 1, dtype: str = "float64", **settings: Any) -> None:
        self.threads = threads
        self.dtype = dtype
        self.settings = settings

    def applies_to(self, dataset: Dataset) -> bool:
        """Return whether these settings make sense for a dataset."""
        return True

    @abstractmethod
    def prepare(self, dataset: Dataset) -> None:
        """Do what is done once per dictionary: copy, factor, train. Not timed as solving.

        The dataset comes in the solver's dtype. A solver may look at ``X_train``, never at
        ``X`` nor at ``codes``.
        """

    @abstractmethod
    def solve(self, X: np.ndarray) -> Any:
        """Return codes (n_samples, n_components), an array or a scipy sparse matrix. Timed."""

    def describe(self) -> str:
        """Return the settings as text, as they stand in the CSV."""
        return ", ".join(f"{key}={value}" for key, value in self.settings.items())
