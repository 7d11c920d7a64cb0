"""
Denoise a photograph: one dictionary, the same codes, seven ways
================================================================

All 8x8 patches of a noisy photograph are coded over one learned dictionary: by scikit-learn's
coordinate descent and orthogonal matching pursuit, by batched FISTA, by ISTA and FISTA cut after
16 iterations, and by :class:`~sklearn_unroll.LISTARegressor` with 16 layers that were trained
without any labels: on the noisy patches alone, to minimise the problem

.. math:: \\tfrac12 \\lVert x - z D \\rVert^2 + \\alpha \\lVert z \\rVert_1 .

The table is honest in four ways: every method works at the same alpha on the same patches,
every method is timed in this run on one thread, every method says how far its codes are
from the optimum, and how far in the worst case on patches of another photograph, which the
network has never seen anything of. Orthogonal matching pursuit solves another problem and does
not know alpha; it is run with a few atoms per patch, and, stronger, down to the noise level,
which it is told.
Coordinate descent and pursuit run in float64, the others in float32: each in what suits it
(scikit-learn's fixed tolerance is out of reach in float32).
"""

# %%
# The picture
# -----------
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.callback import ProgressBar
from sklearn.decomposition import SparseCoder
from sklearn.feature_extraction.image import reconstruct_from_patches_2d
from sklearn.linear_model import orthogonal_mp
from threadpoolctl import threadpool_limits

from sklearn_unroll import LassoCoder, LISTARegressor, OnlineDictionaryLearning
from sklearn_unroll.datasets import load_image_patches
from sklearn_unroll.functional import Dense, Observation, duality_gap, lasso_value
from sklearn_unroll.metrics import psnr
from sklearn_unroll.plotting import ConvergenceDisplay
from sklearn_unroll.solvers import FISTA, ISTA, fista, iterates

# One thread throughout: matrices of this size gain little from a second one, and lose much where
# another process has it.
torch.set_num_threads(1)
SIGMA, ALPHA, N_LAYERS = 0.08, 0.12, 16
rng = np.random.default_rng(0)

clean = load_image_patches("china.jpg", n_patches=1, random_state=0).image[80:280, 220:476]
noisy = clean + SIGMA * rng.standard_normal(clean.shape)
patches = load_image_patches(noisy, patch_size=(8, 8), dtype=np.float32)
X, means = patches.X, patches.means
subset = rng.choice(len(X), 20_000, replace=False)
print(f"{len(X)} patches of 8x8 pixels, noise {SIGMA} on a scale of 0 to 1, alpha {ALPHA}")

# %%
# The dictionary, learned from the noisy patches
# ----------------------------------------------
start = perf_counter()
D = OnlineDictionaryLearning(256, alpha=ALPHA, random_state=0).fit(X[subset]).components_
D /= np.linalg.norm(D, axis=1, keepdims=True)
print(f"dictionary of {len(D)} atoms learned in {perf_counter() - start:.1f} s")

# %%
# The network, trained without labels
# -----------------------------------
# All defaults. Training shows it other contrasts and noise too, and in ``predict`` a guard holds
# every layer: whatever comes, no code is worse than zeros.
model = LISTARegressor(D, alpha=ALPHA, n_layers=N_LAYERS, random_state=0)
start = perf_counter()
model.set_callbacks(ProgressBar()).fit(X[subset])
training_seconds = perf_counter() - start
print(f"trained on {len(subset)} patches in {training_seconds:.0f} s: {model.history_}")

# %%
# The optimum, for comparison, of patches that the network has not seen
# ---------------------------------------------------------------------
unseen = np.setdiff1d(np.arange(len(X)), subset)[::20]
A = Dense(torch.from_numpy(D))
other = load_image_patches("flower.jpg", patch_size=(8, 8), n_patches=2000, random_state=0)
other = other.X.astype(np.float32)


def solved(X):
    exact = Observation(torch.from_numpy(X).double(), Dense(A.D.double()))
    solution = fista(exact, ALPHA, tol=1e-9)
    print(f"{len(X)} patches solved to a relative gap of {solution.gap.max():.0e}")
    return exact, lasso_value(solution.x, exact, ALPHA)


exact, optimum = solved(X[unseen])
exact_other, optimum_other = solved(other)


# %%
# Every method on all patches, one thread
# ---------------------------------------
D64 = D.astype(np.float64)


def sparse_coder(algorithm, **parameters):
    coder = SparseCoder(D64, transform_algorithm=algorithm, **parameters)
    return lambda X: coder.transform(X.astype(np.float64))


# 1.15 sigma per pixel is the usual margin of dictionary denoising.
TOLERANCE = D.shape[1] * (1.15 * SIGMA) ** 2


