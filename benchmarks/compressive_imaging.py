"""ADMM-CSNet against total variation, from a part of the Fourier samples of real pictures.

``python -m benchmarks.compressive_imaging`` trains one network for each kind of mask (Cartesian
and pseudo-radial, 30 % of the samples by default) on phantoms and on patches of two photographs,
one thread, and prints the PSNR of pictures that it has never seen, a slice of a head and two
other photographs, next to zero-filling and to total variation with its best weight for each
picture.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data
from skimage.restoration import denoise_tv_chambolle

from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.timing import cpu_model, installed_versions, limit_threads
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
COLUMNS = ("mask", "samples", "picture", "zero-filling", "total variation", "ADMM-CSNet")
COLUMNS += ("over TV", "trained, s")


def halved(picture: np.ndarray) -> np.ndarray:
    """Return a picture at half its size."""
    height, width = (side // 2 * 2 for side in picture.shape)
    return picture[:height, :width].reshape(height // 2, 2, -1, 2).mean(axis=(1, 3))


def pictures_to_train_on(n: int, seed: int = 0) -> np.ndarray:
    """Return n phantoms and n patches of two photographs, turned and mirrored, in rows."""
    rng, parts = np.random.default_rng(seed), []
    for name in ("china.jpg", "flower.jpg"):
        whole = load_image_patches(name, n_patches=1, random_state=0).image[:426]
        for image in (whole, halved(whole)):
            cut = load_image_patches(
                image,
                patch_size=(SIDE, SIDE),
                n_patches=n // 4,
                center=False,
                random_state=seed,
            ).X.reshape(-1, SIDE, SIDE)
            parts += [np.rot90(patch, rng.integers(4)) for patch in cut]
    rows = np.stack([part[:, :: rng.choice([-1, 1])].ravel() for part in parts])
    rows = np.concatenate([make_phantoms(n, (SIDE, SIDE), random_state=seed), rows])
    return rng.permutation(rows).astype(np.float32)


def pictures_to_test_on() -> dict[str, np.ndarray]:
    """Return a slice of a head and two photographs, none of which is trained on."""
    grey = data.astronaut() @ [0.299, 0.587, 0.114] / 255
    camera = data.camera() / 255
    return {
        "head": halved(load_brain_slice().image),
        "camera": halved(halved(camera)),
        "astronaut": halved(halved(grey)),
    }


def make_operator(kind: str, fraction: float, seed: int) -> MaskedFourier:
    """Return the Fourier transform under a mask."""
    if kind == "Cartesian":
        return MaskedFourier(cartesian_mask((SIDE, SIDE), fraction, random_state=seed))
    return MaskedFourier(radial_mask((SIDE, SIDE), fraction))


def total_variation(A: MaskedFourier, b: torch.Tensor, weight: float, n_iter: int = 60):
    """Return the picture with the least misfit and total variation, by FISTA."""
    x = y = A.adjoint(b)
    t = 1.0
    for _ in range(n_iter):
        step = (y + A.adjoint(A.residual(b, y))).numpy().reshape(SIDE, SIDE)
        found = denoise_tv_chambolle(step, weight=weight, max_num_iter=20, eps=1e-6)
        new = torch.from_numpy(found.reshape(1, -1))
        t, before = (1 + (1 + 4 * t**2) ** 0.5) / 2, t
        x, y = new, new + (before - 1) / t * (new - x)
    return x.numpy()


def train(A: MaskedFourier, y: np.ndarray, epochs: int) -> tuple[ADMMCSNetRegressor, float]:
    """Return a fitted network and the seconds it took."""
    trainer = Trainer(learning_rate=2e-3, max_epochs=epochs, batch_size=2)
    model = ADMMCSNetRegressor(
        A,
        image_shape=(SIDE, SIDE),
        n_layers=10,
        consistent=True,  # there is no noise; worth some tenths of a decibel
        trainer=trainer,
        random_state=0,
    )
    X, start = A(torch.from_numpy(y)).numpy(), time.perf_counter()
    return model.fit(X, y), time.perf_counter() - start


def compare(model: ADMMCSNetRegressor, A: MaskedFourier) -> Iterator[dict[str, Any]]:
    """Yield the PSNRs of every test picture, in dB."""
    for name, picture in pictures_to_test_on().items():
        truth = picture.reshape(1, -1)
        b = A(torch.from_numpy(truth))
        found = {
            "zero-filling": [A.adjoint(b).numpy()],
            "total variation": [total_variation(A, b, weight) for weight in WEIGHTS],
            "ADMM-CSNet": [model.predict(b.numpy())],
        }
        best = {
            method: max(psnr(truth, x, data_range=1.0) for x in results)
            for method, results in found.items()
        }
        yield {"picture": name, **best, "over TV": best["ADMM-CSNet"] - best["total variation"]}


def main(arguments: Sequence[str] | None = None) -> Path:
    """Run, print and write ``compressive_imaging.csv``; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compressive_imaging")
    parser.add_argument("--quick", action="store_true", help="eight pictures: shows that it runs")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.3])
    parser.add_argument("--seed", type=int, default=0, help="of the Cartesian mask")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV")
    options = parser.parse_args(arguments)
    n, epochs = (4, 1) if options.quick else (80, 6)
    rows = []
    with limit_threads(1) as threads:
        y = pictures_to_train_on(n)
        print(f"{threads}; {len(y)} pictures to train on, half phantoms, {epochs} epochs")
        for kind in KINDS:
            for fraction in options.fractions:
                A = make_operator(kind, fraction, options.seed)
                model, seconds = train(A, y, epochs)
                told = {"mask": kind, "samples": f"{fraction:.0%}", "trained, s": seconds}
                rows += [told | row for row in compare(model, A)]
    for row in rows:
        row.update({name: f"{row[name]:.2f}" for name in COLUMNS[3:7]})
    print_table(rows, COLUMNS, f"PSNR in dB, pictures of {SIDE} by {SIDE}")
    versions = {"versions": installed_versions(), "cpu": cpu_model()}
    return write_csv([row | versions for row in rows], options.output / "compressive_imaging.csv")


if __name__ == "__main__":
    main()
