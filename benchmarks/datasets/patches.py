"""Real signals: 8x8 patches of the photograph that scikit-learn ships, and a learned dictionary.

The mean of each patch is removed, then all patches are divided by one number, so that their
mean squared norm is 1 and ``alpha = 0.1`` leaves about a dozen atoms to a patch.
"""

from __future__ import annotations

from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning

from benchmarks.base import Dataset
from sklearn_unroll.datasets import load_image_patches

SIZES = {
    "full": {"n_train": 10_000, "n_components": 256},
    "quick": {"n_train": 500, "n_components": 64, "patch_size": (4, 4)},
}


def learn_atoms(X: np.ndarray, n_components: int, seed: int, **settings: Any) -> np.ndarray:
    """Return learned atoms of norm one; one that nothing has used may be zero."""
    learner = MiniBatchDictionaryLearning(n_components, random_state=seed, **settings)
    with catch_warnings():
        # Codes on the way to the dictionary need not be exact.
        simplefilter("ignore", ConvergenceWarning)
        D = learner.fit(X).components_
    norms = np.linalg.norm(D, axis=1, keepdims=True)
    return D / np.where(norms > 0, norms, 1)


def load(
    n_samples: int,
    n_train: int,
    n_components: int,
    *,
    patch_size: tuple[int, int] = (8, 8),
    alpha: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Cut patches, learn a dictionary on those to learn from."""
    X = load_image_patches(
        "china.jpg", patch_size=patch_size, n_patches=n_samples + n_train, random_state=seed
    ).X
    X /= np.sqrt(np.square(X).sum(axis=1).mean())
    atoms = learn_atoms(
        X[n_samples:], n_components, seed, alpha=alpha, batch_size=512, max_iter=2,
        fit_algorithm="cd",
    )  # fmt: skip
    return Dataset(
        name="patches",
        X=X[:n_samples],
        X_train=X[n_samples:],
        dictionary=atoms,
        alpha=alpha,
    )
