"""Criteria that score the codes of many alphas, a few samples at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.utils import _safe_indexing

from sklearn_unroll.metrics._checks import check, to_numpy
from sklearn_unroll.metrics._risk import ratio

if TYPE_CHECKING:
    from torch import Tensor


class Setting(NamedTuple):
    """What all samples have in common."""

    coder: Any  # that knows arrays only
    alphas: np.ndarray
    splits: list[tuple[np.ndarray, np.ndarray]]


class Block(NamedTuple):
    """Some samples with their codes of all alphas."""

    X: np.ndarray
    problem: Any
    codes: Tensor  # (n_alphas, n_samples, n_components)
    noise: Tensor | None
    signals: np.ndarray | None


def weights_of(plain: Any, like: Tensor) -> Tensor | None:
    import torch

    if plain.atom_weights is None:
        return None
    return torch.as_tensor(to_numpy(plain.atom_weights), dtype=torch.float64).to(like)


def coded(
    setting: Setting, X: np.ndarray, rows: slice, level: np.ndarray | None, signals: Any
) -> Block:
    import torch

    # Its data and operator, not its alpha.
    problem = setting.coder.problem(X, alpha=1.0)
    codes = torch.as_tensor(setting.coder.path(X, setting.alphas).codes).to(problem.b)
    noise = None if level is None else torch.as_tensor(level[rows]).to(problem.b)
    part = None if signals is None else check(_safe_indexing(signals, rows), "signals")
    return Block(X, problem, codes, noise, part)


def _by_sure(setting: Setting, block: Block) -> np.ndarray:
    from sklearn_unroll.functional import Observation
    from sklearn_unroll.functional.risk import degrees_of_freedom, n_seen, sure

    coder, obs = setting.coder, Observation(block.problem.b, block.problem.A)
    weights = weights_of(coder, obs.b)
    found = []
    for alpha, z in zip(setting.alphas, block.codes, strict=True):
        fraction = float(alpha) if coder.alpha_relative else None
        degrees = degrees_of_freedom(
            z, obs, l2=coder.l2, weights=weights, fraction=fraction, positive=coder.positive
        )
        found.append((sure(z, obs, block.noise, degrees) / n_seen(obs)).cpu().numpy())
    return np.stack(found)


def _by_discrepancy(setting: Setting, block: Block) -> np.ndarray:
    return np.stack([ratio(z, block.problem, block.noise).cpu().numpy() for z in block.codes])


def by_truth(setting: Setting, block: Block) -> np.ndarray:
    """Return the true error, over all entries, those that were not seen too."""
    return np.mean((_signals(setting, block.codes) - block.signals) ** 2, axis=2)


def _by_cross_validation(setting: Setting, block: Block) -> np.ndarray:
    X, coder = block.X, setting.coder
    total = np.zeros((len(setting.alphas), len(X)))
    count = np.zeros(len(X))
    for kept, held in setting.splits:
        part = np.full_like(X, np.nan)
        part[:, kept] = X[:, kept]
        # Of a sample with nothing left codes are zero.
        some = ~np.isnan(part).all(axis=1)
        predicted = np.zeros((len(total), *X[:, held].shape))
        if some.any():
            share = 1.0 if coder.alpha_relative else len(kept) / X.shape[1]
            codes = coder.path(part[some], share * setting.alphas).codes
            predicted[:, some] = _signals(setting, codes)[..., held]
        total += np.nansum((predicted - X[:, held]) ** 2, axis=2)
        count += (~np.isnan(X[:, held])).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _signals(setting: Setting, codes: Any) -> np.ndarray:
    flat = to_numpy(codes).reshape(-1, codes.shape[-1])
    return setting.coder.inverse_transform(flat).reshape(*codes.shape[:2], -1)


CRITERIA: dict[str, Callable[[Setting, Block], np.ndarray]] = {
    "sure": _by_sure,
    "discrepancy": _by_discrepancy,
    "cross_validation": _by_cross_validation,
}
