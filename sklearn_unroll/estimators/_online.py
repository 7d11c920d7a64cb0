"""Online dictionary learning: a dictionary, the statistics of codes so far, and what moves them.

The loop of a batch (Mairal, Bach, Ponce and Sapiro 2009, Algorithm 1)::

    code        the batch over the dictionary, roughly at first
    forget      statistics of codes over older dictionaries
    add         those of the batch
    update      the atoms, one after another
    replace     atoms that no code uses by what is left of the batch
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from sklearn_unroll.estimators._missing import energy_seen, filled
from sklearn_unroll.solvers import DictionaryStatistics
from sklearn_unroll.solvers.dictionary import descend_atoms, update_pays

_ROUGH, _FALLING = 0.06, 0.2  # relative duality gaps: of the first codes, and by steps
_MANY = 64  # atoms, for which rough codes save time
_FINE = 1e-4  # that of codes to measure with
_UNUSED = 1e-6  # use of an atom, relative to the mean, below which it is replaced
_ALIKE = 0.99  # cosine from which on a direction is no new atom
_ROUNDING = 1e-12  # of an energy


class Coded(NamedTuple):
    """A batch over a dictionary.

    Parameters
    ----------
    codes : Tensor of shape (n_samples, n_components)
        Codes.
    penalty : Tensor of shape (n_samples,)
        Their penalties.
    slope : callable or None
        Maps weights of samples to what the change of codes with the dictionary adds to the
        derivative of their weighted objectives; None where codes are taken as they are.
    cost : Tensor of shape (n_samples,) or None
        What the dictionary is judged by instead of the objective, where codes meet a bound.
    """

    codes: Tensor
    penalty: Tensor
    slope: Callable[[Tensor], Tensor] | None = None
    cost: Tensor | None = None


class Coding:
    """What codes batches, and gives a fitted coder in the end; one that does not learn itself.

    Parameters
    ----------
    coder : estimator
        What codes, without a dictionary.
    """

    compiles = False  # whether numba is loaded

    def __init__(self, coder: Any) -> None:
        self.coder = coder

    def calm(self) -> AbstractContextManager[None]:
        """Return in what to learn from a batch: by default torch has its threads."""
        return nullcontext()

    def follow(self, b: Tensor, weight: Tensor, D: Tensor) -> None:
        """Learn from a batch before it is coded; by default nothing."""

    def derived(self, dictionary: Any, X: Any) -> Any:
        """Return a fitted coder over a dictionary."""
        return clone(self.coder).set_params(dictionary=dictionary).fit(X)

    def finished(self, dictionary: Any, X: Any, final: Any) -> Any:
        """Return the fitted coder over the final dictionary; what is to be trained is on final."""
        return self.derived(dictionary, X)


@dataclass
class OnlineLearner:
    """A dictionary that learns from one batch after another.

    Parameters
    ----------
    D : Tensor of shape (n_components, n_features)
        The dictionary, in float64.
    statistics : DictionaryStatistics
        Of the codes so far.
    coding : Coding
        Called with a batch, the dictionary and a tolerance it returns a :class:`Coded`; it is
        shown every batch before, to ``follow``.
    memory : float
        Samples an atom that statistics remember in the end.
    positive : bool
        Whether atoms are nonnegative.
    horizon : float, default=inf
        Most samples to remember: those of one pass.
    n_seen : float, default=0
        Weight of the samples so far.
    n_steps : int, default=0
        Batches so far.
    """

    D: Tensor
    statistics: DictionaryStatistics
    coding: Any
    memory: float
    positive: bool
    horizon: float = np.inf
    n_seen: float = 0.0
    n_steps: int = 0

    def learn(self, b: Tensor, weight: Tensor) -> float:
        """Learn from a batch; return its share of the statistics."""
        self.n_steps += 1
        with self.coding.calm():
            return self._step(b, weight)

    def _step(self, b: Tensor, weight: Tensor) -> float:
        tol = min(_ROUGH, _FALLING * self.n_steps**-0.5) * min(1.0, len(self.D) / _MANY)
        self.coding.follow(b, weight, self.D)
        codes, penalty, slope, cost = self.coding(b, self.D, tol)
        at_zero = energy_seen(b, weight)
        b = filled(b, codes, self.D)
        batch = DictionaryStatistics.of(codes, b, weight, penalty)
        check_range(b, batch.energy)
        if slope is not None:
            batch = batch.tilted(self.D, slope(weight))
        self.n_seen += batch.weight
        share = min(1.0, batch.weight / self.window())
        self.statistics = self.statistics * (1 - share) + batch
        before, self.last = self.D, (batch, self.D, at_zero, weight, cost)
        self.D = before.clone()
        # Where codes are compiled numba is there, and saves time on the smallest dictionary.
        fast = self.coding.compiles or update_pays(self.D)
        descend_atoms(self.D, self.statistics, self.positive, 1, fast)
        self._replace_unused(b, codes, before)
        return share

    def last_loss(self) -> float:
        """Return the relative objective of the last batch, before it was learned from."""
        with self.coding.calm():
            return judged(*self.last)

    def window(self) -> float:
        """Return the number of samples to remember: half of those seen, less and less of them.

        NOTE[DIFF]: Mairal et al. remember all alike, or forget by a power of their number; the
        average over all held back the objective on patches and on Gaussian atoms.
        """
        return min(1 / (2 / self.n_seen + 1 / (self.memory * len(self.D))), self.horizon)

    def measure(self, b: Tensor, weight: Tensor) -> float:
        """Return the objective of samples relative to that of zero codes."""
        with self.coding.calm():
            codes, penalty, _, cost = self.coding(b, self.D, _FINE)
            found = DictionaryStatistics.of(codes, filled(b, codes, self.D), weight, penalty)
            return judged(found, self.D, energy_seen(b, weight), weight, cost)

    def _replace_unused(self, b: Tensor, codes: Tensor, D: Tensor) -> None:
        """Put directions of a batch's residuals in the place of atoms that no code uses."""
        gram, cross = self.statistics.gram, self.statistics.cross
        used = gram.diagonal()
        idle = used <= _UNUSED * used.mean()
        if not bool(idle.any()):
            return
        R = b - codes.to(b) @ D
        R = R.clamp_min(0) if self.positive else R
        # The penalty leaves residuals along atoms that are there, and rounding leaves some more.
        known = (unit_rows(R) @ self.D[~idle].T).abs() > _ALIKE
        known = known.any(1) | (R.square().sum(1) <= _ROUNDING * b.square().sum(1).max())
        R = R[~known]
        atoms = unit_rows(R[leading_rows(R, int(idle.sum()))])
        places = idle.nonzero()[: len(atoms), 0]
        self.D[places] = atoms
        gram[places], gram[:, places], cross[places] = 0.0, 0.0, 0.0


