"""Families of problems for learned optimisers: the law to train on, and others."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.datasets.patches import learn_atoms
from sklearn_unroll.datasets import load_image_patches
from sklearn_unroll.functional import L1, Composite, Dense, LeastSquares, Observation
from sklearn_unroll.solvers import certified_lasso


def lasso_family(
    n: int, m: int = 50, n_components: int = 100, n_nonzero: int = 10, alpha: float = 0.1,
    *, seed: int,
) -> Composite:  # fmt: skip
    """Return noiseless lasso problems with unit atoms, a new dictionary for each."""
    generator = torch.Generator().manual_seed(seed)
    D = torch.randn(n, n_components, m, generator=generator, dtype=torch.float64)
    D /= D.norm(dim=2, keepdim=True)
    x = sparse_codes(n, n_components, n_nonzero, generator)
    return as_lasso(Dense(D)(x), D, alpha)


def sparse_codes(n: int, n_components: int, n_nonzero: int, generator) -> Tensor:
    """Return codes with normal entries on uniform supports."""
    x = torch.randn(n, n_components, generator=generator, dtype=torch.float64)
    rank = torch.rand(n, n_components, generator=generator).argsort(1).argsort(1)
    return x.masked_fill(rank >= n_nonzero, 0.0)


def as_lasso(
    b: Tensor, D: Tensor, alpha: float | Tensor, start: Tensor | None = None
) -> Composite:
    """Return the lasso problems of data and dictionaries."""
    weight = torch.full((len(b), 1), alpha, dtype=b.dtype)
    return Composite.of(b, Dense(D), LeastSquares(), L1(weight), start)


def solved(problem: Composite) -> Composite:
    """Return a lasso problem with its optimal values, certified in float64."""
    found = certified_lasso(
        Observation(problem.b, problem.A), problem.R.weight[:, 0], tol=1e-13, max_iter=100_000
    )
    if not bool(found.converged.all()):
        raise RuntimeError(f"Optima have a relative gap of {float(found.gap.max()):.1e}.")
    return problem._replace(least=problem.value(found.x))


def photographs(n_patches: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return patches in [0, 1] and then without mean, and a dictionary learned on others."""
    n = min(64, n_patches // 2)
    patches = load_image_patches(n_patches=n_patches, center=False, random_state=seed).X
    low = patches.min(1, keepdims=True)
    patches = (patches - low) / (patches.max(1, keepdims=True) - low + 1e-3)
    patches -= patches.mean(1, keepdims=True)
    D = learn_atoms(patches[n:], 128, seed, alpha=0.5, max_iter=20)
    return torch.from_numpy(patches[:n]), torch.from_numpy(D)


def shifted(
    seed: int, n: int = 64, m: int = 50, n_components: int = 100, n_patches: int = 2000
) -> Iterator[tuple[str, Composite]]:
    """Yield the families that a solver of ``lasso_family`` has not been trained on."""
    generator = torch.Generator().manual_seed(seed)
    n_nonzero = n_components // 10
    base = lasso_family(n, m, n_components, n_nonzero, seed=seed)
    D, b = base.A.D, base.b
    yield "alpha 0.5", as_lasso(b, D, 0.5)
    yield "alpha 0.01", as_lasso(b, D, 0.01)
    yield "x times 10", as_lasso(10 * b, D, 0.1)
    yield "rescaled by 10", as_lasso(10 * b, D, 1.0)
    x = sparse_codes(n, n_components, n_nonzero, generator)
    gauss = torch.randn(D.shape, generator=generator, dtype=torch.float64)
    yield "A not normalised", as_lasso(Dense(gauss)(x), gauss, 5.0)
    common = torch.randn(n, 1, m, generator=generator, dtype=torch.float64)
    correlated = gauss + common
    correlated /= correlated.norm(dim=2, keepdim=True)
    yield "A correlated 0.5", as_lasso(Dense(correlated)(x), correlated, 0.1)
    yield "x dense", lasso_family(n, m, n_components, n_components, seed=seed + 1)
    noise = torch.randn(b.shape, generator=generator, dtype=torch.float64)
    noise *= 0.3 * b.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
    yield "b noisy 0.3", as_lasso(b + noise, D, 0.1)
    yield "start shifted by 10", as_lasso(b, D, 0.1, torch.full_like(x, 10.0))
    b, D = photographs(n_patches)
    yield "patches, alpha 0.5", as_lasso(b, D, 0.5)
    yield "patches, alpha 0.1", as_lasso(b, D, 0.1)
