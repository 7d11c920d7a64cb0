"""ISTA and FISTA: batched, on any device, in float32 or float64, and what acceleration is."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from sklearn_unroll.functional import Dense, Observation, adjoint_step, duality_gap
from sklearn_unroll.solvers._checks import check_codes, check_observation, check_positive
from sklearn_unroll.solvers.solver import Method, Solution, minimize

__all__ = ["FISTA", "ISTA", "fista", "ista"]


class Iterate(NamedTuple):
    """The state of a method without memory."""

    x: Tensor


class Momentum(NamedTuple):
    """The state of an accelerated method: iterate, extrapolated point, ``t_k``."""

    x: Tensor
    y: Tensor
    t: Tensor


def column(value: Tensor | float) -> Tensor | float:
    """Make a per-sample value broadcast over codes."""
    return value[:, None] if isinstance(value, Tensor) and value.ndim == 1 else value


def first_codes(obs: Observation, x0: Tensor | None, positive: bool) -> Tensor:
    """Return where to start: zero unless given."""
    if x0 is None:
        return obs.b.new_zeros(len(obs.b), obs.A.n_components)
    x0 = check_codes(x0, obs).to(obs.b)
    return x0.relu() if positive else x0


class ISTA(Method):
    """``x+ = soft(x + step A^T (b - A x), step alpha)``: the proximal gradient method.

    Over nonnegative codes ``x+ = max(x + step A^T (b - A x) - step alpha, 0)``.

    Parameters
    ----------
    obs : Observation
        Data and operator; they set the default step.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    step : float or Tensor of shape (n_samples, 1), default=None
        Step size, ``1 / L`` by default.
    x0 : Tensor of shape (n_samples, n_components), default=None
        Where to start, zero by default.
    positive : bool, default=False
        Constrain codes to be nonnegative.
    """

    per_sample = ("alpha", "step_size", "x0")

    def __init__(
        self,
        obs: Observation,
        alpha: Tensor | float,
        step: Tensor | float | None = None,
        *,
        x0: Tensor | None = None,
        positive: bool = False,
    ) -> None:
        self.alpha, self.x0, self.positive = alpha, x0, positive
        if step is None:
            L = obs.A.lipschitz().detach()
            step = 1 / torch.where(L > 0, L, torch.ones_like(L))  # where A = 0 any step will do
        # A number is fused into the matrix product.
        self.step_size = step if isinstance(step, Tensor) and step.ndim else float(step)

    def init(self, obs: Observation) -> Iterate:
        """Return ``x_0``."""
        return Iterate(first_codes(obs, self.x0, self.positive))

    def step(self, state: Iterate, obs: Observation) -> Iterate:
        """Run one iteration."""
        x, A, step = state.x, obs.A, self.step_size
        if isinstance(A, Dense) and not A.per_sample and isinstance(step, float):
            z = torch.addmm(x, A.residual(obs.b, x), A.D.T, alpha=step)
        else:
            z = adjoint_step(x, obs, step)
        return Iterate(self._prox(z))

    def _prox(self, z: Tensor) -> Tensor:
        theta = self.step_size * column(self.alpha)
        if self.positive:
            return (z - theta).relu_()
        if isinstance(theta, Tensor) and theta.ndim:
            # Half the passes over memory of the difference of two relus.
            return z - torch.minimum(torch.maximum(z, -theta), theta)
        return softshrink(z, float(theta))

    def gap(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the relative duality gap of the lasso."""
        return duality_gap(x, obs, self.alpha, positive=self.positive)


class Accelerated(Method):
    """A method without memory, taken at an extrapolated point: Beck and Teboulle 2009.

    ``y_k = x_k + (t_{k-1} - 1) / t_k (x_k - x_{k-1})``, ``t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2``
    (their Eqs. 4.1 to 4.3); a sample restarts, ``t = 1``, when
    ``<y_k - x_{k+1}, x_{k+1} - x_k> > 0`` (O'Donoghue and Candes 2015, gradient scheme).
    """

    def __init__(self, method: Method, restart: bool) -> None:
        self.method, self.restart = method, restart

    def init(self, obs: Any) -> Momentum:
        """Return ``x_0 = y_0``, ``t_0 = 1``."""
        x = self.method.init(obs).x
        return Momentum(x, x, x.new_ones(len(x), 1))

    def step(self, state: Momentum, obs: Any) -> Momentum:
        """Run one iteration."""
        x, t = self.method.step(Iterate(state.y), obs).x, state.t
        move = x - state.x
        if self.restart:
            uphill = torch.linalg.vecdot(state.y - x, move)[:, None] > 0
            t = torch.where(uphill, torch.ones_like(t), t)
        t_next = (1 + torch.sqrt(1 + 4 * t.square())) / 2
        # With t = 1 the factor is 0: a restarted sample goes on from x without momentum.
        return Momentum(x, torch.addcmul(x, (t - 1) / t_next, move), t_next)

    def gap(self, x: Tensor, obs: Any) -> Tensor:
        """Return the relative duality gap."""
        return self.method.gap(x, obs)

    def take(self, rows: Tensor | slice) -> Method:
        """Return the method for a subset of the samples."""
        new = super().take(rows)
        new.method = self.method.take(rows)
        return new


class FISTA(Accelerated):
    """:class:`ISTA` at an extrapolated point (Beck and Teboulle 2009, Eqs. 4.1 to 4.3).

    ``y_k = x_k + (t_{k-1} - 1) / t_k (x_k - x_{k-1})``, ``t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2``,
    with an adaptive restart per sample (O'Donoghue and Candes 2015, gradient scheme).

    Parameters
    ----------
    obs : Observation
        Data and operator; they set the default step.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    step : float or Tensor of shape (n_samples, 1), default=None
        Step size, ``1 / L`` by default.
    restart : bool, default=True
        Whether ``t = 1`` where ``<y_k - x_{k+1}, x_{k+1} - x_k> > 0``.
    x0 : Tensor of shape (n_samples, n_components), default=None
        Where to start, zero by default.
    positive : bool, default=False
        Constrain codes to be nonnegative.
    """

    def __init__(
        self,
        obs: Observation,
        alpha: Tensor | float,
        step: Tensor | float | None = None,
        restart: bool = True,
        *,
        x0: Tensor | None = None,
        positive: bool = False,
    ) -> None:
        super().__init__(ISTA(obs, alpha, step, x0=x0, positive=positive), restart)


def _solve(method: type[Method], obs: Observation, tol: float, max_iter: int, **given) -> Solution:
    """Check what was given, then minimise."""
    check_observation(obs)
    given["alpha"] = check_positive("alpha", given["alpha"], obs)
    if given["step"] is not None:
        given["step"] = column(check_positive("step", given["step"], obs))
    return minimize(method(obs, **given), obs, tol=tol, max_iter=max_iter)


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
