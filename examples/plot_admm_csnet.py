"""
Pictures from a third of the numbers: ADMM-CSNet
================================================

Magnetic resonance imaging samples the Fourier transform of a picture, line by line, and time is
what it costs. This example takes 20, 30 and 40 % of the samples of a real slice of a head, on
pseudo-radial lines and on random Cartesian rows, and recovers the picture by zero-filling, by
the lasso in cosine transforms of blocks (FISTA), by total variation, and by
:class:`~sklearn_unroll.ADMMCSNetRegressor`. Then it does the same for a photograph, measured in
blocks by a Hadamard transform.

The rules are: the networks never see a test picture, nor any other real slice: they learn from
generated phantoms and two photographs. The weights of total variation and of the lasso are the
best ones *for the test picture itself*, a favour that the networks do not get. And the masks
take frequencies in pairs k and -k, at which a real picture has the same transform, so that 30 %
of the samples are 30 % of what there is to know.
"""

# %%
# Pictures to train on, pictures to test on
# -----------------------------------------
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.cbook import get_sample_data
from rich.console import Console
from rich.table import Table
from skimage.restoration import denoise_tv_chambolle
from threadpoolctl import threadpool_limits

from sklearn_unroll import ADMMCSNetRegressor, Trainer
from sklearn_unroll.datasets import (
    cartesian_mask,
    load_brain_slice,
    load_image_patches,
    make_phantoms,
    radial_mask,
)
from sklearn_unroll.functional import (
    Composed,
    MaskedFourier,
    Observation,
    Operator,
    PartialDCT,
    PartialHadamard,
    hadamard,
)
from sklearn_unroll.metrics import nmse_db, psnr
from sklearn_unroll.solvers import fista
from sklearn_unroll.testing import check_operator

torch.set_num_threads(1)
limits = threadpool_limits(1)
# How long to train: 1 is for a look, some minutes for everything on one thread.
EFFORT = 1
SIDE = 128
SHAPE = (SIDE, SIDE)


