"""ADMM for the lasso: one factorisation, or an operator's own, and two solves an iteration."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Convolution, Dense, Observation, Operator, duality_gap
from sklearn_unroll.solvers._checks import check_observation, check_positive
from sklearn_unroll.solvers.first_order import column, first_codes
from sklearn_unroll.solvers.solver import Method, Solution, minimize

__all__ = ["ADMM", "admm"]


_FIRST = 2.0  # a convolution's first rho, relative to the mean square of its atoms' norms
_RATIO = 2.0  # of the relative residuals that rho is to bring about
_SLACK = 0.1  # relative change of rho that is not worth it
_REACH = 2.0  # factor from the first rho while young, later down from the last one, ever up
_LEAST = 0.05  # relative to the first rho: below it balance costs more than it gives
_YOUNG, _OLD = 100, 2000  # iterations; of the old rho is fixed
_OFTEN, _SELDOM = 20, 100  # iterations between changes, of the young and later


def mean_square(A: Operator) -> Tensor:
    """Return about the mean squared norm of the atoms, ``tr(A^T A) / n``, from one product."""
    x = torch.arange(A.n_components, dtype=torch.float64, device=A.like.device).square().cos()
    x = x.to(A.like)[None]
    return A(x).square().sum(1).max() / x.square().sum()


class Splitting(NamedTuple):
    """The state of :class:`ADMM`.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        The sparse iterate z, called ``x`` as in every method.
    u : Tensor of shape (n_samples, n_components)
        The dual, divided by rho.
    correlations : Tensor of shape (n_samples, n_components)
        ``A^T b``; of no columns where the operator needs none.
    rho : Tensor of shape (n_samples, 1)
        Weight of the constraint.
    age : Tensor of shape (n_samples, 1)
        Iterations so far.
    """

    x: Tensor
    u: Tensor
    correlations: Tensor
    rho: Tensor
    age: Tensor


class ADMM(Method):
    """Alternating directions on ``0.5 ||b - A v||^2 + alpha ||x||_1`` subject to ``v = x``.

    ``v = (A^T A + rho I)^{-1} (A^T b + rho (x - u))``, ``v^ = c v + (1 - c) x``,
    ``x+ = soft(v^ + u, alpha / rho)``, ``u+ = u + v^ - x+`` (Boyd, Parikh, Chu, Peleato and
    Eckstein 2011, Section 6.4, with over-relaxation, Eq. 3.19). The inverse of a dense operator
    is applied through the Cholesky factor of the smaller of ``A^T A + rho I`` and
    ``A A^T + rho I`` (their Section 4.2.4), that of another one by its ``proximal``.

    Of a :class:`~sklearn_unroll.functional.Convolution` each sample's rho follows its residuals:
    ``||v - x+|| / max(||v||, ||x+||)`` and ``||x+ - x|| / ||u+||`` are kept at a ratio of 2
    (Wohlberg 2017, "ADMM penalty parameter selection by residual balancing", relative residuals).
    It changes every 20 iterations, and within a factor 2, up to the hundredth, as early residuals
    would make it far too small where alpha is small; then every 100, within a twentieth and twice
    the first; and from iteration 2000 on it is fixed, so that convergence is that of a fixed rho.

    Parameters
    ----------
    obs : Observation
        Data and operator; a dense one may be per sample.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    rho : float, default=None
        Weight of the constraint, positive; by default a tenth of ``||A||_2^2`` of a dense
        operator, the mean square of the atoms' norms of others, estimated, and of a convolution
        one that adapts, from twice that.
    relaxation : float, default=1.8
        The number c, between 1 (none) and 2.
    x0 : Tensor of shape (n_samples, n_components), default=None
        Where to start, zero by default.
    positive : bool, default=False
        Constrain codes to be nonnegative.
    """

    per_sample = ("alpha", "x0")

    def __init__(
        self,
        obs: Observation,
        alpha: Tensor | float,
        *,
        rho: float | None = None,
        relaxation: float = 1.8,
        x0: Tensor | None = None,
        positive: bool = False,
    ) -> None:
        self.alpha, self.relaxation = alpha, relaxation
        self.x0, self.positive = x0, positive
        self.factor, dense = None, isinstance(obs.A, Dense)
        self.adapts = rho is None and isinstance(obs.A, Convolution)
        if rho is None:
            size = 0.1 * obs.A.lipschitz().max() if dense else mean_square(obs.A)
            rho = (float(size) or 1.0) * (_FIRST if self.adapts else 1)
        self.rho = float(rho)
        if dense:
            D = obs.A.D
            self.wide = D.shape[-2] > D.shape[-1]
            gram = D.mT @ D if self.wide else D @ D.mT
            gram.diagonal(dim1=-2, dim2=-1).add_(self.rho)
            self.factor = torch.linalg.cholesky(gram)

    def init(self, obs: Observation) -> Splitting:
        """Return ``x_0``, and the dual that is right if x_0 is."""
        x = first_codes(obs, self.x0, self.positive)
        u = obs.A.adjoint(obs.residual(x)) / self.rho
        correlations = x[:, :0] if self.factor is None else obs.A.adjoint(obs.b)
        rho = x.new_full((len(x), 1), self.rho)
        return Splitting(x, u, correlations, rho, torch.zeros_like(rho, dtype=torch.long))

    def least_squares(self, q: Tensor, obs: Observation) -> Tensor:
        """Return ``(A^T A + rho I)^{-1} q`` for every row of q, of a dense operator.

        Parameters
        ----------
        q : Tensor of shape (n_samples, n_components)
            Right-hand sides.
        obs : Observation
            Data and operator.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Solutions.
        """
        if not self.wide:
            return self._solve(q)
        # (A^T A + rho I)^{-1} = (I - A^T (A A^T + rho I)^{-1} A) / rho
        return (q - obs.A.adjoint(self._solve(obs.A(q)))) / self.rho

    def _solve(self, c: Tensor) -> Tensor:
        if self.factor.ndim == 2:
            return torch.cholesky_solve(c.T, self.factor).T
        return torch.cholesky_solve(c[:, :, None], self.factor)[:, :, 0]

    def step(self, state: Splitting, obs: Observation) -> Splitting:
        """Run one iteration."""
        x, u, correlations, rho, age = state
        if self.factor is not None:
            v = self.least_squares(correlations + self.rho * (x - u), obs)
        else:
            v = obs.A.proximal(obs.b, x - u, rho if self.adapts else self.rho)
        relaxed = torch.lerp(x, v, self.relaxation).add_(u)
        theta = column(self.alpha) / rho
        # What the threshold takes away is the dual: the clipped point.
        u = relaxed.clamp(None if self.positive else -theta, theta)
        state = Splitting(relaxed.sub_(u), u, correlations, rho, age + 1)
        if self.adapts:
            number = int(age[0, 0])
            every = _OFTEN if number <= _YOUNG else _SELDOM
            if 0 < number <= _OLD and number % every == 0:
                first = torch.full_like(rho, self.rho)
                return self._balance(state, v, x, first if number <= _YOUNG else rho)
        return state

    def _balance(self, state: Splitting, v: Tensor, before: Tensor, centre: Tensor) -> Splitting:
        """Return the state with each sample's rho nearer to where its residuals balance."""
        x, u, rho = state.x, state.u, state.rho
        size = torch.maximum(_norms(v), _norms(x))
        # Products in place of quotients: any of the norms may be zero.
        primal, dual = _norms(v - x) * _norms(u), _RATIO * _norms(x - before) * size
        factor = (primal / dual.clamp_min(torch.finfo(x.dtype).tiny)).sqrt()
        factor = torch.where((factor - 1).abs() < _SLACK, torch.ones_like(factor), factor)
        new = (rho * factor).clamp(centre / _REACH, centre * _REACH)
        new = new.clamp(self.rho * _LEAST, self.rho * _REACH)
        return state._replace(u=u * (rho / new), rho=new)

    def gap(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the relative duality gap of the lasso."""
        return duality_gap(x, obs, self.alpha, positive=self.positive)

    def take(self, rows: Tensor | slice) -> Method:
        """Return the method for a subset of the samples."""
        new = super().take(rows)
        if self.factor is not None and self.factor.ndim == 3:
            new.factor = self.factor[rows]
        return new


def _norms(x: Tensor) -> Tensor:
    return x.norm(dim=1, keepdim=True)


def admm(
    obs: Observation,
    alpha: Tensor | float,
    *,
    rho: float | None = None,
    tol: float = 1e-6,
    max_iter: int = 10_000,
) -> Solution:
    """Minimise ``0.5 ||A x - b||^2 + alpha ||x||_1`` by ADMM.

    Parameters
    ----------
    obs : Observation
        Data ``b`` of shape (n_samples, n_features) and operator; one that is neither dense nor
        has ``solve_normal`` in closed form takes conjugate gradients in every iteration.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    rho : float, default=None
        Weight of the constraint, positive; by default a tenth of ``||A||_2^2`` of a dense
        operator, the mean square of the atoms' norms of others, estimated, and of a convolution
        one that adapts, from twice that.
    tol : float, default=1e-6
        Tolerance on the relative duality gap; float32 reaches about 1e-6.
    max_iter : int, default=10000
        Largest number of iterations.

    Returns
    -------
    Solution
        Codes, gaps, iterations and flags per sample.

    Raises
    ------
    ValueError
        If data and operator do not fit, or alpha or rho is not positive.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import admm
    >>> obs = Observation(torch.tensor([[2.0, 0.25]]), Dense(torch.eye(2)))
    >>> admm(obs, alpha=0.5).x.round(decimals=2)
    tensor([[1.5000, 0.0000]])
    """
    check_observation(obs)
    alpha = check_positive("alpha", alpha, obs)
    if rho is not None:
        rho = check_positive("rho", rho, obs)
        if isinstance(rho, Tensor) and rho.ndim:
            raise ValueError(
                f"rho must be one number, as one factor serves all samples; got {rho!r}."
            )
    return minimize(ADMM(obs, alpha, rho=rho), obs, tol=tol, max_iter=max_iter)
