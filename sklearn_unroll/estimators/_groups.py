"""Groups of atoms whose codes are zero together: what ``groups=`` of an estimator says."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.estimators._checked import describe
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.functional import GroupL1

__all__ = ["group_penalty", "groups_of_fit", "weighted"]

_EXPECTED = (
    "groups must be integers, the label of each atom's group, of shape (n_components,), in any "
    "order; or one integer, the size of groups of consecutive atoms"
)


def group_penalty(groups: Any, n_components: int) -> GroupL1:
    """Return the penalty that alpha weighs where atoms have groups.

    Parameters
    ----------
    groups : int or array-like of shape (n_components,)
        What a user gave.
    n_components : int
        Number of atoms.

    Returns
    -------
    GroupL1
        ``sum_g sqrt(d_g) ||z_g||_2`` with ``d_g`` the size of group g.

    Raises
    ------
    ValueError
        If the groups are not valid.
    """
    labels = _labels(groups, n_components)
    return GroupL1(labels, labels.bincount().double().sqrt())


def groups_of_fit(est: Any, given: Given) -> GroupL1 | None:
    """Return the penalty of a fit's groups; raise where training goes on with other groups.

    Parameters
    ----------
    est : estimator
        Whose fit it is.
    given : Given
        Its data.

    Returns
    -------
    GroupL1 or None
        The penalty; None where there are no groups.
    """
    penalty = est.task.penalty(est, given.obs)
    if given.resumes:
        last = getattr(est.network_.layers[0].shrinkage, "penalty", None)
        before = None if last is None else last.groups
        now = None if penalty is None else penalty.groups
        if (before is None) != (now is None) or not (now is None or torch.equal(before, now)):
            raise ValueError(
                "Training cannot go on from the fitted network, whose groups are others. Keep "
                "groups, or set warm_start=False and call fit."
            )
    return penalty


def weighted(penalty: GroupL1, weight: Tensor | float) -> GroupL1:
    """Return a penalty times a weight, which is the same for all atoms of a group.

    Parameters
    ----------
    penalty : GroupL1
        Of weight one.
    weight : float or Tensor of shape (n_components,), (n_samples, 1) or (n_samples, n_components)
        Nonnegative.

    Returns
    -------
    GroupL1
        The penalty.
    """
    own = penalty.weight
    if isinstance(weight, Tensor):
        own = own.to(weight)
        if weight.shape[-1] == len(penalty.groups):
            one = penalty.groups.new_zeros(len(own))
            one[penalty.groups] = torch.arange(len(penalty.groups))  # any atom of each group
            weight = weight[..., one]
    return GroupL1(penalty.groups, weight * own)


def _labels(groups: Any, n_components: int) -> Tensor:
    """Return the numbers of the groups of atoms, from 0, in the order of their labels."""
    if isinstance(groups, Integral) and not isinstance(groups, (bool, np.bool_)):
        if groups < 1:
            raise ValueError(f"{_EXPECTED}, at least 1; got {groups!r}.")
        if n_components % groups:
            raise ValueError(
                f"groups={groups!r} does not divide the {n_components} atoms of the dictionary: "
                f"the last group would have {n_components % groups}. Give one label for each "
                f"atom if it should."
            )
        return torch.arange(n_components) // int(groups)
    try:
        found = groups.detach().cpu().numpy() if isinstance(groups, Tensor) else np.asarray(groups)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{_EXPECTED}; got {describe(groups)}, of different lengths. Groups cannot overlap."
        ) from error
    if found.dtype.kind not in "iu" or found.ndim != 1:
        hint = ""
        if found.ndim == 2:
            hint = " Lists of the atoms in each group could overlap, which is not supported."
        elif found.dtype.kind == "f" and np.isnan(found).any():
            hint = " Every atom needs a group: give one that stands alone a label of its own."
        raise ValueError(f"{_EXPECTED}; got {describe(groups)} and dtype {found.dtype}.{hint}")
    if len(found) != n_components:
        raise ValueError(
            f"groups has {len(found)} labels, but the dictionary has {n_components} atoms: give "
            f"one label for each."
        )
    return torch.from_numpy(np.unique(found, return_inverse=True)[1].astype(np.int64))
