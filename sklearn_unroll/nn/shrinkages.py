"""How a layer shrinks a point: to the codes, given what its rule says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from sklearn_unroll.functional import (
    L1,
    bernoulli_gauss_mean,
    smooth_soft,
    soft,
    support_select,
)
from sklearn_unroll.nn.parts import Part
from sklearn_unroll.nn.rules import Shrink

__all__ = [
    "ConditionalMean",
    "ProxShrinkage",
    "Shrinkage",
    "SmoothThreshold",
    "SoftThreshold",
    "SupportSelection",
]


class Shrinkage(Part, ABC):
    """A function of a point and of how to shrink it; any other callable will do as well."""

    needs = ("threshold",)
    # Whether the largest entries pass, as many as the count says.
    selects: bool = False

    def factor(self) -> float | None:
        """Return c where this is the soft threshold at ``c theta``; default: None, it is not.

        A sparse run asks for it, see :mod:`sklearn_unroll.nn.sparse`.

        Returns
        -------
        float or None
            The factor.
        """
        return None

    @abstractmethod
    def __call__(self, z: Tensor, how: Shrink) -> Tensor:
        """Return the codes."""


class SoftThreshold(Shrinkage):
    """``sign(z) max(|z| - theta, 0)``, see :func:`~sklearn_unroll.functional.soft`."""

    def __call__(self, z: Tensor, how: Shrink) -> Tensor:
        """Return the soft threshold of z."""
        return soft(z, how.theta)

    def factor(self) -> float:
        """Return one."""
        return 1.0


SOFT = SoftThreshold()  # what layers have by default


class SupportSelection(Shrinkage):
    """The soft threshold, but for the ``count`` largest entries above it, which pass.

    See :func:`~sklearn_unroll.functional.support_select`.
    """

    needs = ("threshold", "count")
    selects = True

    # NOTE[DIFF]: the papers' derivative takes no notice of the jump at the threshold of entries
    # that pass. Training then drifts: its own loss rises by decibels while the rate goes to zero.
    def __call__(self, z: Tensor, how: Shrink) -> Tensor:
        """Return z with all but the largest entries shrunk."""
        return support_select(z, how.theta, how.count, spread=0.2)

    def factor(self) -> float:
        """Return one, for those that do not pass."""
        return 1.0


class SmoothThreshold(Shrinkage):
    """The smooth threshold, see :func:`~sklearn_unroll.functional.smooth_soft`.

    Parameters
    ----------
    sharpness : float
        Positive; at infinity it is the soft threshold.
    """

    def __init__(self, sharpness: float) -> None:
        self.sharpness = sharpness

    def __call__(self, z: Tensor, how: Shrink) -> Tensor:
        """Return the smooth threshold of z."""
        return smooth_soft(z, how.theta, self.sharpness)


class ProxShrinkage(Shrinkage):
    """The prox of a penalty.

    Parameters
    ----------
    penalty : Penalty
        Or anything with a ``prox``.
    """

    def __init__(self, penalty: Any) -> None:
        self.penalty = penalty

    def __call__(self, z: Tensor, how: Shrink) -> Tensor:
        """Return the prox at z, of the step ``theta``."""
        return self.penalty.prox(z, how.theta)

    def factor(self) -> float | None:
        """Return the weight of an l1 norm that is the same for all entries."""
        weight = self.penalty.weight if type(self.penalty) is L1 else None
        return float(weight) if isinstance(weight, (int, float)) else None


class ConditionalMean(Shrinkage):
    """The mean of the codes given z, see :func:`~sklearn_unroll.functional.bernoulli_gauss_mean`.

    Parameters
    ----------
    sparsity : float
        Probability of a nonzero, between 0 and 1.
    variance : float
        Variance of a nonzero, positive.
    """

    needs = ("variance",)

    def __init__(self, sparsity: float, variance: float) -> None:
        self.sparsity, self.variance = sparsity, variance

    def __call__(self, z: Tensor, how: Shrink) -> Tensor:
        """Return the mean, with theta the variance of the error of z."""
        return bernoulli_gauss_mean(z, how.theta, self.sparsity, self.variance)
