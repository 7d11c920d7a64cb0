"""The convex penalties of the package; see :class:`Penalty` for what they have in common."""

from __future__ import annotations

from numbers import Real
from typing import Any

import torch
from torch import Tensor

from sklearn_unroll.functional._given import tensor_of
from sklearn_unroll.functional.groups import group_norms, group_soft
from sklearn_unroll.functional.penalty import Entrywise, Norm, Penalty, like, nonnegative
from sklearn_unroll.functional.prox import soft

__all__ = [
    "L1",
    "PENALTIES",
    "Box",
    "ElasticNet",
    "GroupL1",
    "NonnegativeL1",
    "Quadratic",
    "Zero",
]


class _Weighted(Penalty):
    """A weight times a function of the entries."""

    def __init__(self, weight: Any = 1.0) -> None:
        self.weight = nonnegative("weight", weight)


class L1(_Weighted, Norm):
    """``R(x) = weight ||x||_1``; its prox is the soft threshold.

    Parameters
    ----------
    weight : float or array of shape (n_samples, 1) or (n_components,), default=1.0
        Nonnegative.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import L1
    >>> L1(weight=2.0).prox(torch.tensor([[-3.0, 0.5, 2.0]]), step=0.5)
    tensor([[-2., 0., 1.]])
    """

    def value(self, x: Tensor) -> Tensor:
        """Return ``weight ||x||_1``."""
        return (like(x, self.weight) * x.abs()).sum(-1)

    def prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return the soft threshold at ``step weight``."""
        return soft(x, step * like(x, self.weight))

    def entrywise(self) -> Entrywise:
        """Return the weights."""
        return Entrywise(self.weight, 1.0)

    def dual_norm(self, w: Tensor) -> Tensor:
        """Return ``max_i |w_i| / weight_i`` of every row."""
        return _largest(w.abs(), self.weight)


class NonnegativeL1(_Weighted, Norm):
    """``R(x) = weight ||x||_1`` for ``x >= 0``, else infinity.

    Parameters
    ----------
    weight : float or array of shape (n_samples, 1) or (n_components,), default=1.0
        Nonnegative.
    """

    def value(self, x: Tensor) -> Tensor:
        """Return ``weight sum(x)``, infinity where an entry is negative."""
        value = (like(x, self.weight) * x).sum(-1)
        return value.masked_fill((x < 0).any(-1), torch.inf)

    def prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return ``max(x - step weight, 0)``."""
        return (x - step * like(x, self.weight)).relu()

    def entrywise(self) -> Entrywise:
        """Return the weights."""
        return Entrywise(self.weight, 1.0, positive=True)

    def dual_norm(self, w: Tensor) -> Tensor:
        """Return ``max_i max(w_i, 0) / weight_i`` of every row."""
        return _largest(w.relu(), self.weight)


class GroupL1(Norm):
    """``R(x) = weight sum_g ||x_g||_2`` over disjoint groups of entries: the group lasso.

    Yuan and Lin 2006, "Model selection and estimation in regression with grouped variables",
    without their factor ``sqrt(size of the group)``; it may be part of the weight.

    Parameters
    ----------
    groups : int or array of int of shape (n_components,)
        Size of groups of consecutive entries, or the number of each entry's group, from 0.
    weight : float or array, default=1.0
        Nonnegative; of shape (n_samples, 1), (n_groups,) or (n_samples, n_groups).

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import GroupL1
    >>> GroupL1(groups=2).prox(torch.tensor([[3.0, 4.0, 0.6, 0.8]]), step=2.5)
    tensor([[1.5000, 2.0000, 0.0000, 0.0000]])
    """

    def __init__(self, groups: Any, weight: Any = 1.0) -> None:
        labels = tensor_of(groups, "groups")
        if (
            labels.is_floating_point()
            or labels.ndim > 1
            or bool((labels < (labels.ndim == 0)).any())
        ):
            raise ValueError(
                f"groups must be the size of consecutive groups, at least 1, or the number of "
                f"each entry's group, from 0; got {groups!r}."
            )
        self.groups = groups
        self.weight = nonnegative("weight", weight)

    def value(self, x: Tensor) -> Tensor:
        """Return the weighted sum of the groups' norms."""
        return (like(x, self.weight) * group_norms(x, self.labels(x))).sum(-1)

    def prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return the groups, shortened by ``step weight``, zero where shorter than that."""
        return group_soft(x, step * like(x, self.weight), self.labels(x))

    def dual_norm(self, w: Tensor) -> Tensor:
        """Return ``max_g ||w_g||_2 / weight_g`` of every row."""
        return _largest(group_norms(w, self.labels(w)), self.weight)

    def labels(self, x: Tensor) -> Tensor:
        """Return the number of the group of each entry.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor of shape (n_components,)
            Integers from 0, where x is.
        """
        labels = tensor_of(self.groups, "groups").to(x.device)
        if labels.ndim == 0:
            labels = torch.arange(x.shape[1], device=x.device) // self.groups
        if len(labels) != x.shape[1]:
            raise ValueError(
                f"groups has {len(labels)} entries, but the codes have {x.shape[1]} components."
            )
        return labels


class ElasticNet(Penalty):
    """``R(x) = weight (l1_ratio ||x||_1 + (1 - l1_ratio) / 2 ||x||_2^2)``.

    Zou and Hastie 2005, "Regularization and variable selection via the elastic net", with
    scikit-learn's parameters.

    Parameters
    ----------
    weight : float or array of shape (n_samples, 1) or (n_components,), default=1.0
        Nonnegative.
    l1_ratio : float or Tensor like weight, default=0.5
        Share of the l1 norm, from 0 to 1.
    positive : bool, default=False
        Infinite unless ``x >= 0``.
    """

    def __init__(
        self, weight: Any = 1.0, l1_ratio: float | Tensor = 0.5, positive: bool = False
    ) -> None:
        number = isinstance(l1_ratio, (Real, Tensor))
        if not number or not bool(torch.as_tensor((l1_ratio >= 0) & (l1_ratio <= 1)).all()):
            raise ValueError(f"l1_ratio must lie in [0, 1], got {l1_ratio!r}.")
        self.weight = nonnegative("weight", weight)
        self.l1_ratio = l1_ratio
        self.positive = positive

    def value(self, x: Tensor) -> Tensor:
        """Return the value of every row."""
        ratio = like(x, self.l1_ratio)
        each = ratio * x.abs() + 0.5 * (1 - ratio) * x.square()
        value = (like(x, self.weight) * each).sum(-1)
        return torch.where((x < 0).any(-1), torch.inf, value) if self.positive else value

    def prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return the soft threshold, then a shrinkage by a factor."""
        s, ratio = step * like(x, self.weight), like(x, self.l1_ratio)
        shrunk = soft(x, ratio * s) / (1 + (1 - ratio) * s)
        return shrunk.clamp_min(0) if self.positive else shrunk

    def entrywise(self) -> Entrywise | None:
        """Return the weights and the share of the l1 norm, if it is one for all."""
        if isinstance(self.l1_ratio, Tensor):
            return None
        return Entrywise(self.weight, float(self.l1_ratio), self.positive)


