"""A sequence of networks of growing depth: does their learning problem have a limit?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from sklearn_unroll.theory._limit_system import limit_system
from sklearn_unroll.theory._subject import Trained

__all__ = ["DepthLimit", "depth_distance", "depth_limit"]


class DepthLimit(NamedTuple):
    """What :func:`depth_limit` found.

    Parameters
    ----------
    depths : ndarray of shape (n_depths,)
        Numbers of layers.
    losses : ndarray of shape (n_depths,)
        ``E_L``, mean squared distance to the true codes plus the trainer's penalty.
    gaps : ndarray of shape (n_depths - 1,)
        ``|E_L' - E_L|`` of consecutive depths.
    distances : dict of str to ndarray of shape (n_depths - 1,)
        Distance in Lp(0, 1) of consecutive parameter functions, by name.
    limit_losses : ndarray of shape (n_depths,)
        The loss of the limit system with the parameter functions of each network; NaN where
        there is none.
    estimators : list of estimator
        The fitted ones, with their ``history_``.
    """

    depths: np.ndarray
    losses: np.ndarray
    gaps: np.ndarray
    distances: dict[str, np.ndarray]
    limit_losses: np.ndarray
    estimators: list[Any]


def depth_limit(
    estimator: Any,
    X: Any,
    y: Any,
    depths: Sequence[int] = (5, 10, 20, 40),
    *,
    names: Sequence[str] = ("W", "tau", "lam"),
    p: float = 2,
    coarse_to_fine: bool = False,
    n_steps: int | None = 1000,
) -> DepthLimit:
    """Train a network at several depths, and compare what they learn.

    Lin and Wu 2026: with ``h = T / L`` the learning problems converge to that of a differential
    inclusion as L grows, in their values and, along subsequences, in their minimisers. Training
    finds some local minimiser, each time another one perhaps; from coarse to fine it stays near
    the last one. Without a horizon (``h = 1``, the experiment of the paper) the loss falls as L
    grows, but each network is that of another problem.

    Parameters
    ----------
    estimator : estimator
        Unfitted, with a parameter ``n_layers``, such as
        :class:`~sklearn_unroll.FBSNet`; it is cloned.
    X : array-like of shape (n_samples, n_features)
        Observations.
    y : array-like of shape (n_samples, n_components)
        True codes.
    depths : sequence of int, default=(5, 10, 20, 40)
        Numbers of layers, increasing.
    names : sequence of str, default=("W", "tau", "lam")
        Parameters to compare, by their names in a layer.
    p : float, default=2
        Exponent of the distance.
    coarse_to_fine : bool, default=False
        Start each network from the one before, by the estimator's ``refine``.
    n_steps : int or None, default=1000
        Steps with which to integrate the limit system, see
        :func:`~sklearn_unroll.theory.limit_system`. None leaves it out, as for networks that
        have none.

    Returns
    -------
    DepthLimit
        Losses, gaps, distances, and the fitted estimators.

    Examples
    --------
    >>> from sklearn_unroll import FBSNet
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.theory import depth_limit
    >>> data = make_sparse_recovery(100, 10, 15, sparsity=2, random_state=0)
    >>> model = FBSNet(data.dictionary, horizon=2.0, random_state=0)
    >>> model = model.set_params(trainer__max_epochs=3)
    >>> found = depth_limit(model, data.X, data.y, (4, 8, 16))
    >>> bool(found.gaps[1] < found.gaps[0])
    True
    """
    depths = [int(depth) for depth in depths]
    if not depths or depths[0] < 1 or any(a >= b for a, b in pairwise(depths)):
        raise ValueError(f"depths must be positive and increasing, got {depths}.")
    fitted, losses, limits = [], [], []
    for depth in depths:
        if coarse_to_fine and fitted:
            model = fitted[-1].refine(depth)
        else:
            model = clone(estimator).set_params(n_layers=depth)
        fitted.append(model.fit(X, y))
        losses.append(training_loss(model, X, y))
        limits.append(np.nan if n_steps is None else _limit_loss(model, X, y, n_steps))
    distances = {
        name: np.array(
            [
                depth_distance(a.network_.over_depth(name), b.network_.over_depth(name), p)
                for a, b in pairwise(fitted)
            ]
        )
        for name in names
    }
    values = np.array(losses)
    return DepthLimit(
        np.array(depths), values, np.abs(np.diff(values)), distances, np.array(limits), fitted
    )


def depth_distance(first: list[Tensor], second: list[Tensor], p: float = 2) -> float:
    """Return the distance in Lp(0, 1) of two functions of depth, constant over each layer.

    Parameters
    ----------
    first, second : list of Tensor
        Values layer by layer, of one shape, at any two depths.
    p : float, default=2
        At least one; matrices count by their Frobenius norm.

    Returns
    -------
    float
        ``(int_0^1 ||v(t) - w(t)||^p dt)^(1/p)``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.theory import depth_distance
    >>> zero, one = torch.zeros(()), torch.ones(())
    >>> depth_distance([zero], [zero, one, one, zero], p=1)
    0.5
    """
    if not p >= 1:
        raise ValueError(f"p must be at least 1, got {p}.")
    pieces = list(_common_pieces(len(first), len(second)))
    widths = np.array([width for _, _, width in pieces])
    sizes = np.array(
        [float((first[i] - second[j]).detach().double().norm()) for i, j, _ in pieces]
    )
    if np.isinf(p):
        return float(sizes.max())
    return float((widths @ sizes**p) ** (1 / p))


def training_loss(model: Any, X: Any, y: Any) -> float:
    """Return the mean squared distance to the codes, with the penalty of the trainer."""
    error = np.asarray(model.predict(X), dtype=float) - np.asarray(y, dtype=float)
    return float((error**2).reshape(len(error), -1).sum(1).mean()) + _penalty(model)


def _penalty(model: Any) -> float:
    penalty = model.trainer_.penalty if isinstance(model, Trained) else None
    return 0.0 if penalty is None else float(penalty.value(model.network_).detach())


def _limit_loss(model: Any, X: Any, y: Any, n_steps: int) -> float:
    obs, y = model.observe(X, y, dtype=torch.float64)
    x = limit_system(model.network_, obs, n_steps=n_steps)
    return float((x - y).square().sum(1).mean()) + _penalty(model)


def _common_pieces(n_first: int, n_second: int) -> Iterator[tuple[int, int, float]]:
    """Yield the layers of both on every interval where neither changes, and its length."""
    i = j = at = 0
    total = n_first * n_second  # in units of which all times are whole numbers
    while at < total:
        end = min((i + 1) * n_second, (j + 1) * n_first)
        yield i, j, (end - at) / total
        at = end
        i, j = at // n_second, at // n_first
