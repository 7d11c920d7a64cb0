"""
Learn a dictionary: the same objective, sooner
==============================================

256 atoms are learned from 8x8 patches of a photograph, without labels, so that the patches have
sparse codes over them, by :class:`~sklearn_unroll.OnlineDictionaryLearning` and by scikit-learn's
:class:`~sklearn.decomposition.MiniBatchDictionaryLearning`, on one thread each. Both are judged on
patches that neither has seen.
"""

# %%
import warnings
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from sklearn_unroll import LassoCoder, OnlineDictionaryLearning
from sklearn_unroll.datasets import load_image_patches
from sklearn_unroll.plotting import DictionaryDisplay, HistoryDisplay

torch.set_num_threads(1)
threadpool_limits(1)
ALPHA = 0.15  # where patches have a mean norm of one
X = load_image_patches("flower.jpg", patch_size=(8, 8), n_patches=21_000, random_state=0).X
X = np.random.default_rng(0).permutation(X)
X /= np.sqrt(np.square(X).sum(axis=1).mean())
X, held_out = X[1000:], X[:1000]

# %%
# One call. A first one on few patches loads the compiled loops.
OnlineDictionaryLearning(256, alpha=ALPHA, max_iter=1).fit(X[:2000])
learner = OnlineDictionaryLearning(256, alpha=ALPHA, random_state=0)
start = perf_counter()
learner.fit(X)
seconds = perf_counter() - start
print(f"ours: {seconds:.1f} s, {-learner.score(held_out):.4f}, {learner.history_}")

# %%
# scikit-learn by coordinate descent, in batches as large, one pass over the patches.
theirs = MiniBatchDictionaryLearning(
    256, alpha=ALPHA, batch_size=512, fit_algorithm="cd", max_iter=1, random_state=0
)
warnings.simplefilter("ignore", ConvergenceWarning)  # its codes on the way need not be exact
start = perf_counter()
theirs.fit(X)
their_seconds = perf_counter() - start
# Atoms that it leaves at zero are no hindrance: their codes are zero.
value = -LassoCoder(theirs.components_, alpha=ALPHA).fit(X).score(held_out)
print(f"scikit-learn: {their_seconds:.1f} s, {value:.4f}")

# %%
# Atoms, and the objective over time relative to that of zero codes. The codes come with a
# certificate: the mean objective is known to this share of it.
figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
DictionaryDisplay.from_estimator(learner, ax=axes[0])
HistoryDisplay.from_estimator(learner, ax=axes[1], marker=".")
at_zero = 0.5 * np.square(held_out).sum(axis=1).mean()
axes[1].axhline(value / at_zero, color="black", linestyle=":", label="scikit-learn, at its end")
axes[1].legend()
print(f"largest duality gap: {learner.certify(held_out).max():.0e}")
plt.show()
