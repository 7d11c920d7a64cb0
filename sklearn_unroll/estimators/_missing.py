"""NaN in X: entries that were not seen, as zeros and a mask that travels with the operator."""

from __future__ import annotations

import math
from typing import Any

import torch
from sklearn.utils import get_tags
from torch import Tensor

from sklearn_unroll.estimators._arrays import to_rows
from sklearn_unroll.functional import Composed, Dense, Mask, Operator
from sklearn_unroll.functional.rows import Rows, blocks
from sklearn_unroll.solvers.masks import is_masked


def split_missing(b: Tensor | Rows) -> tuple[Tensor | Rows, Tensor | None]:
    """Return data with zeros for NaN, and what is seen of them, None where that is all.

    Raises where nothing of a sample is seen.
    """
    if not any(_lacks(b[rows]) for rows in blocks(b)):
        return b, None
    visible = torch.cat([~torch.isnan(b[rows]) for rows in blocks(b)])
    check_rows_seen(visible)
    if isinstance(b, Rows):
        return Rows(lambda rows: b[rows].nan_to_num(nan=0.0), b.shape, b.new_empty(0)), visible
    return torch.where(visible, b, 0), visible


def _lacks(b: Tensor) -> bool:
    # A sum says of most that nothing is missing, in a fraction of the time.
    return math.isnan(float(b.sum())) and bool(torch.isnan(b).any())


def check_rows_seen(visible: Tensor) -> None:
    """Raise for samples of which nothing is seen."""
    blank = (~visible.any(1)).nonzero()[:, 0].tolist()
    if blank:
        raise ValueError(
            f"X has {len(blank)} sample(s) of which nothing was seen, all NaN, at rows "
            f"{blank[:5]}{'...' if len(blank) > 5 else ''}: there is nothing to code. Leave them "
            f"out."
        )


def check_seen(X: Any, counts: Tensor, features: bool) -> None:
    """Raise for samples that count, of which nothing is seen, and for features unseen in all."""
    b = to_rows(X, dtype=None, device=torch.device("cpu"))
    # A sum tells faster, and of numbers so large that theirs is none, what follows tells.
    if not any(bool(torch.isnan(b[rows].sum())) for rows in blocks(b)):
        return
    check_rows_seen(
        torch.cat(
            [(~torch.isnan(b[rows]) | ~counts[rows, None]).any(1, True) for rows in blocks(b)]
        )
    )
    seen = torch.stack(
        [(~torch.isnan(b[rows]) & counts[rows, None]).any(0) for rows in blocks(b)]
    ).any(0)
    never = (~seen).nonzero()[:, 0].tolist()
    if features and never:
        raise ValueError(
            f"X has {len(never)} feature(s) that no sample has seen, all NaN, in columns "
            f"{never[:5]}{'...' if len(never) > 5 else ''}: no atom can be learned there. Leave "
            f"them out."
        )


def takes_missing(coder: Any) -> bool:
    """Return whether the coder of a dictionary in learning takes NaN for what was not seen."""
    return coder is None or bool(get_tags(coder).input_tags.allow_nan)


def filled(b: Tensor, codes: Tensor, D: Tensor) -> Tensor:
    """Return signals with what their codes say in place of what was not seen.

    ``||m (x - z D)||^2 <= ||x_filled - z D||^2`` for all D, with equality and the same derivative
    at the D that filled in: a surrogate of the signals that are seen, and statistics of complete
    ones go on (Mairal 2013, Stochastic majorization-minimization).
    """
    unseen = torch.isnan(b)
    return torch.where(unseen, codes.to(b) @ D.to(b), b) if bool(unseen.any()) else b


def filled_by_means(b: Tensor) -> Tensor:
    """Return signals with the mean of a feature in place of what was not seen of it."""
    return torch.where(torch.isnan(b), b.nanmean(0).nan_to_num(nan=0.0), b)


def energy_seen(b: Tensor, weight: Tensor) -> float:
    """Return ``sum_i w_i 0.5 ||x_i||^2`` over what is seen, the objective of zero codes."""
    return 0.5 * float(weight @ b.nan_to_num(nan=0.0).square().sum(1))


def observed(A: Operator, visible: Tensor | None) -> Operator:
    """Return what of an operator's signals is seen."""
    return A if visible is None else Composed(A, Mask(visible))


def atoms_of(A: Operator) -> Dense:
    """Return the dictionary behind a mask, or itself."""
    return A.first if is_masked(A) else A


def behind_mask(A: Operator, dictionary: Dense) -> Operator:
    """Return another dictionary behind the mask of an operator, if it has one."""
    return Composed(dictionary, A.second) if is_masked(A) else dictionary
