"""How a layer shrinks a point: to the codes, given what its rule says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sklearn_unroll.functional import (
    L1,
    GroupL1,
    bernoulli_gauss_mean,
    group_norms,
    group_resize,
    smooth_soft,
    soft,
    support_select,
)
from sklearn_unroll.functional._given import tensor_of
from sklearn_unroll.nn.parts import Part
from sklearn_unroll.nn.rules import Shrink

__all__ = [
    "ConditionalMean",
    "GroupShrinkage",
    "ProxShrinkage",
    "Shrinkage",
    "SmoothThreshold",
    "SoftThreshold",
    "SupportSelection",
]


class Shrinkage(Part, ABC):
    """A function of a point and of how to shrink it; any other callable will do as well."""

    needs, offers = ("threshold",), ("entries",)
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

    def margin(self, factor: float) -> float:
        """Return the threshold that noise seldom exceeds, relative to its root mean square.

        Parameters
        ----------
        factor : float
            That for the noise of one entry.

        Returns
        -------
        float
            The same by default.
        """
        return factor

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
        if isinstance(penalty, GroupL1):
            self.offers = ()

    def __call__(self, z: Tensor, how: Shrink) -> Tensor:
        """Return the prox at z, of the step ``theta``."""
        return self.penalty.prox(z, how.theta)

    def factor(self) -> float | None:
        """Return the weight of an l1 norm that is the same for all entries."""
        weight = self.penalty.weight if type(self.penalty) is L1 else None
        return float(weight) if isinstance(weight, (int, float)) else None


class GroupShrinkage(Shrinkage):
    """What shrinks an entry, of the norms of groups; groups keep their directions.

    ``z_g s(||z_g|| / w_g) w_g / ||z_g||`` with s the soft threshold, the prox of :class:`GroupL1`,
    or support selection: then the longest groups pass, as many as the count says.

    Parameters
    ----------
    penalty : GroupL1
        Its groups, and their positive weights w, the same for all samples.
    shrinkage : SoftThreshold, SupportSelection or callable, default=SoftThreshold()
        Maps the norms, of shape (n_samples, n_groups), and how to shrink them to others.

    Raises
    ------
    TypeError
        If the penalty has no groups.
    ValueError
        If a weight is not positive, or samples have weights of their own; or if the shrinkage
        is for entries with a sign.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import GroupL1
    >>> from sklearn_unroll.nn import GroupShrinkage, Shrink
    >>> shrink = GroupShrinkage(GroupL1([0, 1, 0, 1]))
    >>> shrink(torch.tensor([[3.0, 0.6, 4.0, 0.8]]), Shrink(torch.tensor(2.5)))
    tensor([[1.5000, 0.0000, 2.0000, 0.0000]])
    """

    def __init__(
        self, penalty: GroupL1, shrinkage: Callable[[Tensor, Shrink], Tensor] = SOFT
    ) -> None:
        if not isinstance(penalty, GroupL1):
            raise TypeError(
                f"GroupShrinkage needs the groups of a GroupL1, got {type(penalty).__name__}."
            )
        weight = tensor_of(penalty.weight, "weight")
        if weight.ndim > 1 or not bool((weight > 0).all()):
            raise ValueError(
                f"GroupShrinkage needs positive weights of the groups, the same for all samples; "
                f"got GroupL1 with weight={penalty.weight!r}."
            )
        if isinstance(
            shrinkage, (SmoothThreshold, ConditionalMean, ProxShrinkage, GroupShrinkage)
        ):
            raise ValueError(
                f"GroupShrinkage shrinks norms, which have no sign, as SoftThreshold and "
                f"SupportSelection do; got {type(shrinkage).__name__}."
            )
        self.penalty, self.shrinkage = penalty, shrinkage
        self.needs, self.offers = getattr(shrinkage, "needs", ()), ()
        self.selects = getattr(shrinkage, "selects", False)

    def __call__(self, z: Tensor, how: Shrink) -> Tensor:
        """Return the groups, shrunk."""
        labels = self.penalty.labels(z)
        norms = group_norms(z, labels) / self._weight(z)
        return group_resize(z, norms, self.shrinkage(norms, how), labels)

    def margin(self, factor: float) -> float:
        """Return the same for groups: norms of d entries are ``sqrt(d)`` and seldom 2 more."""
        groups = torch.as_tensor(self.penalty.groups)
        sizes = (groups.bincount() if groups.ndim else groups).double()
        return float(((sizes.sqrt() + factor - 1) / self._weight(sizes)).mean())

    def _weight(self, like: Tensor) -> Tensor:
        return torch.as_tensor(self.penalty.weight, dtype=like.dtype, device=like.device)


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
