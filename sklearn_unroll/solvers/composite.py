"""Classical methods for ``min f(x) + R(x)``: proximal gradient, Nesterov, Adam."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Composite, composite_gap
from sklearn_unroll.solvers.first_order import Accelerated, Iterate
from sklearn_unroll.solvers.solver import Method

__all__ = ["AdamDescent", "CompositeDescent", "NesterovDescent", "best_step", "optimal_values"]

_WINDOW = 50  # iterations between two looks at the objective
_STALLED = 4.0  # units in the last place: less progress in a window is none


class CompositeDescent(Method):
    """``x+ = prox(x - s grad f(x))`` with ``s = factor / L``: gradient descent, ISTA.

    Parameters
    ----------
    factor : float, default=1.0
        Step in units of ``1 / L``, in (0, 2).
    """

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def init(self, obs: Composite) -> Iterate:
        """Return the problem's start."""
        return Iterate(obs.first())

    def step(self, state: Iterate, obs: Composite) -> Iterate:
        """Run one iteration."""
        step = self.factor * obs.step
        return Iterate(obs.R.prox(state.x - step * obs.gradient(state.x), step))

    def gap(self, x: Tensor, obs: Composite) -> Tensor:
        """Return the relative duality gap, infinite where no dual is known."""
        return composite_gap(x, obs)


class NesterovDescent(Accelerated):
    """The accelerated method of Nesterov 1983, with R FISTA; restarted per sample or not.

    ``y_k = x_k + (t_{k-1} - 1) / t_k (x_k - x_{k-1})`` (Beck and Teboulle 2009, Eqs. 4.1 to 4.3).

    Parameters
    ----------
    restart : bool, default=True
        Whether ``t = 1`` where ``<y_k - x_{k+1}, x_{k+1} - x_k> > 0``.
    """

    def __init__(self, restart: bool = True) -> None:
        super().__init__(CompositeDescent(), restart)


class AdamState(NamedTuple):
    """Iterate, averages of the gradient and of its square, their weights."""

    x: Tensor
    mean: Tensor
    square: Tensor
    weights: Tensor


class AdamDescent(Method):
    """``x+ = prox(x - rate m^ / (sqrt(v^) + eps))``: Kingma and Ba 2015, Algorithm 1.

    The proximal step has the length of each coordinate's own step.

    Parameters
    ----------
    rate : float, default=1e-2
        Length of a step.
    betas : tuple of (float, float), default=(0.9, 0.999)
        Decay of the averages.
    eps : float, default=1e-8
        Added to the root of the mean square.
    """

    def __init__(
        self,
        rate: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.rate, self.betas, self.eps = rate, betas, eps

    def init(self, obs: Composite) -> AdamState:
        """Return the problem's start and empty averages."""
        x = obs.first()
        return AdamState(x, torch.zeros_like(x), torch.zeros_like(x), x.new_zeros(len(x), 2))

    def step(self, state: AdamState, obs: Composite) -> AdamState:
        """Run one iteration."""
        g, (slow, slower) = obs.gradient(state.x), self.betas
        mean = torch.lerp(g, state.mean, slow)
        square = torch.lerp(g.square(), state.square, slower)
        decay = state.weights.new_tensor(self.betas)
        weights = decay * state.weights + 1 - decay
        root = (square / weights[:, 1:]).sqrt() + self.eps
        step = self.rate / root
        x = obs.R.prox(state.x - step * mean / weights[:, :1], step)
        return AdamState(x, mean, square, weights)

    def gap(self, x: Tensor, obs: Composite) -> Tensor:
        """Return the relative duality gap, infinite where no dual is known."""
        return composite_gap(x, obs)


@torch.no_grad()
def best_step(problem: Composite, n_iter: int, factors: Any) -> float:
    """Return the constant step, in units of ``1 / L``, with the least mean objective.

    Parameters
    ----------
    problem : Composite
        Instances.
    n_iter : int
        After how many iterations.
    factors : iterable of float
        Steps to try.

    Returns
    -------
    float
        The best of them.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Composite, Dense, LeastSquares, Zero
    >>> from sklearn_unroll.solvers import best_step
    >>> A = Dense(torch.diag(torch.tensor([1.0, 0.5])))
    >>> problem = Composite.of(torch.ones(1, 2), A, LeastSquares(), Zero())
    >>> best_step(problem, 10, [1.0, 1.5, 2.5])
    1.5
    """

    def mean(factor: float) -> float:
        method = CompositeDescent(factor)
        state = method.init(problem)
        for _ in range(n_iter):
            state = method.step(state, problem)
        return float(problem.value(state.x).double().mean().nan_to_num(torch.inf))

    return min(factors, key=mean)


@torch.no_grad()
def optimal_values(problem: Composite, *, max_iter: int = 5000) -> Tensor:
    """Return the least objective that the restarted accelerated method reaches, per instance.

    It stops when no objective falls any more, to rounding; give float64.

    Parameters
    ----------
    problem : Composite
        Instances.
    max_iter : int, default=5000
        Largest number of iterations.

    Returns
    -------
    Tensor of shape (n_samples,)
        Values.
    """
    parts = []
    for _, part in problem.chunks(64):
        method, state = NesterovDescent(), NesterovDescent().init(part)
        least = part.value(state.x)
        for _ in range(0, max_iter, _WINDOW):
            for _ in range(_WINDOW):
                state = method.step(state, part)
            value = torch.minimum(least, part.value(state.x))
            fallen = least - value > _STALLED * torch.finfo(value.dtype).eps * value.abs()
            least = value
            if not bool(fallen.any()):
                break
        parts.append(least)
    return torch.cat(parts)
