"""Pictures of which pixels are missing, by a dictionary learned from what is seen of them.

``python -m benchmarks.missing_entries`` hides pixels of a photograph, learns a dictionary from its
own patches, of which NaN is not seen, codes every patch on its own pixels, and averages what the
codes say. ``psnr`` is that of the missing pixels, in dB, ``psnr_worst`` that of the worst of the
squares of 32 x 32 pixels. Beside it stand scikit-image's biharmonic inpainting and GLOW-Prox,
trained on complete tiles of another photograph. Rows named ``codes`` code the same patches over
the same dictionary to the same tolerance: ours, and scikit-learn's Lasso and orthogonal_mp in a
loop over rows; ``off`` is the largest difference of their objectives, or the median one of
their codes, relative to ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_image
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.image import reconstruct_from_patches_2d
from sklearn.linear_model import Lasso, orthogonal_mp

from benchmarks.study import Option, Row, Study
from benchmarks.timing import clocked, installed
from sklearn_unroll import (
    GlowProxInpainter,
    LassoCoder,
    OMPCoder,
    OnlineDictionaryLearning,
    Trainer,
)
from sklearn_unroll.datasets import load_image_patches

TILE = 32


def photograph(name: str, side: int) -> np.ndarray:
    """Return a square of a grey photograph, in [0, 1]."""
    grey = load_sample_image(name).mean(2) / 255
    return grey[100 : 100 + side, 200 : 200 + side]


def patches(picture: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all patches without the mean of what is seen of each, and that mean."""
    X = sliding_window_view(picture, (side, side)).reshape(-1, side * side)
    mean = np.where(np.isnan(X), 0, X).sum(1) / np.maximum((~np.isnan(X)).sum(1), 1)
    return X - mean[:, None], mean[:, None]


def by_dictionary(picture: np.ndarray, side: int, seed: int, **options: object) -> tuple:
    """Return the picture, the learner, and the patches it has learned from."""
    X, mean = patches(picture, side)
    seen = ~np.isnan(X).all(1)
    learner = OnlineDictionaryLearning(tol=0.0, random_state=seed, **options).fit(X[seen])
    found = np.repeat(mean, X.shape[1], axis=1)
    found[seen] += learner.inverse_transform(learner.transform(X[seen]))
    whole = reconstruct_from_patches_2d(found.reshape(-1, side, side), picture.shape)
    return whole, learner, X[seen]


def biharmonic(picture: np.ndarray) -> np.ndarray:
    """Return what scikit-image fills in."""
    from skimage.restoration import inpaint_biharmonic

    return inpaint_biharmonic(np.nan_to_num(picture), np.isnan(picture))


def glow(name: str, picture: np.ndarray, share: float, n_tiles: int, seed: int) -> np.ndarray:
    """Return what GLOW-Prox fills in, tile by tile, trained on those of another photograph."""
    other = "flower.jpg" if name == "china.jpg" else "china.jpg"
    train = load_image_patches(
        other, patch_size=(TILE, TILE), n_patches=n_tiles, center=False, random_state=seed
    ).X.astype("float32")
    trainer = Trainer(learning_rate=3e-3, max_epochs=3, batch_size=16)
    model = GlowProxInpainter((TILE, TILE), fraction=share, trainer=trainer, random_state=seed)
    n = len(picture) // TILE
    cut = picture.reshape(n, TILE, n, TILE).swapaxes(1, 2).reshape(n * n, -1)
    found = model.fit(train).transform(cut.astype("float32"))
    return found.reshape(n, n, TILE, TILE).swapaxes(1, 2).reshape(picture.shape)


def quality(found: np.ndarray, truth: np.ndarray, hidden: np.ndarray) -> Row:
    """Return the PSNR of what was hidden: of all, and of the worst square."""
    n = len(truth) // TILE
    error = np.square(np.clip(found, 0, 1) - truth) * hidden
    sums = [a.reshape(n, TILE, n, TILE).sum((1, 3)) for a in (error, hidden)]
    worst = (sums[0] / np.maximum(sums[1], 1)).max()
    return {
        "psnr": -10 * np.log10(error.sum() / hidden.sum()),
        "psnr_worst": -10 * np.log10(worst),
    }


