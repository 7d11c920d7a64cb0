"""Shrinking sets of entries together: norms of disjoint groups, and their soft threshold.

Groups are given by labels, the number of each entry's group from 0, in any order; a label for
each entry, so that groups cannot overlap.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["group_norms", "group_resize", "group_soft"]


def group_norms(x: Tensor, labels: Tensor) -> Tensor:
    """Return ``||x_g||_2`` of every group.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    labels : Tensor of int of shape (n_components,)
        The number of each entry's group, from 0.

    Returns
    -------
    Tensor of shape (n_samples, n_groups)
        Norms; at zero, where a norm has no derivative, theirs is zero.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import group_norms
    >>> group_norms(torch.tensor([[3.0, 1.0, 4.0]]), torch.tensor([0, 1, 0]))
    tensor([[5., 1.]])
    """
    # A product: index_add, and the gradient of index_select, add in any order on accelerators.
    sums = x.square() @ _membership(labels, int(labels.max()) + 1, x).T
    # A root of zero has an infinite slope, which times zero would be NaN.
    tiny = torch.finfo(x.dtype).tiny
    return torch.where(sums < tiny, 0.0, sums.clamp_min(tiny).sqrt())


def group_resize(x: Tensor, norms: Tensor, wanted: Tensor, labels: Tensor) -> Tensor:
    """Return ``x_g wanted_g / norm_g``: groups of other norms, and of the same directions.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    norms : Tensor of shape (n_samples, n_groups)
        Their norms, or a multiple in each group.
    wanted : Tensor of shape (n_samples, n_groups)
        Those wanted, or the same multiple of them.
    labels : Tensor of int of shape (n_components,)
        The number of each entry's group, from 0.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        The codes, group by group longer or shorter; zero stays zero.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import group_norms, group_resize
    >>> x, labels = torch.tensor([[3.0, 1.0, 4.0]]), torch.tensor([0, 1, 0])
    >>> group_resize(x, group_norms(x, labels), torch.tensor([[10.0, 0.0]]), labels)
    tensor([[6., 0., 8.]])
    """
    factors = wanted / norms.clamp_min(torch.finfo(x.dtype).tiny ** 0.5)
    return x * (factors @ _membership(labels, factors.shape[1], x))


def group_soft(z: Tensor, theta: Tensor | float, labels: Tensor) -> Tensor:
    """Soft threshold of groups, ``z_g max(1 - theta / ||z_g||_2, 0)``.

    The prox of ``theta sum_g ||z_g||_2``; Yuan and Lin 2006, "Model selection and estimation in
    regression with grouped variables", Eq. 2.4. With one entry in each group it is :func:`soft`.

    Parameters
    ----------
    z : Tensor of shape (n_samples, n_components)
        The point to shrink.
    theta : float or Tensor of shape (), (n_samples, 1), (n_groups,) or (n_samples, n_groups)
        Nonnegative threshold.
    labels : Tensor of int of shape (n_components,)
        The number of each entry's group, from 0.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        The groups, shortened by theta; zero where shorter than that.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import group_soft
    >>> group_soft(torch.tensor([[3.0, 0.6, 4.0, 0.8]]), 2.5, torch.tensor([0, 1, 0, 1]))
    tensor([[1.5000, 0.0000, 2.0000, 0.0000]])
    """
    norms = group_norms(z, labels)
    return group_resize(z, norms, (norms - theta).relu(), labels)


def _membership(labels: Tensor, n_groups: int, like: Tensor) -> Tensor:
    """Return a matrix of shape (n_groups, n_components): one where an entry is in a group."""
    numbers = torch.arange(n_groups, device=labels.device)
    return (numbers[:, None] == labels).to(like.dtype)
