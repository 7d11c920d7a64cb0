"""Problems as functions: objective value and duality gap, per sample."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional.operators import Dense, Observation

__all__ = [
    "alpha_max",
    "duality_gap",
    "lasso_value",
    "least_squares_gap",
    "least_squares_value",
    "range_basis",
]


def least_squares_value(x: Tensor, obs: Observation) -> Tensor:
    """Return ``0.5 ||b - A x||^2`` per sample.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    obs : Observation
        Data and operator.

    Returns
    -------
    Tensor of shape (n_samples,)
        Values.
    """
    return 0.5 * obs.A.residual(obs.b, x).square().sum(-1)


def lasso_value(x: Tensor, obs: Observation, alpha: Tensor | float) -> Tensor:
    """Return ``0.5 ||b - A x||^2 + alpha ||x||_1`` per sample.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    obs : Observation
        Data and operator.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm.

    Returns
    -------
    Tensor of shape (n_samples,)
        Objective values.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation, lasso_value
    >>> obs = Observation(torch.tensor([[2.0, 0.0]]), Dense(torch.eye(2)))
    >>> lasso_value(torch.tensor([[1.0, 0.0]]), obs, 0.5)
    tensor([1.])
    """
    return least_squares_value(x, obs) + alpha * x.abs().sum(-1)


def alpha_max(obs: Observation) -> Tensor:
    """Return ``||A^T b||_inf`` per sample: from there on the lasso solution is zero.

    Parameters
    ----------
    obs : Observation
        Data and operator.

    Returns
    -------
    Tensor of shape (n_samples,)
        The smallest alpha whose solution is exactly zero.
    """
    return obs.A.adjoint(obs.b).abs().amax(-1)


def duality_gap(
    x: Tensor, obs: Observation, alpha: Tensor | float, *, relative: bool = True
) -> Tensor:
    """Return the lasso duality gap ``P(x) - D(u)`` per sample; it bounds ``P(x) - min P``.

    The dual point is the best multiple of the residual ``r = b - A x`` that is feasible,
    ``u = s r`` with ``s = clip(<b, r> / ||r||^2, -c, c)`` and ``c = alpha / ||A^T r||_inf``;
    the dual value is ``D(u) = <b, u> - 0.5 ||u||^2``. Kim, Koh, Lustig, Boyd and Gorinevsky
    2007 (their objective is twice ours), with the scaling of Mairal 2010.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    obs : Observation
        Data and operator.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    relative : bool, default=True
        Divide by ``P(0) = 0.5 ||b||^2`` (where b = 0 the gap is divided by 1).

    Returns
    -------
    Tensor of shape (n_samples,)
        Gaps, nonnegative. float32 resolves a relative gap of about 1e-6; use float64 below.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation, duality_gap
    >>> obs = Observation(torch.tensor([[2.0, 0.0]]), Dense(torch.eye(2)))
    >>> duality_gap(torch.tensor([[1.5, 0.0]]), obs, 0.5)
    tensor([0.])
    """
    r = obs.A.residual(obs.b, x)
    tiny = torch.finfo(r.dtype).tiny
    primal = 0.5 * r.square().sum(-1) + alpha * x.abs().sum(-1)
    c = alpha / obs.A.adjoint(r).abs().amax(-1).clamp_min(tiny)
    s = ((obs.b * r).sum(-1) / r.square().sum(-1).clamp_min(tiny)).clamp(-c, c)
    u = s[:, None] * r
    gap = (primal - (obs.b * u).sum(-1) + 0.5 * u.square().sum(-1)).clamp_min(0)
    if not relative:
        return gap
    at_zero = 0.5 * obs.b.square().sum(-1)
    return gap / torch.where(at_zero > 0, at_zero, torch.ones_like(at_zero))


def range_basis(A: Dense) -> Tensor:
    """Return an orthonormal basis of the range of ``A``, the rows' span of the dictionary.

    Parameters
    ----------
    A : Dense
        Operator.

    Returns
    -------
    Tensor of shape (..., rank_bound, n_features)
        Rows are orthonormal; directions that are numerically absent are zero rows.
    """
    _, singular, basis = torch.linalg.svd(A.D, full_matrices=False)
    tolerance = singular[..., :1] * max(A.D.shape[-2:]) * torch.finfo(A.D.dtype).eps
    return basis * (singular > tolerance)[..., None]


def least_squares_gap(x: Tensor, obs: Observation, basis: Tensor) -> Tensor:
    """Return ``0.5 ||A x - b||^2 - min_x 0.5 ||A x - b||^2`` per sample, exactly.

    The dual of least squares is feasible only where ``A^T u = 0``; its best point is the part
    of the residual outside the range of ``A``, so the gap is half the squared norm of the
    part inside: ``0.5 ||Q r||^2`` with Q an orthonormal basis of the range.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    obs : Observation
        Data and operator.
    basis : Tensor
        The value of :func:`range_basis` for ``obs.A``.

    Returns
    -------
    Tensor of shape (n_samples,)
        Gaps, nonnegative.
    """
    return 0.5 * Dense(basis).adjoint(obs.A.residual(obs.b, x)).square().sum(-1)
