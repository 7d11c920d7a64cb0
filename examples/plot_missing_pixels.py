"""
Missing pixels: a dictionary learned from what is seen
======================================================

Half of the pixels of a photograph are NaN.
:class:`~sklearn_unroll.OnlineDictionaryLearning` learns
from its patches as they are: every patch is coded on the pixels that were seen of it, and what its
codes say completes it. No other picture is needed. Beside it stands scikit-image's biharmonic
inpainting, which knows nothing but that pictures are smooth.
"""

# %%
# A photograph with holes, and its patches
# ----------------------------------------
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from skimage.restoration import inpaint_biharmonic
from sklearn.datasets import load_sample_image
from sklearn.feature_extraction.image import reconstruct_from_patches_2d

from sklearn_unroll import OnlineDictionaryLearning
from sklearn_unroll.metrics import psnr

rng = np.random.default_rng(0)
picture = load_sample_image("china.jpg").mean(2)[100:228, 200:328] / 255
hidden = rng.random(picture.shape) < 0.5
seen = np.where(hidden, np.nan, picture)

SIDE = 8
patches = sliding_window_view(seen, (SIDE, SIDE)).reshape(-1, SIDE**2)
mean = np.nanmean(patches, axis=1, keepdims=True)
print(f"{len(patches)} patches, {np.isnan(patches).mean():.0%} of their entries missing")

# %%
# Learn, code, complete
# ---------------------
# Codes and certificate are those of the problem on the seen entries; ``inverse_transform`` gives
# whole patches.
start = perf_counter()
learner = OnlineDictionaryLearning(128, alpha=0.03, max_iter=5, random_state=0)
codes = learner.fit_transform(patches - mean)
complete = learner.inverse_transform(codes) + mean
averaged = reconstruct_from_patches_2d(complete.reshape(-1, SIDE, SIDE), picture.shape)
filled = {"own dictionary": np.where(hidden, averaged.clip(0, 1), picture)}
print(
    f"learned and coded in {perf_counter() - start:.1f} s, {(codes != 0).sum(1).mean():.1f} atoms"
)
print(f"largest gap of 500 patches: {learner.certify((patches - mean)[:500]).max():.1e}")

# %%
# Beside what needs no dictionary
# -------------------------------
filled["biharmonic"] = inpaint_biharmonic(np.nan_to_num(seen), hidden).clip(0, 1)
for name, found in filled.items():
    print(f"{name}: {psnr(picture[hidden], found[hidden], data_range=1.0):.1f} dB")

shown = {"photograph": picture, "seen": seen, **filled}
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for ax, (title, image) in zip(axes, shown.items(), strict=True):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_facecolor("tab:red")  # shines through where pixels are missing

output = Path("output")
output.mkdir(exist_ok=True)
figure.savefig(output / "missing_pixels.png", dpi=110)
print(f"Picture written to {output / 'missing_pixels.png'}")
plt.show()
