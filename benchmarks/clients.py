"""Small problems of users beside what they call today: ratios of times within one run.

``python -m benchmarks.clients``. ``diffusion``: voxels over 144 nonnegative atoms
of 91 measurements, dispersed sticks and zeppelins of one fibre direction, whose coherence is
.99999; also as the elastic net, as nonnegative least squares, and each voxel over one of 50
directions. ``stains``: pixels over two colours. ``one``: a single signal. ``path``: 100 weights of
one signal over more atoms than measurements. ``error``, ``l1_radius``: noisy Gaussian signals to
the noise, or to a norm. ``ratio`` is the median over the rounds of our
time by the rival's: below one is ours to win; ``gap_max`` is our largest certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from sklearn.linear_model import Lasso

from benchmarks.study import Option, Row, Study
from benchmarks.timing import compete, installed
from sklearn_unroll import LassoCoder
from sklearn_unroll.datasets import make_sparse_recovery

Job = Callable[[], Any]


def sphere(n: int) -> np.ndarray:
    """Return directions that cover the sphere evenly."""
    height = 1 - 2 * (np.arange(n) + 0.5) / n
    angle, radius = np.pi * (1 + 5**0.5) * np.arange(n), np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def fibres(direction: np.ndarray) -> np.ndarray:
    """Return signals of dispersed fibres, 12 dispersions by 12 volume fractions, of norm one."""
    b = np.r_[0, np.full(30, 0.7), np.full(60, 2.0)][:, None]
    gradients = np.r_[[[0, 0, 1.0]], sphere(60)[::2], sphere(60)]
    points = sphere(1500)
    squares, atoms = (gradients @ points.T) ** 2, []
    for kappa in np.geomspace(0.25, 30, 12):
        watson = np.exp(kappa * ((points @ direction) ** 2 - 1))
        watson /= watson.sum()
        inside = np.exp(-1.7 * b * squares) @ watson
        along = squares @ watson
        for share in np.linspace(0.1, 0.99, 12):
            across = 1.7 * (1 - share)
            outside = np.exp(-b[:, 0] * (across + (1.7 - across) * along))
            atoms.append(share * inside + (1 - share) * outside)
    return np.array(atoms) / np.linalg.norm(atoms, axis=1, keepdims=True)


def voxels(D: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return noisy mixtures of three atoms, at a signal-to-noise ratio of 30."""
    codes = np.zeros((n, len(D)))
    for _ in range(3):
        codes[np.arange(n), rng.integers(len(D), size=n)] += rng.random(n)
    X = codes / codes.sum(1, keepdims=True) @ (D / D[:, :1])
    return np.abs(X + rng.standard_normal(X.shape) / 30)


def spams_lasso(X: np.ndarray, D: np.ndarray, **options: Any) -> Job:
    """Return a call of spams, with its arrays in its own order."""
    import spams

    X, D = np.asfortranarray(X.T), np.asfortranarray(D.T)
    threads = torch.get_num_threads()
    return lambda: spams.lasso(X, D=D, numThreads=threads, **options)


def coder(D: np.ndarray, X: np.ndarray, **parameters: Any) -> Job:
    """Return a call of the coder."""
    fitted = LassoCoder(D, **parameters).fit(X)
    return lambda: fitted.solve(X)


def diffusion(rng: np.random.Generator, n_voxels: int, spams: bool) -> Iterator[tuple]:
    """Yield the rows of voxels."""
    D = fibres(np.array([0.6, 0.0, 0.8]))
    X = voxels(D, n_voxels, rng)
    for alpha, l2 in ((0.5, 0.0), (0.5, 1e-3), (0.05, 0.0), (0.005, 0.0)):
        ours = coder(D, X, alpha=alpha, l2=l2, positive=True)
        if spams:
            other = spams_lasso(X, D, lambda1=alpha, lambda2=l2, mode=2, pos=True)
            yield f"diffusion alpha={alpha} l2={l2}", len(X), ours, "spams", other
    few = X[:300]
    yield (
        "diffusion alpha=0", len(few), coder(D, few, alpha=0.0, positive=True),
        "scipy nnls", lambda: [nnls(D.T, x) for x in few],
    )  # fmt: skip
    several = [fibres(direction) for direction in sphere(50)]
    which = rng.integers(50, size=len(X))
    mixed = np.stack([voxels(several[i], 1, rng)[0] for i in which])
    fitted = LassoCoder(several[0], alpha=0.05, positive=True).fit(mixed)
    operators = [several[i] for i in which]
    if spams:
        groups = [
            spams_lasso(mixed[which == i], several[i], lambda1=0.05, mode=2, pos=True)
            for i in np.unique(which)
        ]
        yield (
            "diffusion 50 directions", len(mixed),
            lambda: fitted.solve(mixed, operators=operators),
            "spams", lambda: [group() for group in groups],
        )  # fmt: skip


