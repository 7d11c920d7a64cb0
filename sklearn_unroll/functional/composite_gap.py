"""How far a code is from the optimum of ``f(x) + R(x)``: Fenchel's dual at the gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.special import entr

from sklearn_unroll.functional._given import tensor_of
from sklearn_unroll.functional.composite import Composite, LeastSquares, Logistic
from sklearn_unroll.functional.operators import Dense
from sklearn_unroll.functional.penalties import (
    L1,
    Box,
    ElasticNet,
    NonnegativeL1,
    Zero,
)
from sklearn_unroll.functional.penalty import Norm
from sklearn_unroll.functional.problems import (
    gap_from_residual,
    least_squares_gap,
    range_basis,
)

__all__ = ["composite_gap"]


@torch.no_grad()
def composite_gap(x: Tensor, problem: Composite, *, relative: bool = True) -> Tensor:
    """Return ``F(x) + f*(c u) + R*(-c A^T u)`` per sample: it bounds ``F(x) - min F``.

    With ``f(A x)`` and its gradient u at ``A x``; c in [0, 1] is the largest factor for which
    the conjugate ``R*`` is finite (Rockafellar 1970, Section 31), and for the lasso and the group
    lasso the best one, as in :func:`duality_gap`: where R is a norm, ``R*`` is zero in the unit
    ball of its dual norm, which of groups is ``max_g ||w_g||_2 / weight_g``. For least squares and
    logistic loss with L1, NonnegativeL1, GroupL1, ElasticNet and Box, and least squares alone.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes in the domain of R.
    problem : Composite
        The problem.
    relative : bool, default=True
        Divide by ``F(x_0)`` of the problem's start (by 1 where that is zero or infinite).

    Returns
    -------
    Tensor of shape (n_samples,)
        Gaps, nonnegative; infinite for other problems, about which nothing is known here.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Composite, Dense, L1, LeastSquares, composite_gap
    >>> A = Dense(torch.eye(2))
    >>> problem = Composite.of(torch.tensor([[2.0, 0.0]]), A, LeastSquares(), L1(0.5))
    >>> composite_gap(torch.tensor([[1.5, 0.0]]), problem)
    tensor([0.])
    """
    gap = _gap(x, problem).clamp_min(0)
    if not relative:
        return gap
    first = problem.value(problem.first())
    return gap / torch.where((first > 0) & torch.isfinite(first), first, torch.ones_like(first))


def _gap(x: Tensor, problem: Composite) -> Tensor:
    f, R, b, A = problem.f, problem.R, problem.b, problem.A
    if isinstance(f, LeastSquares) and isinstance(R, Zero) and isinstance(A, Dense):
        return least_squares_gap(x, problem, range_basis(A))
    value = problem.value(x)
    if isinstance(f, LeastSquares) and isinstance(R, Norm):
        r, positive = A.residual(b, x), isinstance(R, NonnegativeL1)
        peak = R.dual_norm(A.adjoint(r))
        return gap_from_residual(value, r, b, peak, 1.0, relative=False, positive=positive)
    if isinstance(f, LeastSquares):
        u = -A.residual(b, x)
    elif isinstance(f, Logistic):
        u = -b * torch.sigmoid(-b * A(x)) / b.shape[1]
    else:
        return torch.full_like(value, torch.inf)
    w = -A.adjoint(u)
    found = _penalty_dual(w, R)
    if found is None:
        return torch.full_like(value, torch.inf)
    c, conjugate = found
    u = c * u
    if isinstance(f, LeastSquares):
        return value + 0.5 * u.square().sum(1) + (b * u).sum(1) + conjugate
    s = (-b * u * b.shape[1]).clamp(0, 1)
    return value - (entr(s) + entr(1 - s)).mean(1) + conjugate


def _penalty_dual(w: Tensor, R: object) -> tuple[Tensor, Tensor] | None:
    """Return the largest feasible factor on w, and ``R*`` of the scaled w."""
    if isinstance(R, Box):
        lower, upper = (tensor_of(end, "end", w) for end in (R.lower, R.upper))
        ends = torch.where(w > 0, upper * w.clamp_min(0), lower * w.clamp_max(0))
        return torch.ones_like(w[:, :1]), ends.sum(1)
    if isinstance(R, ElasticNet):
        weight, ratio = tensor_of(R.weight, "weight", w), tensor_of(R.l1_ratio, "l1_ratio", w)
        if bool((ratio >= 1).any()):
            return _penalty_dual(w, (NonnegativeL1 if R.positive else L1)(R.weight))
        over = ((w if R.positive else w.abs()) - ratio * weight).relu().square()
        ridge = (1 - ratio) * weight
        return torch.ones_like(w[:, :1]), (0.5 * over / ridge).sum(1)
    if isinstance(R, Norm):
        return 1 / R.dual_norm(w)[:, None].clamp_min(1), torch.zeros_like(w[:, 0])
    return None