def codes(X: np.ndarray, D: np.ndarray, alpha: float, n_atoms: int, n_loop: int) -> Iterator[Row]:
    """Yield the times of coding patches by us, all at once, and by scikit-learn, row by row."""
    lasso, omp = LassoCoder(D, alpha=alpha).fit(X), OMPCoder(D, n_atoms).fit(X)
    rows = X[np.linspace(0, len(X) - 1, n_loop).astype(int)]

    def own(x: np.ndarray) -> np.ndarray:
        seen = ~np.isnan(x)
        solver = Lasso(alpha / seen.sum(), fit_intercept=False, tol=1e-6, max_iter=10_000)
        return solver.fit(D[:, seen].T, x[seen]).coef_

    def greedy(x: np.ndarray) -> np.ndarray:
        seen = ~np.isnan(x)
        norms = np.linalg.norm(D[:, seen], axis=1) + 1e-12
        atoms = (D[:, seen] / norms[:, None]).T
        return orthogonal_mp(atoms, x[seen], n_nonzero_coefs=min(n_atoms, seen.sum())) / norms

    def value(Z: np.ndarray) -> np.ndarray:
        return 0.5 * np.nansum((rows - Z @ D) ** 2, axis=1) + alpha * np.abs(Z).sum(1)

    with catch_warnings():
        simplefilter("ignore", ConvergenceWarning)
        simplefilter("ignore", RuntimeWarning)
        for name, ours, theirs in (("lasso", lasso, own), ("omp", omp, greedy)):
            ours.transform(X[: max(len(X) // 4, 1)])  # compiles
            _, seconds = clocked(lambda ours=ours: ours.transform(X))
            found, loop = clocked(lambda theirs=theirs: np.array([theirs(x) for x in rows]))
            mine = ours.transform(rows)
            if name == "lasso":
                off = np.abs(value(found) / np.maximum(value(mine), 1e-12) - 1).max()
            else:
                size = np.maximum(np.abs(mine).max(1), 1e-12)
                off = np.median(np.abs(found - mine).max(1) / size)
            per_row, of_loop = seconds / len(X), loop / len(rows)
            yield {"method": f"codes: ours, {name}", "us_per_patch": 1e6 * per_row}
            yield {
                "method": f"codes: scikit-learn, {name}", "us_per_patch": 1e6 * of_loop,
                "times_slower": of_loop / per_row, "off": off,
            }  # fmt: skip


def rows(
    *,
    seed: int,
    pictures: tuple = Option(("flower.jpg", "china.jpg"), ("china.jpg",), "of scikit-learn"),
    missing: tuple = Option((0.5, 0.75), (0.5,), "shares of the pixels"),
    side: int = Option(192, 64, "of the picture"),
    patch: int = Option(8, 4, "side of a patch"),
    n_atoms: int = Option(128, 16),
    alpha: float = Option(0.03),
    passes: int = Option(5, 2, "over the patches"),
    n_tiles: int = Option(1000, 20, "to train GLOW-Prox on"),
    n_loop: int = Option(500, 20, "patches of scikit-learn's loops"),
) -> Iterator[Row]:
    """Yield a row per picture, share and method."""
    for name in pictures:
        truth = photograph(name, side)
        for share in missing:
            hidden = np.random.default_rng(seed).random(truth.shape) < share
            seen = np.where(hidden, np.nan, truth)
            label = {"picture": name, "missing": share}
            (found, learner, X), seconds = clocked(
                lambda seen=seen: by_dictionary(
                    seen, patch, seed, n_components=n_atoms, alpha=alpha, max_iter=passes
                )
            )
            yield label | {
                "method": "own dictionary", "seconds": seconds, **quality(found, truth, hidden),
            }  # fmt: skip
            if installed("skimage", "biharmonic"):
                found, seconds = clocked(lambda seen=seen: biharmonic(seen))
                yield label | {
                    "method": "biharmonic", "seconds": seconds, **quality(found, truth, hidden),
                }  # fmt: skip
            found, seconds = clocked(
                lambda name=name, seen=seen, share=share: glow(name, seen, share, n_tiles, seed)
            )
            yield label | {
                "method": "GLOW-Prox", "seconds": seconds, **quality(found, truth, hidden),
            }  # fmt: skip
            for row in codes(X, learner.components_, alpha, 5, n_loop):
                yield label | row


STUDY = Study(
    rows,
    labels="picture missing method",
    measures="psnr psnr_worst seconds us_per_patch times_slower off",
)

if __name__ == "__main__":
    STUDY.main()
