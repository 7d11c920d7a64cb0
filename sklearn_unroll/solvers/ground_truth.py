"""Independent ground truth from a general convex solver."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional import Observation
from sklearn_unroll.solvers._checks import check_observation, check_positive

__all__ = ["cvxpy_lasso"]


def cvxpy_lasso(obs: Observation, alpha: Tensor | float, *, positive: bool = False) -> Tensor:
    """Minimise ``0.5 ||A x - b||^2 + alpha ||x||_1`` per sample with cvxpy.

    Shares no code with the other solvers; slow, meant for tests and small problems.

    Parameters
    ----------
    obs : Observation
        Data ``b`` of shape (n_samples, n_features) and a dense operator.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    positive : bool, default=False
        Constrain codes to be nonnegative.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        Codes, with dtype and device of ``obs.b``.

    Raises
    ------
    RuntimeError
        If the solver does not report an optimum.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import cvxpy_lasso
    >>> obs = Observation(torch.tensor([[2.0, 0.25]]), Dense(torch.eye(2)))
    >>> cvxpy_lasso(obs, alpha=0.5).round(decimals=4).abs()
    tensor([[1.5000, 0.0000]])
    """
    import cvxpy as cp  # a second to import, and only needed here

    check_observation(obs)
    alpha = check_positive("alpha", alpha, obs)
    alphas = torch.as_tensor(alpha, dtype=torch.float64).cpu().expand(len(obs.b)).numpy()
    codes = []
    for i, weight in enumerate(alphas):
        one = obs.take(slice(i, i + 1))
        A = one.A.D.reshape(one.A.n_components, one.A.n_features).T.double().cpu().numpy()
        x = cp.Variable(A.shape[1], nonneg=positive)
        residual = A @ x - one.b[0].double().cpu().numpy()
        size = cp.sum(x) if positive else cp.norm1(x)
        problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(residual) + weight * size))
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
        if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
            raise RuntimeError(f"cvxpy ended with status {problem.status!r} on sample {i}.")
        codes.append(torch.from_numpy(x.value))
    return torch.stack(codes).to(obs.b)