def check_range(b: Tensor, energy: float) -> None:
    """Raise where the squares of signals are not numbers that can be computed with."""
    if not np.isfinite(energy) or (energy == 0 and bool(b.any())):
        raise ValueError(
            f"X has values of a size (largest {float(b.abs().max()):.3g}) whose squares leave the "
            f"range of float64. Rescale X, and alpha with it."
        )


def judged(
    batch: DictionaryStatistics, D: Tensor, at_zero: float, weight: Tensor, cost: Tensor | None
) -> float:
    """Return the objective of samples relative to that of zero codes; one where both are zero.

    Or the mean cost of samples whose codes meet a bound.
    """
    if cost is not None:
        return float(weight @ cost) / batch.weight
    return batch.value(D) * batch.weight / at_zero if at_zero > 0 else 1.0


def leading_rows(R: Tensor, n: int) -> list[int]:
    """Return at most n rows: the largest one, then always what is largest outside their span."""
    left, chosen = R.clone(), []
    for _ in range(min(n, *R.shape)):
        size = left.square().sum(1)
        best = int(size.argmax())
        if not size[best] > _ROUNDING * R[best].square().sum():
            break
        chosen.append(best)
        direction = left[best] / size[best].sqrt()
        left -= torch.outer(left @ direction, direction)
    return chosen


def unit_rows(R: Tensor) -> Tensor:
    """Return rows of norm one; zero rows stay zero."""
    norms = torch.linalg.vector_norm(R, dim=1, keepdim=True)
    return R / torch.where(norms > 0, norms, torch.ones_like(norms))


def draw_atoms(
    b: Tensor, weight: Tensor, n: int, positive: bool, rng: np.random.RandomState
) -> Tensor:
    """Return n signals of norm one, drawn by norm and weight; zero where one is like another.

    They are drawn at equal distances in the order of a random projection: neither the order of
    the samples nor whether one stands there twice or has twice the weight matters.
    """
    b = b.clamp_min(0) if positive else b
    direction = torch.from_numpy(rng.standard_normal(b.shape[1]))
    start = float(rng.uniform())
    order = (b @ direction).argsort(stable=True)
    atoms, shares = unit_rows(b)[order], weight[order] * torch.linalg.vector_norm(b[order], dim=1)
    until = shares.cumsum(0)
    if not until[-1] > 0:
        return b.new_zeros(n, b.shape[1])
    places = (torch.arange(n, dtype=b.dtype) + start) / n * until[-1]
    atoms = atoms[torch.searchsorted(until, places).clamp_max(len(b) - 1)]
    again = (atoms @ atoms.T).abs().triu(1).amax(0) > _ALIKE
    return atoms * ~again[:, None]
