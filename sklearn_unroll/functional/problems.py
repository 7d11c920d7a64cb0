"""Problems as functions: objective value and duality gap, per sample."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.functional.operators import Dense
from sklearn_unroll.functional.penalty import Penalty

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
    return 0.5 * obs.residual(x).square().sum(-1)


def lasso_value(
    x: Tensor, obs: Observation, alpha: Tensor | float, penalty: Penalty | None = None
) -> Tensor:
    """Return ``0.5 ||b - A x||^2 + alpha ||x||_1`` per sample, or ``alpha R(x)``.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    obs : Observation
        Data and operator.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the penalty.
    penalty : Penalty, default=None
        R, such as :class:`GroupL1` for the group lasso; the l1 norm by default.

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
    size = x.abs().sum(-1) if penalty is None else penalty.value(x)
    return least_squares_value(x, obs) + alpha * size


def alpha_max(obs: Observation, *, positive: bool = False) -> Tensor:
    """Return ``||A^T b||_inf`` per sample: from there on the lasso solution is zero.

    Parameters
    ----------
    obs : Observation
        Data and operator.
    positive : bool, default=False
        Whether codes are constrained to be nonnegative; then it is ``max(A^T b, 0)``.

    Returns
    -------
    Tensor of shape (n_samples,)
        The smallest alpha whose solution is exactly zero.
    """
    return peak_of(obs.A.adjoint(obs.b), positive)


def duality_gap(
    x: Tensor,
    obs: Observation,
    alpha: Tensor | float,
    *,
    relative: bool = True,
    positive: bool = False,
    l2: Tensor | float = 0.0,
) -> Tensor:
    """Return the lasso duality gap ``P(x) - D(u)`` per sample; it bounds ``P(x) - min P``.

    The dual point is the best multiple of the residual ``r = b - A x`` that is feasible,
    ``u = s r`` with ``s = clip(<b, r> / ||r||^2, -c, c)`` and ``c = alpha / ||A^T r||_inf``;
    the dual value is ``D(u) = <b, u> - 0.5 ||u||^2``. Kim, Koh, Lustig, Boyd and Gorinevsky
    2007 (their objective is twice ours), with the scaling of Mairal 2010. Over ``x >= 0`` the
    dual constraint is ``A^T u <= alpha`` from above only, so ``c = alpha / max(A^T r)`` there
    and s is not negative.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes; nonnegative, where positive is True.
    obs : Observation
        Data and operator.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive; zero with ``positive=True`` only.
    relative : bool, default=True
        Divide by ``P(0) = 0.5 ||b||^2`` (where b = 0 the gap is divided by 1).
    positive : bool, default=False
        Whether codes are constrained to be nonnegative.
    l2 : float or Tensor of shape (n_components,), default=0.0
        Weight of half the squared l2 norm in ``P``, the elastic net. It is a lasso whose signals
        have one feature more for each atom, zero: so is its gap.

    Returns
    -------
    Tensor of shape (n_samples,)
        Gaps, nonnegative. float32 resolves a relative gap of about 1e-6; use float64 below.

    Notes
    -----
    Nonnegative least squares, ``alpha = 0``, has no dual point at hand. There the gap is that to
    the codes whose l1 norm is at most twice that of x, ``2 ||x||_1 max(A^T r) - <x, A^T r>``
    (Jaggi 2013), and no more than ``P(x)``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation, duality_gap
    >>> obs = Observation(torch.tensor([[2.0, 0.0]]), Dense(torch.eye(2)))
    >>> duality_gap(torch.tensor([[1.5, 0.0]]), obs, 0.5)
    tensor([0.])
    """
    r = obs.residual(x)
    g = obs.A.adjoint(r) - l2 * x
    ridge = (l2 * x.square()).sum(-1)
    value = 0.5 * (r.square().sum(-1) + ridge) + alpha * x.abs().sum(-1)
    peak = peak_of(g, positive)
    gap = gap_from_residual(
        value, r, obs.b, peak, alpha, relative=relative, positive=positive, ridge=ridge
    )
    zero = torch.as_tensor(alpha, dtype=torch.float64, device=x.device) == 0
    if not bool(zero.any()):
        return gap
    ball = 2 * x.abs().sum(-1) * peak - (x * g).sum(-1)
    ball = torch.where((x != 0).any(-1), torch.minimum(ball, value), value)
    ball = torch.where(peak > 0, ball, -(x * g).sum(-1)).clamp_min(0)
    return torch.where(zero, ball / (at_zero(obs.b) if relative else 1.0), gap)


def gap_from_residual(
    value: Tensor,
    r: Tensor,
    b: Tensor,
    peak: Tensor,
    alpha: Tensor | float,
    *,
    relative: bool = True,
    positive: bool = False,
    ridge: Tensor | float = 0.0,
) -> Tensor:
    """Return :func:`duality_gap` where objective, residual and ``||A^T r||_inf`` are at hand.

    And, for the elastic net, ``l2 ||x||^2``; the peak is that of ``A^T r - l2 x`` then.
    """
    tiny = torch.finfo(r.dtype).tiny
    c = alpha / peak.clamp_min(tiny)
    b_r, r_r = (b * r).sum(-1), r.square().sum(-1) + ridge
    s = torch.minimum(torch.maximum(b_r / r_r.clamp_min(tiny), 0 * c if positive else -c), c)
    gap = (value - s * b_r + 0.5 * s.square() * r_r).clamp_min(0)
    return gap / at_zero(b) if relative else gap


def at_zero(b: Tensor) -> Tensor:
    """Return the objective of zero codes, or 1 where that is zero."""
    value = 0.5 * b.square().sum(-1)
    return torch.where(value > 0, value, torch.ones_like(value))


def peak_of(g: Tensor, positive: bool) -> Tensor:
    """Return the largest correlation, of magnitude unless codes are nonnegative."""
    return (g.clamp_min(0) if positive else g.abs()).amax(-1)


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
    return 0.5 * Dense(basis).adjoint(obs.residual(x)).square().sum(-1)