def problems(
    rng: np.random.Generator, n_voxels: int, n_pixels: int, n_genes: int
) -> Iterator[tuple]:
    """Yield name, number of signals, our call, a rival and its call."""
    spams = installed("spams", "rows of spams")
    yield from diffusion(rng, n_voxels, spams)
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    X = np.abs(rng.standard_normal((n_pixels, 2))) @ stains + 0.01 * rng.random((n_pixels, 3))
    if spams:
        yield (
            "stains", len(X), coder(stains, X, alpha=0.1, positive=True),
            "spams", spams_lasso(X, stains, lambda1=0.1, mode=2, pos=True),
        )  # fmt: skip
    for m, n in ((64, 128), (250, 500), (100, 1000)):
        data = make_sparse_recovery(1, m, n, sparsity=0.1, random_state=int(rng.integers(1000)))
        alpha = 0.1 * float(np.abs(data.X @ data.dictionary.T).max())
        theirs = Lasso(alpha / m, fit_intercept=False, tol=1e-6, max_iter=10_000)
        A, x = np.asfortranarray(data.dictionary.T), data.X[0]
        yield (
            f"one {m}x{n}", 1, coder(data.dictionary, data.X, alpha=alpha),
            "scikit-learn", lambda model=theirs, A=A, x=x: model.fit(A, x),
        )  # fmt: skip
    if installed("celer", "the row of a path"):
        yield path(rng, n_genes)
    if spams:
        data = make_sparse_recovery(n_voxels, 100, 200, sparsity=0.05, snr_db=20, random_state=0)
        error = 100 * float(np.mean(data.noise_std**2))
        for name, value, mode in (("error", error, 1), ("l1_radius", 2.0, 0)):
            yield (
                name, n_voxels, coder(data.dictionary, data.X, **{name: value}),
                "spams", spams_lasso(data.X, data.dictionary, lambda1=value, mode=mode),
            )  # fmt: skip


def path(rng: np.random.Generator, n_genes: int) -> tuple:
    """Return the row of a path, in the sizes of a well-known set of gene expressions."""
    import celer

    D, code = rng.standard_normal((n_genes, 72)), np.zeros(n_genes)
    code[rng.integers(n_genes, size=10)] = 1
    x = code @ D + 0.5 * rng.standard_normal(72)
    alphas = np.geomspace(1, 0.01, 100) * np.abs(D @ x).max()
    fitted, A = LassoCoder(D).fit(x[None]), np.asfortranarray(D.T)
    return (
        f"path 100 alphas 72x{n_genes}", 1, lambda: fitted.path(x[None], alphas), "celer",
        lambda: celer.celer_path(A, x, pb="lasso", alphas=alphas / 72, tol=1e-6),
    )  # fmt: skip


def rows(
    *,
    seed: int,
    n_voxels: int = Option(2000, 60, "and noisy signals"),
    n_pixels: int = Option(262_144, 500, "of two stains"),
    n_genes: int = Option(7129, 100, "atoms of the path"),
    repeats: int = Option(5, 1),
) -> Iterator[Row]:
    """Yield a row per problem and rival."""
    rng = np.random.default_rng(seed)
    for name, n, ours, rival, theirs in problems(rng, n_voxels, n_pixels, n_genes):
        found, seconds = compete({"ours": ours, rival: theirs}, repeats)
        yield {
            "problem": name,
            "rival": rival,
            "us_per_signal": 1e6 * median(seconds["ours"]) / n,
            "rival_us": 1e6 * median(seconds[rival]) / n,
            "ratio": median(a / b for a, b in zip(*seconds.values(), strict=True)),
            "gap_max": float(np.max(found["ours"].gap)),
        }


STUDY = Study(rows, labels="problem rival", measures="us_per_signal rival_us ratio gap_max")

if __name__ == "__main__":
    STUDY.main()
