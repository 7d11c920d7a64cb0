"""The parts a proximal-gradient layer is made of: weights and threshold rules.

Every weight starts as the classical algorithm: a gradient step of length ``1 / L``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Dense, Observation, coupled_step, free_step

__all__ = ["CoupledWeights", "FreeWeights", "LearnedThreshold"]


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

    def forward(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the point to shrink, :func:`~sklearn_unroll.functional.free_step`."""
        return free_step(x, obs, self.W1, self.W2)


class CoupledWeights(nn.Module):
    """``x + W (b - A x)`` with W learned; starts at ``W = A^T / L``.

    Parameters
    ----------
    A : Dense
        The operator shared by all samples.
    lipschitz : Tensor of shape ()
        ``L``, the inverse of the first step size.
    """

    def __init__(self, A: Dense, lipschitz: Tensor) -> None:
        super().__init__()
        self.W = nn.Parameter(A.D / lipschitz)

    def forward(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the point to shrink, :func:`~sklearn_unroll.functional.coupled_step`.

        Without gradients ``x`` is overwritten, as the contract of a layer allows.
        """
        overwritten = None if torch.is_grad_enabled() else x
        return coupled_step(x, obs, self.W, out=overwritten)


class LearnedThreshold(nn.Module):
    """One learned threshold ``theta >= 0``, kept nonnegative by projection.

    Parameters
    ----------
    theta : Tensor of shape ()
        First value.
    """

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta.clone())

    def forward(self) -> Tensor:
        """Return the threshold."""
        return self.theta

    def project_(self) -> None:
        """Clip at zero: a negative threshold would push values apart instead of shrinking."""
        self.theta.clamp_min_(0)