def halved(picture):
    return picture.reshape(len(picture) // 2, 2, -1, 2).mean(axis=(1, 3))


def photographs(side, n_patches):
    """Cut patches from two photographs, at full and at half size, turned and mirrored."""
    rng, parts = np.random.default_rng(0), []
    for name in ("china.jpg", "flower.jpg"):
        picture = load_image_patches(name, n_patches=1, random_state=0).image[:426]
        for image in (picture, halved(picture)):
            cut = load_image_patches(
                image,
                patch_size=(side, side),
                n_patches=n_patches // 4,
                center=False,
                random_state=0,
            ).X.reshape(-1, side, side)
            parts += [np.rot90(patch, rng.integers(4)) for patch in cut]
    return np.stack([part[:, :: rng.choice([-1, 1])].ravel() for part in parts])


y_train = np.concatenate([make_phantoms(40, SHAPE, random_state=0), photographs(SIDE, 40)])
y_train = np.random.default_rng(0).permutation(y_train).astype(np.float32)
brain = halved(load_brain_slice().image)
print(f"trained on {len(y_train)} pictures of {SIDE} by {SIDE}: half phantoms, half photographs")


# %%
# The classical rivals
# --------------------
# Total variation: the fast proximal gradient method, whose proximal operator is scikit-image's.
# All operators here have norm one, so that the step is one. The lasso: an operator of one's own,
# which makes pictures of cosine coefficients, in front of the one that measures.
class Synthesis(Operator):
    """Pictures from the cosine transforms of their blocks of 8x8 pixels."""

    def __init__(self, shape, side=8):
        self.shape, self.side, self.dct = shape, side, PartialDCT((side, side))
        self.n_components = self.n_features = shape[0] * shape[1]
        self.orthogonal = True

    def __call__(self, x):
        return self.blockwise(self.dct.adjoint, x)

    def adjoint(self, r):
        return self.blockwise(self.dct, r)

    def blockwise(self, transform, x):
        (height, width), side = self.shape, self.side
        cut = x.reshape(-1, height // side, side, width // side, side).swapaxes(2, 3)
        found = transform(cut.reshape(-1, side**2)).reshape(cut.shape)
        return found.swapaxes(2, 3).reshape(len(x), -1)


check_operator(Synthesis((16, 24)))  # dot test, norm, derivatives, and so on


def total_variation(A, b, weight, to_picture, to_rows, n_iter=60):
    x = y = A.adjoint(b)
    t = 1.0
    for _ in range(n_iter):
        step = to_picture((y + A.adjoint(A.residual(b, y))).numpy())
        new = denoise_tv_chambolle(step, weight=weight, max_num_iter=20, eps=1e-6)
        new = torch.from_numpy(to_rows(new))
        t, before = (1 + (1 + 4 * t**2) ** 0.5) / 2, t
        x, y = new, new + (before - 1) / t * (new - x)
    return x.numpy()


def lasso(A, b, alpha, shape):
    synthesis = Synthesis(shape)
    obs = Observation(b, Composed(synthesis, A))
    return synthesis(fista(obs, alpha, tol=1e-6, max_iter=200).x).numpy()


def best(recover, weights, truth):
    """Return the recovery with the weight that is best for the truth."""
    return max((recover(w) for w in weights), key=lambda x: psnr(truth, x, data_range=1.0))


def classical(A, b, truth, weights, shape, to_picture, to_rows):
    return {
        "zero-filling": A.adjoint(b).numpy(),
        "lasso, DCT": best(lambda w: lasso(A, b, w, shape), weights, truth),
        "total variation": best(
            lambda w: total_variation(A, b, w, to_picture, to_rows), weights, truth
        ),
    }


# %%
# The networks
# ------------
# One network for each kind of mask at 30 %. Those for 20 and 40 % start from it, with half the
# training: what layers have learned does not depend on the mask that they get. The samples have no
# noise, so that the last layer ends with the nearest picture that agrees with them. Training is
# short here; ``python -m benchmarks.compressive_imaging`` takes six minutes for each network.
FRACTIONS = (0.3, 0.2, 0.4)
MASKS = {
    "pseudo-radial": lambda fraction: radial_mask(SHAPE, fraction),
    "Cartesian": lambda fraction: cartesian_mask(SHAPE, fraction, random_state=0),
}


def measured(A, y):
    return A(torch.from_numpy(y)).numpy()


def square(rows):
    return rows.reshape(SHAPE)


def flat(picture):
    return picture.reshape(1, -1)


truth = flat(brain)
results, training = {}, {}
for kind, make_mask in MASKS.items():
    model = ADMMCSNetRegressor(
        image_shape=SHAPE, n_layers=8, consistent=True, warm_start=True, random_state=0
    )
    for fraction in FRACTIONS:
        A = MaskedFourier(make_mask(fraction))
        passes = max(1, round(EFFORT * (2 if fraction == 0.3 else 1)))
        trainer = Trainer(learning_rate=2e-3, max_epochs=passes, batch_size=2)
        start = perf_counter()
        model.set_params(operator=A, trainer=trainer).fit(measured(A, y_train), y_train)
        training[kind, fraction] = perf_counter() - start
        b = A(torch.from_numpy(truth))
        found = classical(A, b, truth, (1e-4, 3e-4, 1e-3, 3e-3), SHAPE, square, flat)
        results[kind, fraction] = {**found, "ADMM-CSNet": model.predict(b.numpy())}
        print(f"{kind} {fraction:.0%}: trained for {training[kind, fraction]:.0f} s")

# %%
# PSNR and the relative error (NMSE), both in dB
# ----------------------------------------------
table = Table(title=f"Slice of a head, {SIDE} by {SIDE}, PSNR (NMSE) in dB")
for column in ("mask", "samples", *results["Cartesian", 0.3], "over TV", "trained"):
    table.add_column(column, justify="left" if column == "mask" else "right", no_wrap=True)
for (kind, fraction), found in sorted(results.items(), key=lambda item: (item[0][0], item[0][1])):
    quality = {name: psnr(truth, x, data_range=1.0) for name, x in found.items()}
    table.add_row(
        kind,
        f"{fraction:.0%}",
        *(f"{quality[name]:.2f} ({nmse_db(truth, x):.1f})" for name, x in found.items()),
        f"{quality['ADMM-CSNet'] - quality['total variation']:+.2f}",
        f"{training[kind, fraction]:.0f} s",
    )
Console(width=120).print(table)

# %%
figure, axes = plt.subplots(2, 5, figsize=(14, 6), layout="constrained")
for row, kind in zip(axes, MASKS, strict=True):
    row[0].imshow(np.fft.fftshift(MASKS[kind](0.3)), cmap="gray")
    row[0].set_title(f"{kind}, 30 %")
    for ax, (name, x) in zip(row[1:], results[kind, 0.3].items(), strict=True):
        ax.imshow(square(x)[16:112, 16:112], cmap="gray", vmin=0, vmax=1)
        ax.set_title(f"{name}\n{psnr(truth, x, data_range=1.0):.2f} dB")
for ax in axes.flat:
    ax.set_axis_off()

# %%
# A photograph in blocks
# ----------------------
# Another operator, the same network: of each block of 64x64 pixels 30 % of the coefficients of
# its Walsh-Hadamard transform, chosen at random, the likelier the lower. Total variation sees the
# whole picture and knows nothing of blocks, the others work on each block for itself.
BLOCK = 64
with get_sample_data("grace_hopper.jpg") as file:
    photograph = plt.imread(file, format="jpg")[:576, :512]
photograph = load_image_patches(photograph, n_patches=1, random_state=0).image
n_rows, n_columns = photograph.shape[0] // BLOCK, photograph.shape[1] // BLOCK


def blocks(picture):
    cut = picture.reshape(n_rows, BLOCK, n_columns, BLOCK).swapaxes(1, 2)
    return np.ascontiguousarray(cut).reshape(-1, BLOCK**2)


def assembled(rows):
    cut = rows.reshape(n_rows, n_columns, BLOCK, BLOCK).swapaxes(1, 2)
    return np.ascontiguousarray(cut).reshape(photograph.shape)


# Sign changes of every row of the one-dimensional transform: its frequency, so to speak.
signs = hadamard(torch.eye(BLOCK)).sign()
frequency = (signs.diff(dim=1) != 0).sum(dim=1).numpy()
density = 1 / (1 + np.add.outer(frequency**2, frequency**2)).ravel()
chosen = np.random.default_rng(0).choice(
    BLOCK**2, round(0.3 * BLOCK**2), replace=False, p=density / density.sum()
)
A = PartialHadamard(BLOCK**2, rows=chosen)
b = A(torch.from_numpy(blocks(photograph)))
y_blocks = photographs(BLOCK, 240).astype(np.float32)
trainer = Trainer(learning_rate=2e-3, max_epochs=max(1, round(2 * EFFORT)), batch_size=8)
model = ADMMCSNetRegressor(A, image_shape=(BLOCK, BLOCK), trainer=trainer, random_state=0)
start = perf_counter()
model.fit(measured(A, y_blocks), y_blocks)
print(f"trained on {len(y_blocks)} blocks of two photographs for {perf_counter() - start:.0f} s")
rows = blocks(photograph)
found = classical(A, b, rows, (3e-3, 1e-2, 3e-2), (BLOCK, BLOCK), assembled, blocks)
found["ADMM-CSNet"] = model.predict(b.numpy())
table = Table(title="Photograph, 30 % of the Hadamard coefficients of each block")
for column in ("", "PSNR (dB)", "NMSE (dB)"):
    table.add_column(column, justify="right")
for name, x in found.items():
    table.add_row(name, f"{psnr(rows, x, data_range=1.0):.2f}", f"{nmse_db(rows, x):.1f}")
Console().print(table)

# %%
figure, axes = plt.subplots(1, 4, figsize=(14, 4.4), layout="constrained")
for ax, (name, x) in zip(axes, found.items(), strict=True):
    ax.imshow(assembled(x)[40:360, 100:420], cmap="gray", vmin=0, vmax=1)
    ax.set_title(f"{name}\n{psnr(rows, x, data_range=1.0):.2f} dB")
    ax.set_axis_off()
limits.restore_original_limits()
plt.show()
