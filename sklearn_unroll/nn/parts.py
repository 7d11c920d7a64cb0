"""The weights of a proximal-gradient layer, and their tying.

Every weight starts as the classical algorithm, a gradient step of length ``1 / L``, or as an
analytic weight, which needs no training. One module in several layers ties them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import (
    Dense,
    Observation,
    adapted_step,
    adjoint_step,
    coupled_step,
    free_step,
)

__all__ = ["AdaptedWeights", "AdjointWeights", "CoupledWeights", "FreeWeights"]


class FreeWeights(nn.Module):
    """``W1 b + W2 x``, both learned; starts at ``W2 = I - W1 A``.

    Parameters
    ----------
    A : Dense
        The operator shared by all samples.
    W1 : Tensor of shape (n_components, n_features)
        First value: ``A^T / L`` makes a gradient step.
    """

    def __init__(self, A: Dense, W1: Tensor) -> None:
        super().__init__()
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

    def correction(self, x: Tensor, obs: Observation) -> tuple[Tensor, Tensor]:
        """Return ``r = b - A x`` and ``W r``, for rules that look before they step.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            The iterate.
        obs : Observation
            Data and operator.

        Returns
        -------
        tuple of Tensor
            Of shapes (n_samples, n_features) and (n_samples, n_components).
        """
        r = obs.A.residual(obs.b, x)
        return r, r @ self.W.T


class AdjointWeights(nn.Module):
    """``x + gamma A^T (b - A x)``: nothing to learn but the step."""

    def forward(self, x: Tensor, obs: Observation, gamma: Tensor) -> Tensor:
        """Return the point to shrink, :func:`~sklearn_unroll.functional.adjoint_step`."""
        return adjoint_step(x, obs, gamma)


class AdaptedWeights(nn.Module):
    """``x + gamma A^T (W2^T b - W1^T W1 A x)``: learned for a family of operators, not for one.

    Both weights act on signals and start as the identity, a gradient step, so that the
    operator may differ from sample to sample.

    Parameters
    ----------
    A : Dense
        Any operator of the family; sets shape, dtype and device.
    """

    def __init__(self, A: Dense) -> None:
        super().__init__()
        eye = torch.eye(A.n_features, dtype=A.D.dtype, device=A.D.device)
        self.W1 = nn.Parameter(eye)
        self.W2 = nn.Parameter(eye.clone())

    def forward(self, x: Tensor, obs: Observation, gamma: Tensor) -> Tensor:
        """Return the point to shrink, :func:`~sklearn_unroll.functional.adapted_step`."""
        return adapted_step(x, obs, self.W1, self.W2, gamma)
