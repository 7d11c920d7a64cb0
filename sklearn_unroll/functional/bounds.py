"""The lasso by a bound instead of a weight: how far codes are from the best, per sample."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.functional.problems import at_zero, peak_of

__all__ = ["error_gap", "l1_radius_gap"]


def error_gap(
    x: Tensor, obs: Observation, error: Tensor | float, *, positive: bool = False
) -> Tensor:
    """Return a bound on ``1 - min ||z||_1 / ||x||_1`` over ``||b - A z||^2 <= error``.

    The dual of that problem (basis pursuit denoising, Chen, Donoho and Saunders 1998) is
    ``max <b, u> - sqrt(error) ||u||`` over ``||A^T u||_inf <= 1`` (``max(A^T u) <= 1`` for
    nonnegative codes); its point is the residual ``r = b - A x``, over ``||A^T r||_inf``.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes; nonnegative, where positive is True.
    obs : Observation
        Data and operator.
    error : float or Tensor of shape (n_samples,)
        Largest squared norm of a residual, positive.
    positive : bool, default=False
        Whether codes are constrained to be nonnegative.

    Returns
    -------
    Tensor of shape (n_samples,)
        Gaps, relative to the norm of x; infinite where x misses the error by more than rounding
        (``16 eps`` of the energy of b), zero where x is zero and may be.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation, error_gap
    >>> obs = Observation(torch.tensor([[3.0, 0.0]]), Dense(torch.eye(2)))
    >>> error_gap(torch.tensor([[2.0, 0.0]]), obs, 1.0)
    tensor([0.])
    """
    r = obs.residual(x)
    g = obs.A.adjoint(r)
    eps, tiny = torch.finfo(x.dtype).eps, torch.finfo(x.dtype).tiny
    peak = peak_of(g, positive).clamp_min(tiny)
    energy, norm = r.square().sum(-1), x.abs().sum(-1)
    bound = torch.as_tensor(error, dtype=x.dtype, device=x.device)
    least = ((obs.b * r).sum(-1) - bound.sqrt() * energy.sqrt()) / peak
    gap = torch.where(norm > 0, 1 - least / norm.clamp_min(tiny), 0.0).clamp_min(0)
    missed = energy > bound * (1 + 64 * eps) + 16 * eps * obs.b.square().sum(-1)
    return torch.where(missed, torch.inf, gap)


def l1_radius_gap(
    x: Tensor, obs: Observation, l1_radius: Tensor | float, *, positive: bool = False
) -> Tensor:
    """Return a bound on what ``0.5 ||b - A x||^2`` exceeds its minimum over ``||z||_1 <= radius``.

    That of Frank and Wolfe, ``radius ||A^T r||_inf - <x, A^T r>`` with ``r = b - A x`` (Jaggi
    2013), and no more than the value itself; relative to the value at zero codes.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes; nonnegative, where positive is True.
    obs : Observation
        Data and operator.
    l1_radius : float or Tensor of shape (n_samples,)
        Largest l1 norm of codes, positive.
    positive : bool, default=False
        Whether codes are constrained to be nonnegative.

    Returns
    -------
    Tensor of shape (n_samples,)
        Gaps; infinite where the norm of x exceeds the radius by more than rounding.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation, l1_radius_gap
    >>> obs = Observation(torch.tensor([[3.0, 0.0]]), Dense(torch.eye(2)))
    >>> l1_radius_gap(torch.tensor([[2.0, 0.0]]), obs, 2.0)
    tensor([0.])
    """
    r = obs.residual(x)
    g = obs.A.adjoint(r)
    radius = torch.as_tensor(l1_radius, dtype=x.dtype, device=x.device)
    gap = (radius * peak_of(g, positive) - (x * g).sum(-1)).clamp_min(0)
    gap = torch.minimum(gap, 0.5 * r.square().sum(-1)) / at_zero(obs.b)
    missed = x.abs().sum(-1) > radius * (1 + 64 * torch.finfo(x.dtype).eps)
    return torch.where(missed, torch.inf, gap)
