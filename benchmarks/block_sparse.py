"""Recovery of block-sparse codes: networks that know the groups beside those that do not.

``python -m benchmarks.block_sparse``; a Gaussian dictionary, groups of consecutive atoms, each
active with the given probability. ``mean_db`` is the pooled NMSE of fresh signals, ``median_db``
and ``worst_db`` those of single ones. Rivals: OMP, which does not know the groups; group OMP
(Eldar, Kuppinger and Bolcskei 2010), both told the noise's energy; and the group lasso, solved
to a relative gap of ``gap_max``, for the alpha of a grid that is best on pairs of training.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.study import Option, Row, Study, with_epochs
from benchmarks.timing import clocked
from sklearn_unroll import ALISTARegressor, LISTARegressor, OMPCoder
from sklearn_unroll.functional import Composite, Dense, GroupL1, LeastSquares, composite_gap
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.solvers import NesterovDescent

GRID = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # alphas, relative to the mean norm of a group of D x
WINDOW = 25  # iterations between two certificates


def draw(
    n: int, D: np.ndarray, size: int, share: float, snr: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return signals, codes, none of them zero, and the energy of each signal's noise."""
    n_groups = len(D) // size
    active = rng.random((n, n_groups)) < share
    active[np.arange(n), rng.integers(n_groups, size=n)] = True
    y = rng.standard_normal((n, len(D))) * active.repeat(size, axis=1)
    noise = rng.standard_normal((n, D.shape[1]))
    clean = y @ D
    ratio = np.linalg.norm(clean, axis=1) / np.linalg.norm(noise, axis=1) * 10 ** (-snr / 20)
    noise *= ratio[:, None]
    return clean + noise, y, (noise**2).sum(1)


def group_lasso(
    X: np.ndarray, D: np.ndarray, size: int, alpha: float, tol: float, most: int
) -> tuple[np.ndarray, float]:
    """Return codes of the group lasso and their largest gap, by the restarted FISTA."""
    R = GroupL1(size, alpha * size**0.5)
    problem = Composite.of(torch.from_numpy(X), Dense(torch.from_numpy(D)), LeastSquares(), R)
    method, gap = NesterovDescent(), torch.ones(1)
    state = method.init(problem)
    for step in range(1, most + 1):
        state = method.step(state, problem)
        if step % WINDOW == 0 or step == most:
            gap = composite_gap(state.x, problem).max()
            if gap <= tol:
                break
    return state.x.numpy(), float(gap)


def chosen_alpha(X: np.ndarray, y: np.ndarray, D: np.ndarray, size: int, most: int) -> float:
    """Return the alpha of a grid whose codes are nearest to those of some pairs."""
    scale = np.linalg.norm((X @ D.T).reshape(len(X), -1, size), axis=2).mean() / size**0.5
    alphas = [scale * factor for factor in GRID]
    return min(alphas, key=lambda a: nmse_db(y, group_lasso(X, D, size, a, 1e-3, most)[0]))


def rows(
    *,
    seed: int,
    snr: tuple[float, ...] = Option((np.inf, 40.0, 30.0, 20.0), (np.inf, 20.0), "in dB"),
    n_seeds: int = Option(3, 1, "dictionaries, each with its own pairs and signals"),
    n_groups: int = Option(50, 8),
    size: int = Option(4, 2, "atoms in a group"),
    n_features: int = Option(100, 12),
    share: float = Option(0.08, 0.1, "of the groups that are active"),
    n_train: int = Option(5000, 200),
    n_test: int = Option(1000, 50),
    epochs: int | None = Option(None, 1, "of training, the recipe of each by default"),
    most: int = Option(3000, 100, "iterations of the group lasso"),
) -> Iterator[Row]:
    """Yield a row per noise level, seed and method."""
    for level in snr:
        for own in range(seed, seed + n_seeds):
            rng = np.random.default_rng(own)
            D = rng.standard_normal((size * n_groups, n_features))
            D /= np.linalg.norm(D, axis=1, keepdims=True)
            X, y, _ = draw(n_train, D, size, share, level, rng)
            new, truth, energies = draw(n_test, D, size, share, level, rng)
            label = {"snr": level, "of_seed": own}

            def row(
                name: str, codes: np.ndarray, seconds: float, truth=truth, label=label, **more
            ) -> Row:
                errors = [nmse_db(a[None], b[None]) for a, b in zip(truth, codes, strict=True)]
                quality = {"median_db": np.median(errors), "worst_db": max(errors)}
                us = 1e6 * seconds / len(truth)
                quality = {k: max(float(v), -300.0) for k, v in quality.items()}
                pooled = max(nmse_db(truth, codes), -300.0)
                return {
                    **label, "method": name, "mean_db": pooled, **quality, "us_per_signal": us,
                } | more  # fmt: skip

            for kind in (LISTARegressor, ALISTARegressor):
                for groups in (size, None):
                    net = with_epochs(kind(D, groups=groups, random_state=own), epochs)
                    _, fit = clocked(lambda net=net, X=X, y=y: net.fit(X, y))
                    codes, seconds = clocked(lambda net=net, new=new: net.predict(new))
                    name = kind.__name__.removesuffix("Regressor") + ", groups" * (groups == size)
                    yield row(name, codes, seconds, fit_seconds=fit)
            tol = np.maximum(energies, 1e-16 * (new**2).sum(1))
            for name, groups in (("OMP", None), ("group OMP", size)):
                omp = OMPCoder(D, groups=groups).fit(X)
                omp.transform(X[:n_test])  # compiles
                yield row(
                    name, *clocked(lambda omp=omp, new=new, tol=tol: omp.transform(new, tol=tol))
                )
            alpha = chosen_alpha(X[:200], y[:200], D, size, most)
            (codes, gap), seconds = clocked(
                lambda D=D, new=new, a=alpha: group_lasso(new, D, size, a, 1e-6, most)
            )
            yield row("group lasso", codes, seconds, gap_max=gap)


STUDY = Study(
    rows,
    labels="snr of_seed method",
    measures="mean_db median_db worst_db us_per_signal fit_seconds gap_max",
)

if __name__ == "__main__":
    STUDY.main()
