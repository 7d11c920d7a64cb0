"""Gradient descent, ISTA and FISTA: batched, on any device, in float32 or float64."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import (
    Observation,
    adjoint_step,
    duality_gap,
    least_squares_gap,
    range_basis,
    soft,
)
from sklearn_unroll.solvers._checks import check_observation, check_positive
from sklearn_unroll.solvers.solver import Method, Solution, minimize

__all__ = ["FISTA", "ISTA", "GradientDescent", "fista", "gradient_descent", "ista"]


class Iterate(NamedTuple):
    """The state of a method without memory."""

    x: Tensor


class Momentum(NamedTuple):
    """The state of an accelerated method: iterate, extrapolated point, ``t_k``."""

    x: Tensor
    y: Tensor
    t: Tensor


def _column(value: Tensor | float) -> Tensor | float:
    """Make a per-sample value broadcast over codes."""
    return value[:, None] if isinstance(value, Tensor) and value.ndim == 1 else value


def _rows(value: Tensor | float, rows: Tensor | slice) -> Tensor | float:
    """Take the rows of a value that may be per sample."""
    return value[rows] if isinstance(value, Tensor) and value.ndim else value


def _zeros(obs: Observation) -> Tensor:
    return obs.b.new_zeros(len(obs.b), obs.A.n_components)


def _step_size(obs: Observation, step: Tensor | float | None) -> Tensor | float:
    """Return ``1 / L`` unless a step is given; where A = 0 any step will do."""
    if step is not None:
        return step
    L = obs.A.lipschitz()
    return 1 / torch.where(L > 0, L, torch.ones_like(L))


def _prox_grad(x: Tensor, obs: Observation, alpha: Tensor | float, step: Tensor | float) -> Tensor:
    """Return ``soft(x + step A^T (b - A x), step alpha)``."""
    return soft(adjoint_step(x, obs, step), step * _column(alpha))


def _accelerated(state: Momentum, x: Tensor, restart: bool = True) -> Momentum:
    """Return the state after a step from ``state.y`` to x: Beck and Teboulle 2009, Eqs. 4.2, 4.3.

    A sample restarts where ``<y_k - x_{k+1}, x_{k+1} - x_k> > 0``.
    """
    move = x - state.x
    t = state.t
    if restart:
        uphill = torch.linalg.vecdot(state.y - x, move)[:, None] > 0
        t = torch.where(uphill, torch.ones_like(t), t)
    t_next = (1 + torch.sqrt(1 + 4 * t.square())) / 2
    # With t = 1 the factor is 0: a restarted sample goes on from x without momentum.
    return Momentum(x, torch.addcmul(x, (t - 1) / t_next, move), t_next)


class GradientDescent(Method):
    """``x+ = x + step A^T (b - A x)`` on ``0.5 ||A x - b||^2``.

    Parameters
    ----------
    obs : Observation
        Data and operator; they set the default step.
    step : float or Tensor, default=None
        Step size, ``1 / L`` by default.
    """

    def __init__(self, obs: Observation, step: Tensor | float | None = None) -> None:
        self.step_size = _step_size(obs, step)
        self.basis = range_basis(obs.A)

    def init(self, obs: Observation) -> Iterate:
        """Return ``x_0 = 0``."""
        return Iterate(_zeros(obs))

    def step(self, state: Iterate, obs: Observation) -> Iterate:
        """Run one iteration."""
        return Iterate(adjoint_step(state.x, obs, self.step_size))

    def gap(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the exact suboptimality relative to ``0.5 ||b||^2``."""
        at_zero = 0.5 * obs.b.square().sum(-1)
        gap = least_squares_gap(x, obs, self.basis)
        return gap / torch.where(at_zero > 0, at_zero, torch.ones_like(at_zero))

    def take(self, rows: Tensor | slice) -> GradientDescent:
        """Return the method for a subset of the samples."""
        new = object.__new__(GradientDescent)
        new.step_size = _rows(self.step_size, rows)
        new.basis = self.basis[rows] if self.basis.ndim == 3 else self.basis
        return new


