"""
Inpainting: an imputer of pictures
==================================

Half of the pixels of a photograph are missing, or a square in its centre.
:class:`~sklearn_unroll.GlowProxInpainter` fills them in as scikit-learn's imputers do: NaN goes
in, complete pictures come out. Each of its layers takes a gradient step towards the visible pixels
and shrinks the coarsest latent of an invertible network, GLOW; it starts from the biharmonic
continuation of what is visible.

The network is trained on tiles of the left parts of photographs that come with
scikit-learn and scikit-image, and judged on the right parts of the same photographs. Beside it
stand scikit-image's biharmonic inpainting, total variation, and the mean of the visible pixels.
"""

# %%
# Tiles of photographs
# --------------------
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from skimage import data
from skimage.metrics import structural_similarity
from skimage.restoration import inpaint_biharmonic
from sklearn.datasets import load_sample_image

from sklearn_unroll import GlowProxInpainter, Trainer
from sklearn_unroll.functional import smooth_fill
from sklearn_unroll.metrics import psnr

torch.set_num_threads(1)
SIDE, N_TRAIN, N_TEST = 32, 4000, 160
rng = np.random.default_rng(0)


def grey(pixels):
    pixels = np.asarray(pixels)
    return (pixels[..., :3] @ [0.299, 0.587, 0.114] if pixels.ndim == 3 else pixels) / 255


