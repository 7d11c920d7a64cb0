"""What data a network was trained on, in few numbers, and what is said of data unlike them."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.estimators._guard import Guard
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.estimators._units import safe_norms
from sklearn_unroll.exceptions import UnfamiliarDataWarning
from sklearn_unroll.functional import Observation
from sklearn_unroll.nn import Unrolled

__all__ = ["Familiar", "familiar", "warn_if_unfamiliar"]

_LOOK_AT = 2000  # samples
_TRY = 50  # samples that are tried in other units
_FACTOR = 10.0  # on the norms seen in a fit, beyond which observations are of another size
_LEAST = 0.5  # share of the least likeness seen in a fit, below which they are of another kind


class Familiar(NamedTuple):
    """The observations of a fit, in the units of the network.

    Parameters
    ----------
    smallest, largest : float
        Norms; 0 and infinity where codes scale with the observations.
    profile : Tensor of shape (n_features,)
        Root mean square of each feature.
    likeness : float
        The least cosine, but for one in a hundred, between a sample's magnitudes and the profile.
    """

    smallest: float
    largest: float
    profile: Tensor
    likeness: float


@torch.no_grad()
def familiar(network: Unrolled, given: Given) -> Familiar | None:
    """Return what a fit has seen; None where there was nothing but zeros.

    Parameters
    ----------
    network : Unrolled
        The trained network.
    given : Given
        What it was trained on.
    """
    unit, norms = _directions(given.obs.b)
    if not len(norms):
        return None
    profile = unit.square().mean(0).sqrt()
    likeness = torch.quantile(unit.abs() @ profile, 0.01)
    sizes = (float(norms.min()), float(norms.max()))
    if _is_homogeneous(network, given.obs.take(slice(_TRY))):
        sizes = (0.0, math.inf)
    return Familiar(*sizes, profile, float(likeness))


@torch.no_grad()
def warn_if_unfamiliar(est: Any, obs: Observation, guard: Guard | None) -> None:
    """Warn where observations differ by far in size or in kind from those of the fit.

    Where the guard knows the problem itself, it says so, and only if it matters.

    Parameters
    ----------
    est : estimator
        Fitted, for codes.
    obs : Observation
        The data, in the units of the network.
    guard : Guard or None
        Its guard.
    """
    seen = est.familiar_
    if seen is None or (guard is not None and guard.region == "objective"):
        return
    unit, norms = _directions(obs.b)
    if not len(norms):
        return
    norm = float(norms.median())
    likeness = float((unit.abs() @ seen.profile.to(unit)).median())
    if norm > _FACTOR * seen.largest or norm < seen.smallest / _FACTOR:
        how = (
            f"their median norm is {norm:.3g}, and those of fit went from {seen.smallest:.3g} to "
            f"{seen.largest:.3g}. Give data in the units of those of fit"
        )
    elif likeness < _LEAST * seen.likeness:
        how = (
            f"their energy lies in other features: the cosine of their magnitudes with the mean "
            f"of those of fit is {likeness:.2g}, and was above {seen.likeness:.2g} there. Check "
            f"the order of the features (a shift of k-space, say), or fit on such data"
        )
    else:
        return
    warnings.warn(
        f"{type(est).__name__} has met observations unlike those it was trained on, and nothing "
        f"is known of its codes: {how}.",
        UnfamiliarDataWarning,
        stacklevel=6,
    )


def _is_homogeneous(network: Unrolled, obs: Observation) -> bool:
    """Return whether codes scale with observations, as of networks that measure them."""
    factor = 64.0
    plain = network(Observation(obs.b, obs.A))
    found = network(Observation(factor * obs.b, obs.A))
    error = (found - factor * plain).double().norm()
    return bool(error <= 1e-3 * (factor * plain).double().norm())


def _directions(b: Tensor) -> tuple[Tensor, Tensor]:
    """Return observations of norm one, and their norms, of the first ones that are not zero."""
    b = b[:_LOOK_AT]
    norms = safe_norms(b)
    some = norms[:, 0] > 0
    return b[some] / norms[some], norms[some, 0]
