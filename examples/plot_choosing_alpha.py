"""
Choose alpha: what criteria say, and what is true
=================================================

How strong should the l1 norm be? Signals with noise answer that themselves, for a whole set at
once, without one true code: by Stein's unbiased estimate of their error (SURE), which knows the
noise, by predicting entries that were held out, which does not, or where the residual is as large
as the noise. Here the truth is known, so that each can be judged: on Gaussian signals of few
atoms, and on patches of a photograph over a dictionary that was learned from others of its noisy
patches.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sklearn_unroll import LassoCoder, OnlineDictionaryLearning
from sklearn_unroll.datasets import load_image_patches, make_sparse_recovery
from sklearn_unroll.metrics import alpha_scores
from sklearn_unroll.plotting import AlphaScoresDisplay

rng = np.random.default_rng(0)

# %%
# Gaussian signals
# ----------------
# One call gives the best alpha, and the codes are one more.
data = make_sparse_recovery(500, 50, 100, sparsity=5, random_state=0)
signals, noise = data.y @ data.dictionary, 0.05
X = signals + noise * rng.standard_normal(signals.shape)
coder = LassoCoder(data.dictionary).fit(X)
found = alpha_scores(coder, X, noise=noise)
codes = coder.transform(X, alpha=found.best_alpha)
print(f"alpha {found.best_alpha:.3f}, error estimated {found.scores.min():.2e}")
print(f"true error             {np.mean((codes @ data.dictionary - signals) ** 2):.2e}")

# %%
# Patches of a photograph
# -----------------------
SIGMA = 0.08
clean = load_image_patches("china.jpg", n_patches=1, random_state=0).image[80:280, 220:476]
noisy = clean + SIGMA * rng.standard_normal(clean.shape)
truth, patches = (load_image_patches(one, patch_size=(8, 8)).X for one in (clean, noisy))
order = rng.permutation(len(patches))
rows, others = order[:1000], order[1000:20_000]
learner = OnlineDictionaryLearning(256, alpha=0.12, random_state=0).fit(patches[others])
patch_coder = LassoCoder(learner.components_).fit(patches[rows])

# %%
# All of them in one picture
# --------------------------
# SURE lies on the true error. What is predicted of held-out entries also has their noise in it,
# so that only its least point counts; on patches that is too far right. The residual meets the
# noise at codes that are too sparse.
figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
AlphaScoresDisplay.from_estimator(coder, X, noise=noise, X_true=signals, ax=axes[0])
AlphaScoresDisplay.from_estimator(
    patch_coder, patches[rows], noise=SIGMA, X_true=truth[rows], ax=axes[1]
)
axes[0].set_title("Gaussian signals of five atoms")
axes[1].set_title("patches of a photograph")
output = Path("output")
output.mkdir(exist_ok=True)
figure.savefig(output / "choosing_alpha.png", dpi=100)
plt.show()
