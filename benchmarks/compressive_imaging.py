"""ADMM-CSNet against total variation, from a part of the Fourier samples of real pictures.

``python -m benchmarks.compressive_imaging`` trains one network for each kind of mask (Cartesian
and pseudo-radial, 30 % of the samples by default) on phantoms and on patches of two photographs,
one thread, and prints the PSNR of pictures that it has never seen, a slice of a head and two
other photographs, next to zero-filling and to total variation with its best weight for each
picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch

from benchmarks.study import Option, Row, Study
from benchmarks.timing import clocked
from sklearn_unroll import ADMMCSNetRegressor, Trainer
from sklearn_unroll.datasets import (
    cartesian_mask,
    load_brain_slice,
    load_image_patches,
    make_phantoms,
    radial_mask,
)
from sklearn_unroll.functional import MaskedFourier
from sklearn_unroll.metrics import psnr

SIDE = 128
KINDS = ("Cartesian", "pseudo-radial")
WEIGHTS = (1e-4, 3e-4, 1e-3, 3e-3)  # of total variation, in unit scale


def halved(picture: np.ndarray) -> np.ndarray:
    """Return a picture at half its size."""
    height, width = (side // 2 * 2 for side in picture.shape)
    return picture[:height, :width].reshape(height // 2, 2, -1, 2).mean(axis=(1, 3))


def pictures_to_train_on(n: int, side: int = SIDE, seed: int = 0) -> np.ndarray:
    """Return n phantoms and n patches of two photographs, turned and mirrored, in rows."""
    rng, parts = np.random.default_rng(seed), []
    for name in ("china.jpg", "flower.jpg"):
        whole = load_image_patches(name, n_patches=1, random_state=0).image[:426]
        for image in (whole, halved(whole)):
            cut = load_image_patches(
                image,
                patch_size=(side, side),
                n_patches=n // 4,
                center=False,
                random_state=seed,
            ).X.reshape(-1, side, side)
            parts += [np.rot90(patch, rng.integers(4)) for patch in cut]
    rows = np.stack([part[:, :: rng.choice([-1, 1])].ravel() for part in parts])
    rows = np.concatenate([make_phantoms(n, (side, side), random_state=seed), rows])
    return rng.permutation(rows).astype(np.float32)


def pictures_to_test_on(side: int) -> dict[str, np.ndarray]:
    """Return a slice of a head and two photographs, none of which is trained on."""
    from skimage import data

    grey = data.astronaut() @ [0.299, 0.587, 0.114] / 255
    whole = {"head": load_brain_slice().image, "camera": data.camera() / 255, "astronaut": grey}
    return {name: reduced(picture, side) for name, picture in whole.items()}


def reduced(picture: np.ndarray, side: int) -> np.ndarray:
    """Return a picture at half its size as often as it takes."""
    return picture if len(picture) <= side else reduced(halved(picture), side)


def make_operator(kind: str, fraction: float, side: int = SIDE, seed: int = 0) -> MaskedFourier:
    """Return the Fourier transform under a mask."""
    if kind == "Cartesian":
        return MaskedFourier(cartesian_mask((side, side), fraction, random_state=seed))
    return MaskedFourier(radial_mask((side, side), fraction))


def total_variation(A: MaskedFourier, b: torch.Tensor, weight: float, n_iter: int) -> np.ndarray:
    """Return the picture with the least misfit and total variation, by FISTA."""
    from skimage.restoration import denoise_tv_chambolle

    x = y = A.adjoint(b)
    t = 1.0
    for _ in range(n_iter):
        step = (y + A.adjoint(A.residual(b, y))).numpy().reshape(A.mask.shape)
        found = denoise_tv_chambolle(step, weight=weight, max_num_iter=20, eps=1e-6)
        new = torch.from_numpy(found.reshape(1, -1))
        t, before = (1 + (1 + 4 * t**2) ** 0.5) / 2, t
        x, y = new, new + (before - 1) / t * (new - x)
    return x.numpy()


def train(A: MaskedFourier, y: np.ndarray, epochs: int) -> tuple[ADMMCSNetRegressor, float]:
    """Return a fitted network and the seconds it took."""
    model = ADMMCSNetRegressor(
        A,
        image_shape=A.mask.shape,
        n_layers=10,
        consistent=True,  # there is no noise; worth some tenths of a decibel
        trainer=Trainer(learning_rate=2e-3, max_epochs=epochs, batch_size=2),
        random_state=0,
    )
    X = A(torch.from_numpy(y)).numpy()
    return clocked(lambda: model.fit(X, y))


def compare(model: ADMMCSNetRegressor, A: MaskedFourier, n_iter: int = 60) -> Iterator[Row]:
    """Yield the PSNRs of every test picture, in dB."""
    for name, picture in pictures_to_test_on(len(A.mask)).items():
        truth = picture.reshape(1, -1)
        b = A(torch.from_numpy(truth))
        found = {
            "zero_filling": [A.adjoint(b).numpy()],
            "total_variation": [total_variation(A, b, weight, n_iter) for weight in WEIGHTS],
            "admm_csnet": [model.predict(b.numpy())],
        }
        best = {
            method: max(psnr(truth, x, data_range=1.0) for x in results)
            for method, results in found.items()
        }
        yield {"picture": name, **best, "over_tv": best["admm_csnet"] - best["total_variation"]}


def rows(
    *,
    seed: int,
    masks: Sequence[str] = Option(KINDS, choices=KINDS),
    fractions: Sequence[float] = Option((0.3,), help="of the Fourier samples"),
    side: int = Option(SIDE, 32, "of the pictures"),
    n_pictures: int = Option(80, 4, "phantoms to train on, and as many photographs"),
    epochs: int = Option(6, 1),
    n_iter: int = Option(60, 10, "of total variation"),
) -> Iterator[Row]:
    """Yield a row per mask, fraction and picture."""
    y = pictures_to_train_on(n_pictures, side, seed)
    for kind, fraction in product(masks, fractions):
        A = make_operator(kind, fraction, side, seed)
        model, seconds = train(A, y, epochs)
        for row in compare(model, A, n_iter):
            told = {"mask": kind, "samples": fraction, "side": side, "trained_seconds": seconds}
            yield told | row


STUDY = Study(
    rows,
    labels="mask samples side picture",
    measures="zero_filling total_variation admm_csnet over_tv trained_seconds",
)

if __name__ == "__main__":
    STUDY.main()
