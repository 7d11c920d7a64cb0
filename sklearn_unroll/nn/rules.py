"""Rules: where a layer's threshold, step size, momentum and support count come from.

A learned rule is the same for all samples. An adaptive one looks at the iterate and keeps a
memory per sample from layer to layer.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["AdaptiveRule", "LearnedRule", "Step"]


class Step(NamedTuple):
    """The scalars of one layer.

    Parameters
    ----------
    theta : Tensor of shape () or (n_samples, 1)
        Threshold, nonnegative.
    gamma : Tensor of shape () or (n_samples, 1), or None
        Step size; None is one.
    beta : Tensor of shape () or (n_samples, 1), or None
        Momentum; None is zero.
    count : int or Tensor of shape (n_samples, 1)
        How many entries may pass unshrunk.
    """

    theta: Tensor
    gamma: Tensor | None = None
    beta: Tensor | None = None
    count: Tensor | int = 0


class LearnedRule(nn.Module):
    """A learned threshold ``theta >= 0`` and, where given, a learned step ``gamma``.

    Parameters
    ----------
    theta : Tensor of shape ()
        First threshold.
    gamma : Tensor of shape (), default=None
        First step size; None has none.
    count : int, default=0
        How many entries may pass unshrunk; not learned.
    """

    adaptive = False

    def __init__(self, theta: Tensor, gamma: Tensor | None = None, count: int = 0) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta.clone())
        self.gamma = None if gamma is None else nn.Parameter(gamma.clone())
        self.count = count

    def forward(self) -> Step:
        """Return the scalars."""
        return Step(self.theta, self.gamma, None, self.count)

    def project_(self) -> None:
        """Clip the threshold at zero: a negative one would push values apart."""
        self.theta.clamp_min_(0)

    def continue_from_(self, previous: LearnedRule) -> None:
        """Start where the previous layer has been trained to; errors, so thresholds, shrink.

        Parameters
        ----------
        previous : LearnedRule
            The rule of the layer before.
        """
        self.theta.copy_(0.7 * previous.theta)
        if self.gamma is not None:
            self.gamma.copy_(previous.gamma)


class AdaptiveRule(nn.Module):
    """HyperLISTA's functions of the iterate, with three numbers for all layers.

    ``theta_k = c1 mu ||A^+ r_k||_1``, ``beta_k = c2 mu ||x_k||_0`` and
    ``p_k = min(c3 log(||A^+ b||_1 / ||A^+ r_k||_1), n)``, a count, with ``r_k = b - A x_k``.
    Chen, Liu, Wang and Yin 2021, "Hyperparameter tuning is all you need for LISTA"; the step
    size is one.

    Parameters
    ----------
    pinv : Tensor of shape (n_components, n_features)
        Pseudo-inverse ``A^+``; or, of shape (n_components,), the leverages ``h`` of the atoms
        where the layer's weight is the analytic one: then ``A^+ r = h W r`` needs no product
        with another matrix.
    mu : float
        Generalised mutual coherence of the layer's weight.
    c1, c2, c3 : float
        The three numbers, nonnegative; ``c3`` may be infinite.
    """

    adaptive = True

    def __init__(self, pinv: Tensor, mu: float, c1: float, c2: float, c3: float) -> None:
        super().__init__()
        self.register_buffer("pinv", pinv)
        self.mu, self.c1, self.c2, self.c3 = mu, c1, c2, c3

    # NOTE[DIFF]: the official code multiplies the gradient by 1/L, applies the pseudo-inverse of
    # A to the residual of another matrix, has no mu, and takes p_k as a fraction of n that it
    # cuts at 1; the paper's step size is one, and its p_k a number of entries.
    def forward(
        self, x: Tensor, r: Tensor, update: Tensor, memory: Tensor | None
    ) -> tuple[Step, Tensor]:
        """Return the scalars of every sample; the memory is ``||A^+ b||_1``, seen at x = 0."""
        tiny = torch.finfo(r.dtype).tiny
        if self.pinv.ndim == 1:
            error = update.abs() @ self.pinv[:, None]
        else:
            error = (r @ self.pinv.T).abs().sum(-1, keepdim=True)
        first = error if memory is None else memory
        progress = torch.log(first.clamp_min(tiny) / error.clamp_min(tiny)).clamp_min(0)
        # At x = 0 there is no progress, and infinity times zero would be NaN.
        p = torch.where(progress > 0, self.c3 * progress, progress).clamp_max(x.shape[1])
        theta = self.c1 * self.mu * error
        beta = self.c2 * self.mu * (x != 0).sum(-1, keepdim=True).to(x.dtype)
        return Step(theta, None, beta, p.round().long()), first

    def project_(self) -> None:
        """Do nothing, since nothing is learned."""

    def continue_from_(self, previous: AdaptiveRule) -> None:
        """Do nothing, since nothing is learned.

        Parameters
        ----------
        previous : AdaptiveRule
            The rule of the layer before.
        """
