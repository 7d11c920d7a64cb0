"""What follows a network's codes: least squares on the support that they found."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.estimators._state import Given
from sklearn_unroll.functional import Dense, Observation, Operator
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.solvers import debias

# How each kind of debiasing treats the support: kept, or repaired with an estimated noise.
DEBIAS = {"least_squares": None, "repair": "estimate"}
CHOOSE_ON = 2000  # pairs


def check_debias(kind: bool | str | None, A: Operator) -> None:
    """Raise where supports are to be solved on, and there are no atoms to solve with."""
    if kind and not isinstance(A, Dense):
        raise ValueError(
            f"debias={kind!r} solves with the atoms of a support and needs a matrix; the "
            f"dictionary is a {type(A).__name__}, which is only applied. Use debias=False."
        )


def debias_codes(codes: Tensor, obs: Observation, kind: str | None, network: Unrolled) -> Tensor:
    """Return a network's codes after the given kind of debiasing."""
    if kind is None:
        return codes
    return debias(codes, obs, noise_std=DEBIAS[kind], keep_for=network)


@torch.no_grad()
def choose_debias(network: Unrolled, given: Given) -> str | None:
    """Return the kind of debiasing with the least error on pairs; the safe one without."""
    if given.target is None:
        return "least_squares"
    obs, y = given.obs.take(slice(CHOOSE_ON)), given.target[:CHOOSE_ON]
    weight = None if given.weight is None else given.weight[:CHOOSE_ON, None]
    codes = torch.cat([network(chunk) for _, chunk in obs.chunks()])

    def error(kind: str | None) -> float:
        squared = (debias_codes(codes, obs, kind, network) - y).square().double()
        return float(squared.sum() if weight is None else (weight * squared).sum())

    return min((*DEBIAS, None), key=error)
