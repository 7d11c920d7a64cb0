"""The test bed of the LISTA papers: Gaussian atoms, 10 % of the coefficients nonzero, 30 dB.

Every signal is scaled so that ``max |D x| = 1``. Then ``alpha`` is at once the weight of the
problem and the fraction of the smallest weight whose solution is zero.
"""

from __future__ import annotations

import numpy as np

from benchmarks.base import Dataset
from sklearn_unroll.datasets import make_sparse_recovery

SIZES = {
    "full": {"n_features": 250, "n_components": 500, "n_train": 5000},
    "quick": {"n_features": 50, "n_components": 100, "n_train": 500},
}


def load(
    n_samples: int,
    n_features: int,
    n_components: int,
    n_train: int,
    *,
    alpha: float = 0.1,
    sparsity: float = 0.1,
    snr_db: float | None = 30.0,
    seed: int = 0,
) -> Dataset:
    """Draw signals to code and signals to learn from."""
    data = make_sparse_recovery(
        n_samples + n_train,
        n_features,
        n_components,
        sparsity=sparsity,
        snr_db=snr_db,
        random_state=seed,
    )
    largest = np.abs(data.X @ data.dictionary.T).max(axis=1, keepdims=True)
    scale = 1 / np.where(largest > 0, largest, 1)  # a signal without any atom stays zero
    X, codes = scale * data.X, scale * data.y
    return Dataset(
        name="gaussian",
        X=X[:n_samples],
        X_train=X[n_samples:],
        dictionary=data.dictionary,
        alpha=alpha,
        n_nonzero=max(1, round(sparsity * n_components)),
        codes=codes[:n_samples],
        noise_energy=n_features * (scale[:, 0] * data.noise_std)[:n_samples] ** 2,
    )