class Box(Penalty):
    """``R(x) = 0`` for ``lower <= x <= upper``, else infinity; its prox is the projection.

    Parameters
    ----------
    lower : float or array, default=0.0
        Smallest entries, of a shape that broadcasts against the codes; may be -inf.
    upper : float or array, default=1.0
        Largest entries; may be inf.
    """

    def __init__(self, lower: Any = 0.0, upper: Any = 1.0) -> None:
        if not bool((tensor_of(lower, "lower") <= tensor_of(upper, "upper")).all()):
            raise ValueError(f"lower must not exceed upper, got {lower!r} and {upper!r}.")
        self.lower, self.upper = lower, upper

    def value(self, x: Tensor) -> Tensor:
        """Return zero inside the box, infinity outside."""
        outside = ((x < like(x, self.lower)) | (x > like(x, self.upper))).any(-1)
        return torch.zeros_like(x[:, 0]).masked_fill(outside, torch.inf)

    def prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return the nearest point in the box, whatever the step."""
        lower, upper = like(x, self.lower), like(x, self.upper)
        if isinstance(lower, Tensor) or isinstance(upper, Tensor):
            lower, upper = (tensor_of(end, "end", x) for end in (lower, upper))
        return x.clamp(lower, upper)


class Quadratic(_Weighted):
    """``R(x) = weight / 2 ||x||_2^2``: ridge, or Tikhonov, regularisation.

    Parameters
    ----------
    weight : float or array of shape (n_samples, 1) or (n_components,), default=1.0
        Nonnegative.
    """

    def value(self, x: Tensor) -> Tensor:
        """Return the value of every row."""
        return 0.5 * (like(x, self.weight) * x.square()).sum(-1)

    def prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return ``x / (1 + step weight)``."""
        return x / (1 + step * like(x, self.weight))

    def entrywise(self) -> Entrywise:
        """Return the weights."""
        return Entrywise(self.weight, 0.0)


class Zero(Penalty):
    """``R(x) = 0``: what remains of a proximal gradient method is gradient descent."""

    def value(self, x: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(x[:, 0])

    def prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return x."""
        return x

    def entrywise(self) -> Entrywise:
        """Return the weights, which are zero."""
        return Entrywise(0.0, 1.0)


def _largest(sizes: Tensor, weight: Any) -> Tensor:
    """Return the largest size over its weight; a weight of zero leaves room for zero only."""
    weight = tensor_of(weight, "weight", sizes)
    return (sizes / weight.clamp_min(torch.finfo(sizes.dtype).tiny)).amax(-1)


# Those that need no parameters, by name.
PENALTIES: dict[str, type[Penalty]] = {
    "l1": L1,
    "nonnegative_l1": NonnegativeL1,
    "elastic_net": ElasticNet,
    "box": Box,
    "quadratic": Quadratic,
    "zero": Zero,
}