PHOTOGRAPHS = [
    *(grey(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")),
    *(
        grey(image())
        for image in (data.astronaut, data.camera, data.cat, data.coffee, data.rocket)
    ),
    grey(data.stereo_motorcycle()[0]),
]


def cut_tiles(pictures, n_tiles, turn=False):
    tiles = []
    for number in range(n_tiles):
        picture = pictures[number % len(pictures)]
        top, left = (rng.integers(side - SIDE + 1) for side in picture.shape)
        tile = picture[top : top + SIDE, left : left + SIDE]
        if turn:
            tile = np.rot90(tile, rng.integers(4))[:: rng.choice([-1, 1])]
        tiles.append(tile.ravel())
    return np.array(tiles, dtype=np.float32)


borders = [int(0.7 * picture.shape[1]) for picture in PHOTOGRAPHS]
lefts = [picture[:, :border] for picture, border in zip(PHOTOGRAPHS, borders, strict=True)]
rights = [picture[:, border:] for picture, border in zip(PHOTOGRAPHS, borders, strict=True)]
train, test = cut_tiles(lefts, N_TRAIN, turn=True), cut_tiles(rights, N_TEST)

# %%
# One network for each kind of mask
# ---------------------------------
MASKS = {"random": 0.5, "square": (12 / SIDE) ** 2}
models, seconds = {}, {}
for mask, fraction in MASKS.items():
    start = perf_counter()
    models[mask] = GlowProxInpainter(
        (SIDE, SIDE),
        mask=mask,
        fraction=fraction,
        trainer=Trainer(learning_rate=3e-3, max_epochs=4, batch_size=16, early_stopping=True),
        random_state=0,
    ).fit(train)
    seconds[mask] = perf_counter() - start
    print(f"{mask}: trained on {N_TRAIN} tiles in {seconds[mask]:.0f} s, {models[mask].history_}")


# %%
# The others
# ----------
def mean_fill(tile, missing):
    return np.where(missing, tile[~missing].mean(), tile)


def biharmonic(tile, missing):
    return inpaint_biharmonic(tile, missing)


def total_variation(tile, missing, n_iter=400):
    """Minimise the total variation by the primal-dual method of Chambolle and Pock."""
    x = x_bar = mean_fill(tile, missing)
    p = np.zeros((2, *x.shape))
    step = 1 / np.sqrt(8)
    for _ in range(n_iter):
        p[0, :-1] += step * np.diff(x_bar, axis=0)
        p[1, :, :-1] += step * np.diff(x_bar, axis=1)
        p /= np.maximum(np.hypot(*p), 1)
        divergence = np.diff(p[0], axis=0, prepend=0) + np.diff(p[1], axis=1, prepend=0)
        x_new = np.where(missing, x + step * divergence, tile)
        x, x_bar = x_new, 2 * x_new - x
    return x


OTHERS = {"mean fill": mean_fill, "total variation": total_variation, "biharmonic": biharmonic}

# %%
# The table: PSNR of the missing pixels alone, over all tiles, and mean SSIM of the tiles.
results, shown = {}, {}
for mask, fraction in MASKS.items():
    holes = test.reshape(-1, SIDE, SIDE).copy()
    if mask == "random":
        rank = rng.random((N_TEST, SIDE * SIDE)).argsort(1).argsort(1)
        holes[rank.reshape(holes.shape) < fraction * SIDE**2] = np.nan
    else:
        holes[:, 10:22, 10:22] = np.nan
    missing = np.isnan(holes)
    filled = {
        name: np.array([method(*pair) for pair in zip(holes, missing, strict=True)])
        for name, method in OTHERS.items()
    }
    rows = holes.reshape(N_TEST, -1)
    first = torch.from_numpy(rows)
    first = smooth_fill(first, ~first.isnan(), (SIDE, SIDE)).numpy()  # where the layers start
    layers = models[mask].staged_transform(rows)
    stages = [x.reshape(holes.shape) for x in (first, *layers)]
    filled["GLOW-Prox"] = stages[-1]
    truth = test.reshape(holes.shape)
    for name, pictures in filled.items():
        pictures = np.clip(pictures, 0, 1)
        similar = [
            structural_similarity(a, b, data_range=1.0)
            for a, b in zip(truth, pictures.astype(np.float32), strict=True)
        ]
        results[mask, name] = (
            psnr(truth[missing], pictures[missing], data_range=1.0),
            np.mean(similar),
        )
    shown[mask] = holes, filled, stages

table = Table(title=f"{N_TEST} tiles of {SIDE}x{SIDE} pixels: PSNR in dB, SSIM")
for column in ("method", "random 50 %", "", "square 12x12", ""):
    table.add_column(column, justify="left" if column == "method" else "right")
for name in [*OTHERS, "GLOW-Prox"]:
    table.add_row(name, *(f"{x:.{2 + n}f}" for m in MASKS for n, x in enumerate(results[m, name])))
Console(width=100).print(table)
for mask in MASKS:
    ours = results[mask, "GLOW-Prox"][0]
    print(
        f"{mask}: {ours - results[mask, 'mean fill'][0]:+.2f} dB against mean fill, "
        f"{ours - results[mask, 'biharmonic'][0]:+.2f} dB against biharmonic"
    )

# %%
# Layer by layer
# --------------
# What the layers change is small beside what the start gives: so short a training leaves the
# network about where biharmonic inpainting is, a tenth of a decibel above or below.
n_columns = 4 + len(shown["random"][2])
figure, axes = plt.subplots(4, n_columns, figsize=(1.5 * n_columns, 6.4), layout="constrained")
for row, (mask, number) in enumerate((m, n) for m in MASKS for n in (0, 3)):
    holes, filled, stages = shown[mask]
    columns = {
        "photograph": test[number].reshape(SIDE, SIDE),
        "visible": holes[number],
        "mean fill": filled["mean fill"][number],
        "total variation": filled["total variation"][number],
        "start": stages[0][number],
        **{f"layer {k}": stage[number] for k, stage in enumerate(stages[1:], 1)},
    }
    for ax, (title, picture) in zip(axes[row], columns.items(), strict=True):
        ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
        ax.set_title(title if row == 0 else "", fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_facecolor("tab:red")  # shines through where pixels are missing

output = Path("output")
output.mkdir(exist_ok=True)
figure.savefig(output / "glow_inpainting.png", dpi=110)
print(f"Picture written to {output / 'glow_inpainting.png'}")
plt.show()
