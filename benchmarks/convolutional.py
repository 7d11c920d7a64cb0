"""Convolutional sparse coding: objective against seconds, ours and SPORCO's ADMM.

``python -m benchmarks.convolutional`` codes the high-pass part of a picture over kernels at every
position, ``0.5 ||b - sum_k x_k * d_k||^2 + alpha ||x||_1`` with a circular boundary: SPORCO's own
picture and learned dictionaries, which its wheel holds, or where it is not installed a photograph
of scikit-learn's over the filters of a cosine transform. A row is a method at one tolerance,
``seconds`` with the transforms of the kernels. ``excess`` is the objective over the least one,
minus one, in float64 whatever solved it; the least one is certified, ``floor_gap``. Tolerances are
of each method's own kind, so compare seconds at an excess. SPORCO runs with its defaults, which
adapt rho as ours does, and with a rho of one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.study import Option, Row, Study
from benchmarks.timing import clocked, installed
from sklearn_unroll.functional import (
    Convolution,
    Observation,
    dct_filters,
    duality_gap,
    lasso_value,
)
from sklearn_unroll.solvers import ADMM, FISTA, minimize

METHODS = {"ADMM": ADMM, "FISTA": FISTA}
FIXED = {"rho": 1.0, "AutoRho": {"Enabled": False}}


def picture_and_kernels(name: str, kind: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a square of a picture without its low frequencies, and kernels of norm one."""
    if not installed("sporco", "of SPORCO, its picture and dictionaries"):
        from sklearn.datasets import load_sample_image

        picture, d = load_sample_image("china.jpg").mean(2) / 255, dct_filters(7).numpy()
    else:
        import sporco
        from sporco.util import ExampleImages, convdicts

        folder = os.path.join(os.path.dirname(sporco.__file__), "data")
        picture = ExampleImages(pth=folder, scaled=True, gray=True).image(name)
        d = np.moveaxis(convdicts()[kind], 2, 0).astype(float)
    square = np.asarray(picture, float)[100 : 100 + size, 100 : 100 + size]
    return high_pass(square), d / np.linalg.norm(d, axis=(1, 2), keepdims=True)


def high_pass(picture: np.ndarray, weight: float = 5.0) -> np.ndarray:
    """Return what ``min_x ||x - b||^2 / 2 + weight / 2 ||grad x||^2`` leaves of a picture b."""
    waves = [2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(n)) for n in picture.shape]
    low = 1 / (1 + weight * (waves[0][:, None] + waves[1]))
    return np.fft.ifft2(np.fft.fft2(picture) * (1 - low)).real


def ours(
    name: str, tol: float, picture: np.ndarray, d: np.ndarray, alpha: float, dtype: torch.dtype
) -> tuple[Tensor, int]:
    """Return codes and the number of iterations."""
    A = Convolution(torch.as_tensor(d, dtype=dtype), picture.shape)
    obs = Observation(torch.as_tensor(picture, dtype=dtype).reshape(1, -1), A)
    found = minimize(METHODS[name](obs, alpha), obs, tol=tol, max_iter=3000)
    return found.x, int(found.n_iter)


def sporcos(
    given: dict, tol: float, picture: np.ndarray, d: np.ndarray, alpha: float, dtype: torch.dtype
) -> tuple[Tensor, int]:
    """Return the codes and iterations of SPORCO's ``ConvBPDN``."""
    from sporco.admm.cbpdn import ConvBPDN

    kind = str(dtype).split(".")[-1]
    options = ConvBPDN.Options({"MaxMainIter": 3000, "RelStopTol": tol, **given})
    kernels = np.moveaxis(d, 0, 2).astype(kind)
    solver = ConvBPDN(kernels, picture.astype(kind), alpha, options, dimK=0)
    solver.solve()
    codes = np.moveaxis(np.asarray(solver.var_y()).reshape(*picture.shape, len(d)), 2, 0)
    return torch.from_numpy(codes.copy()).reshape(1, -1), solver.k


def contenders(tols: Sequence[float]) -> dict[tuple[str, float], Callable]:
    """Return the methods by name and tolerance."""
    jobs = {(name, tol): partial(ours, name, tol) for name in METHODS for tol in tols}
    if installed("sporco", "of SPORCO"):
        kinds = {"SPORCO": {}, "SPORCO, rho fixed": FIXED}
        for name, given in kinds.items():
            jobs |= {(name, tol / 10): partial(sporcos, given, tol / 10) for tol in tols}
    return jobs


def rows(
    *,
    picture: str = Option("kodim23.png", help="one of SPORCO's"),
    kernels: Sequence[str] = Option(("G:8x8x32", "G:12x12x36"), ("G:8x8x32",)),
    size: int = Option(128, 16, "height and width"),
    alpha: float = Option(0.05),
    tols: Sequence[float] = Option((1e-1, 1e-2, 1e-3), (1e-1,), "ours; SPORCO's are a tenth"),
    floor: float = Option(1e-4, 1e-3, "relative gap of the least objective"),
) -> Iterator[Row]:
    """Yield a row for every dictionary, precision, method and tolerance."""
    for kind in kernels:
        b, d = picture_and_kernels(picture, kind, size)
        A = Convolution(d, b.shape)
        obs = Observation(torch.from_numpy(b).reshape(1, -1), A)
        best, _ = ours("ADMM", floor, b, d, alpha, torch.float64)
        least = float(lasso_value(best, obs, alpha))
        for dtype in (torch.float64, torch.float32):
            for (name, tol), job in contenders(tols).items():
                run = partial(job, b, d, alpha, dtype)
                (codes, n_iter), seconds = clocked(run)
                value = float(lasso_value(codes.double(), obs, alpha))
                yield {
                    "kernels": kind,
                    "dtype": str(dtype).split(".")[-1],
                    "method": name,
                    "tol": tol,
                    "iterations": n_iter,
                    "seconds": seconds,
                    "objective": value,
                    "excess": value / least - 1,
                    "gap": float(duality_gap(codes.double(), obs, alpha)),
                    "floor_gap": float(duality_gap(best, obs, alpha)),
                }


STUDY = Study(
    rows,
    labels="kernels dtype method tol",
    measures="iterations seconds objective excess gap floor_gap",
)

if __name__ == "__main__":
    STUDY.main()
