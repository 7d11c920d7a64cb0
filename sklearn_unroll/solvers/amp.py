"""Approximate message passing: fast where the matrix is large and random, and only there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation, duality_gap, soft
from sklearn_unroll.solvers._checks import check_observation
from sklearn_unroll.solvers.first_order import column
from sklearn_unroll.solvers.solver import Method, Solution, minimize

__all__ = ["AMP", "amp"]


class Message(NamedTuple):
    """The state of AMP: codes, and the residual with its Onsager term."""

    x: Tensor
    v: Tensor


class AMP(Method):
    """``x+ = soft(x + A^T v, lam ||v|| / sqrt(m))``, ``v+ = b - A x+ + v ||x+||_0 / m``.

    Donoho, Maleki and Montanari 2009, "Message-passing algorithms for compressed sensing", with
    the noise level estimated from v. Written for atoms of unit norm; others, which should be of
    about equal norm, are divided by c, the root mean square of their norms. A fixed point solves
    the square-root lasso ``||b - A x|| + lam c / sqrt(m) ||x||_1``, that is the lasso of weight
    ``lam c ||b - A x|| / sqrt(m)``.

    Parameters
    ----------
    obs : Observation
        Data and operator, which is Dense.
    lam : float, default=1.1
        Factor on the noise level, nonnegative: 1.1 suits two unknowns a measurement, more
        suits more.
    """

    per_sample = ("c",)

    def __init__(self, obs: Observation, lam: float = 1.1) -> None:
        if not isinstance(obs.A, Dense):
            raise TypeError(f"AMP needs a Dense operator, got {type(obs.A).__name__}.")
        squares = obs.A.D.square().sum(-1).mean(-1)
        self.c = column(torch.where(squares > 0, squares, torch.ones_like(squares)).sqrt())
        self.lam = lam

    def init(self, obs: Observation) -> Message:
        """Return ``x_0 = 0``, ``v_0 = b``."""
        return Message(obs.b.new_zeros(len(obs.b), obs.A.n_components), obs.b)

    def step(self, state: Message, obs: Observation) -> Message:
        """Run one iteration."""
        x, v = state
        m = v.shape[1]
        level = v.square().mean(1, keepdim=True).sqrt()
        x = soft(self.c * x + obs.A.adjoint(v) / self.c, self.lam * level) / self.c
        active = torch.count_nonzero(x, 1)[:, None].to(x)
        return Message(x, obs.residual(x) + active / m * v)

    def gap(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the relative duality gap of the lasso whose solution a fixed point is."""
        level = obs.residual(x).square().mean(1).sqrt()
        return duality_gap(x, obs, (self.lam * self.c * level[:, None])[:, 0])


def amp(
    obs: Observation, *, lam: float = 1.1, tol: float = 1e-6, max_iter: int = 1000
) -> Solution:
    """Solve the square-root lasso by approximate message passing, see :class:`AMP`.

    For large matrices with i.i.d. entries it takes tens of iterations; on others it may diverge.

    Parameters
    ----------
    obs : Observation
        Data ``b`` of shape (n_samples, n_features) and operator, which is Dense.
    lam : float, default=1.1
        Factor on the noise level, nonnegative.
    tol : float, default=1e-6
        Tolerance on the relative duality gap; float32 reaches about 1e-6.
    max_iter : int, default=1000
        Largest number of iterations.

    Returns
    -------
    Solution
        Codes, gaps, iterations and flags per sample; look at ``converged``.

    Raises
    ------
    FloatingPointError
        If the codes diverge.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import amp
    >>> A = Dense(torch.randn(200, 100, generator=torch.Generator().manual_seed(0)) / 10)
    >>> x = torch.zeros(1, 200)
    >>> x[0, :5] = 1.0
    >>> bool(((amp(Observation(A(x), A)).x - x).abs() < 1e-2).all())
    True
    """
    check_observation(obs)
    if not lam >= 0:
        raise ValueError(f"lam must be nonnegative, got {lam!r}.")
    try:
        return minimize(AMP(obs, lam), obs, tol=tol, max_iter=max_iter)
    except FloatingPointError as error:
        raise FloatingPointError(
            "AMP diverged: it is made for large matrices with i.i.d. entries. Try a larger lam, "
            "or fista, which converges on any."
        ) from error
