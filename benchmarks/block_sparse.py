"""Recovery of block-sparse codes: networks that know the groups beside those that do not.

``python -m benchmarks.block_sparse [n_train]``; 100 x 200 Gaussian, 50 groups of 4 atoms,
each active with probability 0.08, no noise; mean and worst of 1000 fresh signals, in dB.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from sklearn_unroll import ALISTARegressor, LISTARegressor, OMPCoder
from sklearn_unroll.functional import Composite, Dense, GroupL1, LeastSquares
from sklearn_unroll.metrics import nmse_db

SIZE, N_GROUPS, N_FEATURES = 4, 50, 100


def make(n_samples: int, D: np.ndarray, rng: np.random.Generator) -> tuple:
    """Return signals and codes, none of them zero."""
    active = rng.random((n_samples, N_GROUPS)) < 0.08
    active[np.arange(n_samples), rng.integers(N_GROUPS, size=n_samples)] = True
    y = rng.standard_normal((n_samples, len(D))) * active.repeat(SIZE, axis=1)
    return y @ D, y


def group_omp(X: np.ndarray, D: np.ndarray, tol: float = 1e-10) -> np.ndarray:
    """Block OMP (Eldar, Kuppinger and Bolcskei 2010), sample by sample."""
    codes = np.zeros((len(X), len(D)))
    for x, z in zip(X, codes, strict=True):
        chosen, r, found = [], x, None
        while r @ r > tol * (x @ x) and len(chosen) < N_FEATURES // SIZE:
            best = np.linalg.norm((D @ r).reshape(-1, SIZE), axis=1)
            chosen.append(int(best.argmax()))
            atoms = (SIZE * np.array(chosen)[:, None] + np.arange(SIZE)).ravel()
            found = np.linalg.lstsq(D[atoms].T, x, rcond=None)[0]
            r = x - found @ D[atoms]
        z[atoms] = found
    return codes


def group_fista(X: np.ndarray, D: np.ndarray, alpha: float, n_iter: int) -> np.ndarray:
    """FISTA on the group lasso."""
    b, A = torch.from_numpy(X), Dense(torch.from_numpy(D))
    problem = Composite.of(b, A, LeastSquares(), GroupL1(SIZE, alpha * SIZE**0.5))
    x = v = problem.first()
    t = 1.0
    for _ in range(n_iter):
        new, after = problem.classical(v), (1 + (1 + 4 * t * t) ** 0.5) / 2
        v, x, t = new + (t - 1) / after * (new - x), new, after
    return x.numpy()


def main(n_train: int = 5000) -> None:
    """Print one row a method and seed."""
    print(f"{torch.get_num_threads()} threads; fit s, predict s, NMSE dB pooled, worst signal")
    for seed in (11, 12, 13):
        rng = np.random.default_rng(seed)
        D = rng.standard_normal((SIZE * N_GROUPS, N_FEATURES))
        D /= np.linalg.norm(D, axis=1, keepdims=True)
        (X, y), (X_new, y_new) = make(n_train, D, rng), make(1000, D, rng)
        networks = {
            f"{kind.__name__}{', groups' * (groups is not None)}": kind(
                D, groups=groups, random_state=seed
            )
            for kind in (LISTARegressor, ALISTARegressor)
            for groups in (SIZE, None)
        }
        runs = {name: net.predict for name, net in networks.items()}
        runs["OMPCoder"] = OMPCoder(D, tol=1e-8).fit(X).transform
        runs["group OMP"] = lambda X, D=D: group_omp(X, D)
        runs["group FISTA, 16"] = lambda X, D=D: group_fista(X, D, 0.02, 16)
        runs["group FISTA, 1000"] = lambda X, D=D: group_fista(X, D, 1e-3, 1000)
        for name, run in runs.items():
            start = time.perf_counter()
            if name in networks:
                networks[name].fit(X, y)
            fitted = time.perf_counter()
            codes = run(X_new)
            ended = time.perf_counter()
            worst = max(nmse_db(a[None], b[None]) for a, b in zip(y_new, codes, strict=True))
            print(
                f"seed {seed}  {name:24} {fitted - start:6.1f} {ended - fitted:7.3f}  "
                f"{nmse_db(y_new, codes):7.1f} {worst:7.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
