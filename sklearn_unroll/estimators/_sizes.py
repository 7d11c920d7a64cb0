"""In which units a network sees observations, codes and atoms: what a fit settles of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor

from sklearn_unroll.estimators._units import (
    Scale,
    Units,
    mean_norm,
    norms_of,
    relative_alphas,
    relative_norms,
    scale_of,
    scale_of_pictures,
)
from sklearn_unroll.functional import Dense, GroupL1, Observation


def option(est: Any, name: str) -> Any:
    """Return a constructor parameter, None where the class has none of that name."""
    return getattr(est, name) if name in _parameters(type(est)) else None


@lru_cache  # a signature takes longer to read than some samples to code
def _parameters(kind: type) -> frozenset[str]:
    return frozenset(kind._get_param_names())


def sizes_of_fit(
    task: Any, est: Any, obs: Observation, codes: Tensor | None, weight: Tensor | None, keep: bool
) -> tuple[float | None, Scale | None]:
    """Return the mean norm of observations and the sizes in pairs, where they are units of a fit.

    Parameters
    ----------
    task : Codes
        The task.
    est : estimator
        Whose task it is.
    obs : Observation
        Data and operator, in the user's units.
    codes : Tensor of shape (n_samples, n_components) or None
        True codes.
    weight : Tensor of shape (n_samples,) or None
        Weights of the samples.
    keep : bool
        Whether units are those of the last fit.
    """
    if keep:
        return est.norm_, est.scale_
    norm = mean_norm(obs.b, weight) if _normalizes(est, codes is not None) else None
    pairs = option(est, "normalize") == "auto" and est.scales(codes is not None)
    if codes is None or not (norm is not None or pairs):
        return norm, None
    ones = obs.b.new_empty(len(obs.b), 1).fill_(1)
    relative = ones if norm is None else relative_norms(obs.b, norm)
    norms = _norms(task, est, obs)
    if norms is not None or (task.operator == "dictionary" and isinstance(obs.A, Dense)):
        return norm, scale_of(codes, obs.A, relative, weight, norms)
    return norm, scale_of_pictures(codes, relative, weight)


def _normalizes(est: Any, has_y: bool) -> bool:
    """Return whether a fit brings observations to one norm."""
    given, relative = option(est, "normalize"), option(est, "alpha_relative")
    if relative and given is True:
        raise ValueError(
            "normalize=True and alpha_relative=True are two units for one observation: its "
            "norm, and the alpha from which on its codes are zero. Choose one."
        )
    if given == "auto":
        return not relative and est.normalizes(has_y)
    return bool(given)


def units_of(
    task: Any, est: Any, obs: Observation, norm: float | None, scale: Scale | None
) -> Units:
    """Return the units that the network wants data and operator in.

    Parameters
    ----------
    task : Codes
        The task.
    est : estimator
        Whose task it is.
    obs : Observation
        Data and operator, in the user's units.
    norm : float or None
        Mean norm of the observations of the fit; None where they stay as they are.
    scale : Scale or None
        Sizes in the pairs of the fit.

    Returns
    -------
    Units
        Norms of atoms and of samples.
    """
    atoms = _norms(task, est, obs)
    if scale is not None and scale.atoms != 1:
        atoms = obs.b.new_empty(obs.A.n_components).fill_(scale.atoms)
    if option(est, "alpha_relative"):
        R = est.unit_penalty(obs.A.n_components)
        return Units(atoms, relative_alphas(Units(atoms, None).rows_inside(obs), R))
    samples = None if norm is None else relative_norms(obs.b, norm)
    if scale is not None:
        samples = obs.b.new_empty(len(obs.b), 1).fill_(1) if samples is None else samples
        samples = samples * scale.codes
    return Units(atoms, samples)


def _norms(task: Any, est: Any, obs: Observation) -> Tensor | None:
    """Return the norms of atoms which the network is to see with norm one; None for no such."""
    if not task.unit_atoms:
        return None
    R = est.unit_penalty(obs.A.n_components)
    return norms_of(obs.A, R if isinstance(R, GroupL1) else None)