def omp_to_noise_level(X):
    return orthogonal_mp(D64.T, X.T.astype(np.float64), tol=TOLERANCE, precompute=True).T


def lasso_to_noise_level(X):
    return LassoCoder(D64, error=TOLERANCE, tol=1e-4).fit(X).transform(X)


def batched_fista(X):
    return fista(Observation(torch.from_numpy(X), A), ALPHA, tol=1e-4).x.numpy()


def cut_after_16(method):
    def solve(X):
        obs = Observation(torch.from_numpy(X), A)
        return torch.cat([last(method(c, ALPHA), c) for _, c in obs.chunks()]).numpy()

    def last(method, obs):
        *_, x = iterates(method, obs, N_LAYERS)
        return x

    return solve


METHODS = {
    "SparseCoder lasso_cd": sparse_coder("lasso_cd", transform_alpha=ALPHA),
    "SparseCoder omp, 3 atoms": sparse_coder("omp", transform_n_nonzero_coefs=3),
    "OMP, told the noise level": omp_to_noise_level,
    "lasso, told the noise level": lasso_to_noise_level,
    "FISTA, gap 1e-4": batched_fista,
    f"ISTA, {N_LAYERS} iterations": cut_after_16(ISTA),
    f"FISTA, {N_LAYERS} iterations": cut_after_16(FISTA),
    f"LISTA, {N_LAYERS} layers": model.predict,
}


def denoised(codes):
    signals = (codes @ D + means[:, None]).reshape(-1, 8, 8)
    return np.clip(reconstruct_from_patches_2d(signals, noisy.shape), 0, 1)


results = {}
with threadpool_limits(1):
    for name, solve in METHODS.items():
        solve(X[:512])  # warm up
        start = perf_counter()
        codes = solve(X)
        seconds = perf_counter() - start
        z = torch.from_numpy(codes[unseen]).double()
        value, gap = lasso_value(z, exact, ALPHA), duality_gap(z, exact, ALPHA, relative=True)
        z = torch.from_numpy(np.asarray(solve(other))).double()
        elsewhere = lasso_value(z, exact_other, ALPHA) / optimum_other - 1
        picture = denoised(codes)
        results[name] = (
            1e3 * seconds / len(X),
            float(value.mean() / optimum.mean() - 1),
            float((value / optimum - 1).max()),
            float(elsewhere[optimum_other > 1e-6].max()),
            float(gap.mean()),
            psnr(clean, picture, data_range=1.0),
            picture,
        )

# %%
# How far from the optimum: the objective's excess on unseen patches, in the mean and in the
# worst case, the worst case on another photograph, and the mean duality gap (relative to the
# objective of the zero code), which needs no optimum to be known. PSNR is what one may want the
# codes for.
network, cd = f"LISTA, {N_LAYERS} layers", "SparseCoder lasso_cd"
table = Table(title=f"{len(X)} patches, alpha {ALPHA}, {torch.get_num_threads()} thread")
columns = ("ms/patch", "speed-up", "excess", "worst", "other, worst", "gap", "PSNR (dB)")
for column in ("method", *columns):
    table.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)


def percent(value):
    return f"{100 * value:.2f} %" if value > 1e-5 else "< 0.001 %"


table.add_row("noisy picture", *[""] * 6, f"{psnr(clean, noisy, data_range=1.0):.2f}")
for name, (ms, excess, worst, elsewhere, gap, quality, _) in results.items():
    table.add_row(
        name,
        f"{ms:.4f}",
        f"{results[cd][0] / ms:.1f}",
        *map(percent, (excess, worst, elsewhere, gap)),
        f"{quality:.2f}",
    )
Console(width=120).print(table)
pays_from = 1e3 * training_seconds / (results[cd][0] - results[network][0])
print(
    f"Training took {training_seconds:.0f} s; against {cd} it pays from "
    f"{pays_from:,.0f} patches on."
)

# %%
# The pictures, and the convergence layer by layer
# ------------------------------------------------
figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
shown = {
    "clean": clean,
    f"noisy, {psnr(clean, noisy, data_range=1.0):.1f} dB": np.clip(noisy, 0, 1),
    f"{network}, {results[network][5]:.1f} dB": results[network][6],
}
for ax, (title, picture) in zip(axes.flat, shown.items(), strict=False):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_axis_off()
ConvergenceDisplay.from_estimator(model, X[unseen[:1000]], name="LISTA", ax=axes[1, 1])
axes[1, 1].set_title("duality gap on unseen patches")

output = Path("output")
output.mkdir(exist_ok=True)
figure.savefig(output / "denoise_photograph.png", dpi=110)
print(f"Picture written to {output / 'denoise_photograph.png'}")
plt.show()
