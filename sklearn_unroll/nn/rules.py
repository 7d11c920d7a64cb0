"""Rules: where a layer's threshold, step size, momentum and support count come from.

A rule is given the iterate, its memory of each sample, the data and the layer's weights. It
returns the point to shrink, how to shrink it, and what to remember. A learned rule is the same
for all samples; an adaptive one looks at the residual first.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Observation
from sklearn_unroll.nn.parts import Part

__all__ = ["AdaptiveRule", "LearnedRule", "LearnedStep", "LogRule", "Rule", "Scalars", "Shrink"]


# Momentum of good runs is 0.2 to 0.3; from one on it diverges.
_LARGEST_BETA = 0.5


class Shrink(NamedTuple):
    """How to shrink a point.

    Parameters
    ----------
    theta : Tensor of shape () or (n_samples, 1)
        Threshold, nonnegative; for a denoiser the variance of the error.
    count : int or Tensor of shape (n_samples, 1)
        How many entries may pass unshrunk.
    """

    theta: Tensor
    count: Tensor | int = 0


class Scalars(NamedTuple):
    """What a rule does, as numbers, where it is one of these functions of the iterate.

    The point is ``x + step u + min(beta ||x||_0, largest_beta) (x - last)`` with u the correction
    of the weights, the threshold ``theta + per_error e`` with e the error ``||A^+ r||_1``, and
    ``count + per_progress log(e_0 / e)`` entries may pass.
    """

    step: float = 1.0
    theta: float = 0.0
    per_error: float = 0.0
    beta: float = 0.0
    largest_beta: float = 0.0
    count: float = 0.0
    per_progress: float = 0.0


class Rule(Part, nn.Module, ABC):
    """The contract of a rule; by default nothing to project, and what is learned goes on.

    See :class:`~sklearn_unroll.nn.Part` for what it declares.
    """

    offers = ("threshold",)

    @abstractmethod
    def forward(
        self, x: Tensor, memory: Any, obs: Observation, weights: nn.Module
    ) -> tuple[Tensor, Shrink, Any]:
        """Return the point to shrink, how, and the memory; ``memory`` is None at ``x_0``."""

    def scalars(self) -> Scalars | None:
        """Return what the rule does; default: None, it is another function.

        A sparse run asks for it, see :mod:`sklearn_unroll.nn.sparse`.

        Returns
        -------
        Scalars or None
            The numbers.
        """
        return None

    def gauge(self) -> Tensor | None:
        """Return what gives the error e: ``A^+``, or leverages for ``h W r``; default: nothing.

        Returns
        -------
        Tensor of shape (n_components, n_features) or (n_components,), or None
            Matrix on residuals, or factors of the correction.
        """
        return None

    def project_(self) -> None:
        """Move the parameters to the nearest admissible ones, in place."""

    def continue_from_(self, previous: Rule) -> None:
        """Start where the rule of the layer before has been trained to, in place.

        Parameters
        ----------
        previous : Rule
            The rule of the layer before.
        """
        self.load_state_dict(previous.state_dict(), strict=False)  # what both have


class LearnedRule(Rule):
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

    offers = ("threshold", "count")

    def __init__(self, theta: Tensor, gamma: Tensor | None = None, count: int = 0) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta.clone())
        self.gamma = None if gamma is None else nn.Parameter(gamma.clone())
        self.count = count
        if gamma is not None:
            self.needs, self.offers = ("step",), ("threshold", "count", "gamma")

    def forward(self, x, memory, obs, weights):
        """Return the point, the learned scalars, and no memory."""
        return weights(x, obs, self.gamma), Shrink(self.theta, self.count), None

    def scalars(self) -> Scalars:
        """Return the learned scalars."""
        return Scalars(_step(self.gamma), float(self.theta.detach()), count=self.count)

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
        super().continue_from_(previous)
        self.theta.mul_(0.7)


class LogRule(Rule):
    """A learned positive threshold and step, through their logarithms.

    Over the layers they run through orders of magnitude, and steps of equal ratio suit all.

    Parameters
    ----------
    theta : Tensor of shape ()
        First threshold; zero counts as the smallest positive number.
    gamma : Tensor of shape (), default=None
        First step size, positive; None has none.
    count : int, default=0
        How many entries may pass unshrunk; not learned.
    """

    offers = ("threshold", "count")

    def __init__(self, theta: Tensor, gamma: Tensor | None = None, count: int = 0) -> None:
        super().__init__()
        self.log_theta = nn.Parameter(_log(theta))
        self.log_gamma = None if gamma is None else nn.Parameter(_log(gamma))
        self.count = count
        if gamma is not None:
            self.needs, self.offers = ("step",), ("threshold", "count", "gamma")

    @property
    def theta(self) -> Tensor:
        """The threshold."""
        return self.log_theta.exp()

    @property
    def gamma(self) -> Tensor | None:
        """The step size."""
        return None if self.log_gamma is None else self.log_gamma.exp()

    def forward(self, x, memory, obs, weights):
        """Return the point, the learned scalars, and no memory."""
        return weights(x, obs, self.gamma), Shrink(self.theta, self.count), None

    def scalars(self) -> Scalars:
        """Return the learned scalars."""
        return Scalars(_step(self.gamma), float(self.theta.detach()), count=self.count)

    def set_theta_(self, theta: Tensor) -> None:
        """Set the threshold in place.

        Parameters
        ----------
        theta : Tensor of shape ()
            The new one; zero counts as the smallest positive number.
        """
        self.log_theta.copy_(_log(theta))

    def shorten_(self, factor: float) -> None:
        """Multiply the step in place, where there is one.

        Parameters
        ----------
        factor : float
            Positive.
        """
        if self.log_gamma is not None:
            self.log_gamma.add_(math.log(factor))

    def continue_from_(self, previous: LogRule) -> None:
        """Start where the previous layer has been trained to; errors, so thresholds, shrink.

        Parameters
        ----------
        previous : LogRule
            The rule of the layer before.
        """
        super().continue_from_(previous)
        self.set_theta_(0.7 * previous.theta)


def _step(gamma: Tensor | None) -> float:
    return 1.0 if gamma is None else float(gamma.detach())


def _log(value: Tensor) -> Tensor:
    return value.clamp_min(torch.finfo(value.dtype).tiny).log()


class LearnedStep(Rule):
    """A learned step ``gamma >= 0`` and the threshold ``alpha gamma`` that belongs to it.

    Ablin, Moreau, Massias and Gramfort 2019, "Learning step sizes for unfolded sparse coding".

    Parameters
    ----------
    gamma : Tensor of shape ()
        First step size.
    alpha : float
        Weight of the l1 norm in the problem to solve.
    count : int, default=0
        How many entries may pass unshrunk; not learned.
    """

    needs, offers = ("step",), ("threshold", "count", "gamma")

    def __init__(self, gamma: Tensor, alpha: float, count: int = 0) -> None:
        super().__init__()
        self.gamma = nn.Parameter(gamma.clone())
        self.alpha, self.count = alpha, count

    def forward(self, x, memory, obs, weights):
        """Return the point, the threshold of its step, and no memory."""
        return weights(x, obs, self.gamma), Shrink(self.alpha * self.gamma, self.count), None

    def scalars(self) -> Scalars:
        """Return the learned step and what follows from it."""
        theta = float((self.alpha * self.gamma).detach())
        return Scalars(_step(self.gamma), theta, count=self.count)

    def project_(self) -> None:
        """Clip the step at zero."""
        self.gamma.clamp_min_(0)


class AdaptiveMemory(NamedTuple):
    """What :class:`AdaptiveRule` remembers: the iterate before, and ``||A^+ b||_1``."""

    x: Tensor
    first: Tensor


class AdaptiveRule(Rule):
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

    needs, offers = ("correction", "memory"), ("threshold", "count")

    def __init__(self, pinv: Tensor, mu: float, c1: float, c2: float, c3: float) -> None:
        super().__init__()
        self.register_buffer("pinv", pinv)
        self.mu, self.c1, self.c2, self.c3 = mu, c1, c2, c3

    # NOTE[DIFF]: the official code multiplies the gradient by 1/L, applies the pseudo-inverse of
    # A to the residual of another matrix, has no mu, and takes p_k as a fraction of n that it
    # cuts at 1; the paper's step size is one, and its p_k a number of entries. The cap on beta is
    # ours: codes with few nonzeros on average and many at times diverge without.
    def forward(self, x, memory, obs, weights):
        """Return the point with momentum, the scalars of every sample, and the memory."""
        r, update = weights.correction(x, obs)
        if self.pinv.ndim == 1:
            error = update.abs() @ self.pinv[:, None]
        else:
            error = (r @ self.pinv.T).abs().sum(-1, keepdim=True)
        last, first = (x, error) if memory is None else memory
        tiny = torch.finfo(r.dtype).tiny
        progress = torch.log(first.clamp_min(tiny) / error.clamp_min(tiny)).clamp_min(0)
        # At x = 0 there is no progress, and infinity times zero would be NaN.
        p = torch.where(progress > 0, self.c3 * progress, progress).clamp_max(x.shape[1])
        theta = self.c1 * self.mu * error
        # Signs, not comparisons: bools are slow to make and to count.
        beta = self.c2 * self.mu * x.sign().abs_().sum(-1, keepdim=True)
        beta = beta.clamp_max_(_LARGEST_BETA)
        z = torch.addcmul(x + update, beta, x - last)
        return z, Shrink(theta, p.round().long()), AdaptiveMemory(x, first)

    def scalars(self) -> Scalars:
        """Return the three numbers, times the coherence."""
        mu = self.mu
        return Scalars(
            per_error=self.c1 * mu,
            beta=self.c2 * mu,
            largest_beta=_LARGEST_BETA,
            per_progress=self.c3,
        )

    def gauge(self) -> Tensor:
        """Return the pseudo-inverse, or the leverages."""
        return self.pinv
