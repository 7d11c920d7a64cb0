"""Proximal gradient from given codes, with or without momentum, for codes of any sign or not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from sklearn_unroll.functional import Observation, adjoint_step, duality_gap
from sklearn_unroll.solvers.first_order import (
    Momentum,
    _accelerated,
    _column,
    _rows,
    _step_size,
    _zeros,
)
from sklearn_unroll.solvers.solver import Method

__all__ = ["ProximalGradient"]


class ProximalGradient(Method):
    """ISTA or FISTA as in :class:`ISTA` and :class:`FISTA`, started anywhere.

    ``x+ = prox(y + step A^T (b - A y))`` with the prox of ``step alpha ||.||_1``, the soft
    threshold, or of that over ``x >= 0``, ``max(z - step alpha, 0)`` (Beck and Teboulle 2009),
    with a restart of the momentum per sample (O'Donoghue and Candes 2015).

    Parameters
    ----------
    obs : Observation
        Data and operator; they set the step ``1 / L``.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    x0 : Tensor of shape (n_samples, n_components), default=None
        Where to start, zero by default.
    positive : bool, default=False
        Constrain codes to be nonnegative.
    accelerated : bool, default=True
        Whether there is momentum.
    """

    def __init__(
        self,
        obs: Observation,
        alpha: Tensor | float,
        *,
        x0: Tensor | None = None,
        positive: bool = False,
        accelerated: bool = True,
    ) -> None:
        self.alpha, self.x0 = alpha, x0
        self.positive, self.accelerated = positive, accelerated
        self.step_size = _step_size(obs, None)
        # A number is fused into the matrix product.
        self.fused = None if self.step_size.ndim else float(self.step_size)

    def init(self, obs: Observation) -> Momentum:
        """Return ``x_0 = y_0``, ``t_0 = 1``."""
        x = _zeros(obs) if self.x0 is None else self.x0
        x = x.relu() if self.positive else x
        return Momentum(x, x, x.new_ones(len(x), 1))

    def step(self, state: Momentum, obs: Observation) -> Momentum:
        """Run one iteration."""
        D, y = getattr(obs.A, "D", None), state.y
        if self.fused is None or D is None:
            z = adjoint_step(y, obs, self.step_size)
        else:
            z = torch.addmm(y, obs.A.residual(obs.b, y), D.T, alpha=self.fused)
        x = self._prox(z)
        return _accelerated(state, x) if self.accelerated else Momentum(x, x, state.t)

    def _prox(self, z: Tensor) -> Tensor:
        per_sample = isinstance(self.alpha, Tensor) and self.alpha.ndim
        theta = (self.step_size if self.fused is None else self.fused) * _column(self.alpha)
        if self.positive:
            return (z - theta).relu_()
        if self.fused is None or per_sample:
            # Half the passes over memory of the difference of two relus.
            return z - torch.minimum(torch.maximum(z, -theta), theta)
        return softshrink(z, float(theta))

    def gap(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the relative duality gap."""
        return duality_gap(x, obs, self.alpha, positive=self.positive)

    def take(self, rows: Tensor | slice) -> ProximalGradient:
        """Return the method for a subset of the samples."""
        new = object.__new__(ProximalGradient)
        new.__dict__.update(self.__dict__)
        new.alpha, new.step_size = _rows(self.alpha, rows), _rows(self.step_size, rows)
        new.x0 = None if self.x0 is None else self.x0[rows]
        return new