class ISTA(Method):
    """``x+ = soft(x + step A^T (b - A x), step alpha)``: the proximal gradient method.

    Parameters
    ----------
    obs : Observation
        Data and operator; they set the default step.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    step : float or Tensor, default=None
        Step size, ``1 / L`` by default.
    """

    def __init__(
        self, obs: Observation, alpha: Tensor | float, step: Tensor | float | None = None
    ) -> None:
        self.alpha = alpha
        self.step_size = _step_size(obs, step)

    def init(self, obs: Observation) -> Iterate:
        """Return ``x_0 = 0``."""
        return Iterate(_zeros(obs))

    def step(self, state: Iterate, obs: Observation) -> Iterate:
        """Run one iteration."""
        return Iterate(_prox_grad(state.x, obs, self.alpha, self.step_size))

    def gap(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the relative duality gap of the lasso."""
        return duality_gap(x, obs, self.alpha, relative=True)

    def take(self, rows: Tensor | slice) -> ISTA:
        """Return the method for a subset of the samples."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.alpha, new.step_size = _rows(self.alpha, rows), _rows(self.step_size, rows)
        return new


class FISTA(Method):
    """ISTA at an extrapolated point, with an adaptive restart per sample.

    ``y_k = x_k + (t_{k-1} - 1) / t_k (x_k - x_{k-1})``, ``t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2``
    (Beck and Teboulle 2009, Eqs. 4.1 to 4.3); a sample restarts, ``t = 1``, when
    ``<y_k - x_{k+1}, x_{k+1} - x_k> > 0`` (O'Donoghue and Candes 2015, gradient scheme).

    Parameters
    ----------
    obs : Observation
        Data and operator; they set the default step.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    step : float or Tensor, default=None
        Step size, ``1 / L`` by default.
    restart : bool, default=True
        Whether to restart.
    """

    def __init__(
        self,
        obs: Observation,
        alpha: Tensor | float,
        step: Tensor | float | None = None,
        restart: bool = True,
    ) -> None:
        self.ista = ISTA(obs, alpha, step)
        self.restart = restart

    def init(self, obs: Observation) -> Momentum:
        """Return ``x_0 = y_0 = 0``, ``t_0 = 1``."""
        x = _zeros(obs)
        return Momentum(x, x, x.new_ones(len(x), 1))

    def step(self, state: Momentum, obs: Observation) -> Momentum:
        """Run one iteration."""
        x = _prox_grad(state.y, obs, self.ista.alpha, self.ista.step_size)
        return _accelerated(state, x, self.restart)

    def gap(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the relative duality gap of the lasso."""
        return self.ista.gap(x, obs)

    def take(self, rows: Tensor | slice) -> FISTA:
        """Return the method for a subset of the samples."""
        new = object.__new__(FISTA)
        new.ista, new.restart = self.ista.take(rows), self.restart
        return new


def _solve(method: type[Method], obs: Observation, tol: float, max_iter: int, **given) -> Solution:
    """Check what was given, then minimise."""
    check_observation(obs)
    for name in ("alpha", "step"):
        if given.get(name) is not None:
            given[name] = check_positive(name, given[name], obs)
    if given.get("step") is not None:
        given["step"] = _column(given["step"])
    return minimize(method(obs, **given), obs, tol=tol, max_iter=max_iter)


def gradient_descent(
    obs: Observation,
    *,
    step: Tensor | float | None = None,
    tol: float = 1e-6,
    max_iter: int = 10_000,
) -> Solution:
    """Minimise ``0.5 ||A x - b||^2`` by gradient descent.

    Parameters
    ----------
    obs : Observation
        Data ``b`` of shape (n_samples, n_features) and operator.
    step : float or Tensor of shape (n_samples,), default=None
        Step size, positive, ``1 / L`` by default.
    tol : float, default=1e-6
        Tolerance on the suboptimality relative to ``0.5 ||b||^2``.
    max_iter : int, default=10000
        Largest number of iterations.

    Returns
    -------
    Solution
        Codes, gaps, iterations and flags per sample.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import gradient_descent
    >>> obs = Observation(torch.tensor([[2.0, 0.0]]), Dense(torch.eye(2)))
    >>> gradient_descent(obs).x
    tensor([[2., 0.]])
    """
    return _solve(GradientDescent, obs, tol, max_iter, step=step)


def ista(
    obs: Observation,
    alpha: Tensor | float,
    *,
    step: Tensor | float | None = None,
    tol: float = 1e-6,
    max_iter: int = 10_000,
) -> Solution:
    """Minimise ``0.5 ||A x - b||^2 + alpha ||x||_1`` by ISTA.

    Parameters
    ----------
    obs : Observation
        Data ``b`` of shape (n_samples, n_features) and operator.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    step : float or Tensor of shape (n_samples,), default=None
        Step size, positive, ``1 / L`` by default.
    tol : float, default=1e-6
        Tolerance on the relative duality gap; float32 reaches about 1e-6.
    max_iter : int, default=10000
        Largest number of iterations.

    Returns
    -------
    Solution
        Codes, gaps, iterations and flags per sample.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import ista
    >>> obs = Observation(torch.tensor([[2.0, 0.25]]), Dense(torch.eye(2)))
    >>> ista(obs, alpha=0.5).x
    tensor([[1.5000, 0.0000]])
    """
    return _solve(ISTA, obs, tol, max_iter, alpha=alpha, step=step)


def fista(
    obs: Observation,
    alpha: Tensor | float,
    *,
    restart: bool = True,
    step: Tensor | float | None = None,
    tol: float = 1e-6,
    max_iter: int = 10_000,
) -> Solution:
    """Minimise ``0.5 ||A x - b||^2 + alpha ||x||_1`` by FISTA.

    Parameters
    ----------
    obs : Observation
        Data ``b`` of shape (n_samples, n_features) and operator.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    restart : bool, default=True
        Adaptive restart, per sample.
    step : float or Tensor of shape (n_samples,), default=None
        Step size, positive, ``1 / L`` by default.
    tol : float, default=1e-6
        Tolerance on the relative duality gap; float32 reaches about 1e-6.
    max_iter : int, default=10000
        Largest number of iterations.

    Returns
    -------
    Solution
        Codes, gaps, iterations and flags per sample.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import fista
    >>> obs = Observation(torch.tensor([[2.0, 0.25]]), Dense(torch.eye(2)))
    >>> fista(obs, alpha=0.5).converged
    tensor([True])
    """
    return _solve(FISTA, obs, tol, max_iter, alpha=alpha, step=step, restart=restart)
