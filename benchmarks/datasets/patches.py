"""Real signals: 8x8 patches of the photograph that scikit-learn ships, and a learned dictionary.

The mean of each patch is removed, then all patches are divided by one number, so that their
mean squared norm is 1 and ``alpha = 0.1`` leaves about a dozen atoms to a patch.
"""

from __future__ import annotations

from warnings import catch_warnings, simplefilter

import numpy as np
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning

from benchmarks.base import Dataset
from sklearn_unroll.datasets import load_image_patches

FULL = {"n_samples": 2000, "n_train": 10_000, "n_components": 256}
QUICK = {"n_samples": 200, "n_train": 500, "n_components": 64, "patch_size": (4, 4)}


def load(
    n_samples: int,
    n_train: int,
    n_components: int,
    *,
    patch_size: tuple[int, int] = (8, 8),
    alpha: float = 0.1,
) -> Dataset:
    """Cut patches, learn a dictionary on those to learn from."""
    X = load_image_patches(
        "china.jpg", patch_size=patch_size, n_patches=n_samples + n_train, random_state=0
    ).X
    X /= np.sqrt(np.square(X).sum(axis=1).mean())
    learner = MiniBatchDictionaryLearning(
        n_components,
        alpha=alpha,
        batch_size=512,
        max_iter=2,
        fit_algorithm="cd",
        random_state=0,
    )
    with catch_warnings():
        # Codes on the way to the dictionary need not be exact.
        simplefilter("ignore", ConvergenceWarning)
        dictionary = learner.fit(X[n_samples:]).components_
    norms = np.linalg.norm(dictionary, axis=1, keepdims=True)
    return Dataset(
        name="patches",
        X=X[:n_samples],
        X_train=X[n_samples:],
        dictionary=dictionary / np.where(norms > 0, norms, 1),
        alpha=alpha,
    )
