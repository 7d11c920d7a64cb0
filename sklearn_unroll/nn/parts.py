"""The parts a proximal-gradient layer is made of: weights, and their tying.

Every weight starts as the classical algorithm, a gradient step of length ``1 / L``, or as an
analytic weight, which needs no training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Dense, Observation, coupled_step, free_step

__all__ = ["CoupledWeights", "FreeWeights"]


class FreeWeights(nn.Module):
    """``W1 b + W2 x``, both learned; starts at ``W1 = A^T / L``, ``W2 = I - A^T A / L``.

    Parameters
    ----------
    A : Dense
        The operator shared by all samples.
    lipschitz : Tensor of shape ()
        ``L``, the inverse of the first step size.
    """

    def __init__(self, A: Dense, lipschitz: Tensor) -> None:
        super().__init__()
        W1 = A.D / lipschitz
        eye = torch.eye(A.n_components, dtype=W1.dtype, device=W1.device)
        self.W1 = nn.Parameter(W1)
        self.W2 = nn.Parameter(torch.addmm(eye, W1, A.D.T, alpha=-1))

    def forward(self, x: Tensor, obs: Observation, gamma: None = None) -> Tensor:
        """Return the point to shrink, :func:`~sklearn_unroll.functional.free_step`."""
        return free_step(x, obs, self.W1, self.W2)


class CoupledWeights(nn.Module):
    """``x + gamma W (b - A x)``, learned or fixed.

    Parameters
    ----------
    W : Tensor of shape (n_components, n_features)
        First value, or the value: ``A^T / L`` makes a gradient step.
    learn : bool, default=True
        Whether W is a parameter; an analytic weight is not.
    """

    def __init__(self, W: Tensor, learn: bool = True) -> None:
        super().__init__()
        if learn:
            self.W = nn.Parameter(W.clone())
        else:
            self.register_buffer("W", W.clone())

    def forward(self, x: Tensor, obs: Observation, gamma: Tensor | None = None) -> Tensor:
        """Return the point to shrink, :func:`~sklearn_unroll.functional.coupled_step`.

        Without gradients ``x`` is overwritten, as the contract of a layer allows.
        """
        r = obs.A.residual(obs.b, x)
        overwritten = None if torch.is_grad_enabled() else x
        return coupled_step(x, r, self.W, gamma, out=overwritten)
