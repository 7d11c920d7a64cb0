"""Samples that see some entries: who shares a mask, and dictionaries without what is unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.functional.mask import without_mask
from sklearn_unroll.functional.operators import Operator
from sklearn_unroll.solvers._checks import check_observation

ALIKE = 32  # samples with one mask, from which on they share a dictionary of their own
_NUMBERS = 2**22  # in dictionaries of samples at a time, on the CPU


def is_masked(A: Operator) -> bool:
    """Return whether an operator is one dictionary with a mask: ``Composed(Dense, Mask)``.

    Parameters
    ----------
    A : Operator
        Any operator.

    Returns
    -------
    bool
        Whether it is.
    """
    inner, visible = without_mask(A)
    return visible is not None and isinstance(inner, Dense) and not inner.per_sample


def by_masks(
    obs: Observation, least: int = ALIKE
) -> tuple[Iterator[tuple[Tensor, Observation]], Tensor]:
    """Return the samples that share a mask with many, with the dictionary that they share.

    Such a dictionary has only the features that they see.

    Parameters
    ----------
    obs : Observation
        Data and a dictionary with a mask.
    least : int, default=32
        How many are many.

    Returns
    -------
    tuple of (iterator of (Tensor, Observation), Tensor)
        Which rows, and their problem; and the rows of all other samples.
    """
    visible = visible_of(obs)
    bits = np.packbits(visible.cpu().numpy(), axis=1)
    keys = np.ascontiguousarray(bits).view(f"V{bits.shape[1]}")[:, 0]
    _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    which = torch.from_numpy(which).to(obs.b.device)
    shares = which.argsort(stable=True).split(counts.tolist())

    def alike() -> Iterator[tuple[Tensor, Observation]]:
        for rows in shares:
            if len(rows) < least:
                continue
            seen = visible[rows[0]]
            yield rows, Observation(obs.b[rows][:, seen], Dense(obs.A.first.D[:, seen]))

    few = torch.from_numpy(counts < least).to(which.device)[which]
    return alike(), few.nonzero()[:, 0]


def each_mask(obs: Observation, solve: Callable[[Observation, Tensor], Any]) -> Any:
    """Return what a solver of dense dictionaries finds for the samples of each mask, in order.

    Parameters
    ----------
    obs : Observation
        Data and a dictionary with a mask.
    solve : callable
        Takes a problem and which rows it is of; returns a NamedTuple of tensors, one row each.

    Returns
    -------
    NamedTuple of Tensor
        Of all samples.
    """
    return put_in_order((rows, solve(part, rows)) for rows, part in by_masks(obs, 1)[0])


def put_in_order(parts: Iterable[tuple[Tensor, Any]]) -> Any:
    """Return what was found for groups of samples as it belongs to all of them.

    Parameters
    ----------
    parts : iterable of (Tensor, NamedTuple of Tensor)
        Which rows, and what was found for them.

    Returns
    -------
    NamedTuple of Tensor
        Of all samples, in the order of their rows.
    """
    rows, found = zip(*parts, strict=True)
    back = torch.cat(rows).argsort()
    return type(found[0])(*(torch.cat(field)[back] for field in zip(*found, strict=True)))


def dense_parts(
    obs: Observation, rows: Tensor | None = None
) -> Iterator[tuple[Tensor, Observation]]:
    """Yield samples, a few at a time, each with a dictionary of its own: zero where unseen.

    Parameters
    ----------
    obs : Observation
        Data and a dictionary with a mask.
    rows : Tensor of shape (n_rows,), default=None
        Which samples, all by default.

    Yields
    ------
    tuple of (Tensor, Observation)
        Which rows, and their problem.
    """
    D = obs.A.first.D
    rows = torch.arange(len(obs.b), device=obs.b.device) if rows is None else rows
    most = _NUMBERS * (1 if D.device.type == "cpu" else 64)
    for some in rows.split(max(1, most // D.numel())):
        yield some, Observation(obs.b[some], Dense(D * visible_of(obs)[some][:, None, :]))


def checked(name: str, obs: Observation) -> Observation:
    """Return data with zeros where nothing is seen; raise unless there are a mask and atoms."""
    if not is_masked(obs.A):
        raise TypeError(
            f"{name} needs one dictionary with a mask, Composed(Dense(D), Mask(visible)); got "
            f"{type(obs.A).__name__}."
        )
    if isinstance(obs.b, Tensor) and obs.b.shape == obs.A.second.visible.shape:
        obs = obs._replace(b=obs.A.second(obs.b))
    check_observation(Observation(obs.b, obs.A.first))
    if obs.A.per_sample and len(obs.A.second.visible) != len(obs.b):
        raise ValueError(
            f"{len(obs.A.second.visible)} masks do not fit {len(obs.b)} observations."
        )
    return obs


def visible_of(obs: Observation) -> Tensor:
    return obs.A.second.visible.expand(obs.b.shape)
