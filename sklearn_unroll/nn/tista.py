"""TISTA: a learned step a layer, and the conditional mean as shrinkage."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Dense, pseudo_inverse
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.parts import CoupledWeights
from sklearn_unroll.nn.proxgrad import ProxGradLayer
from sklearn_unroll.nn.rules import Rule, Shrink
from sklearn_unroll.nn.shrinkages import ConditionalMean

__all__ = ["ErrorVarianceRule", "tista"]


class ErrorVarianceRule(Rule):
    """A learned step ``gamma``, and the variance of the error after it, from the residual.

    ``v^2 = max(||r||^2 - m sigma^2, 0) / tr(A^T A)`` and
    ``tau^2 = v^2 / n (n + (gamma^2 - 2 gamma) m) + gamma^2 / n tr(W W^T) sigma^2``, Ito, Takabe
    and Wadayama 2019, "Trainable ISTA for sparse signal recovery", with ``W = A^+``; in the
    second, m is the rank of A, as in the paper's case.

    Parameters
    ----------
    gamma : Tensor of shape ()
        First step size.
    noise_variance : float
        ``sigma^2``.
    trace : float
        ``tr(A^T A)``.
    trace_W : float
        ``tr(W W^T)``.
    rank : float
        ``tr(W A)``.
    """

    needs, offers = ("correction", "memory"), ("variance",)

    def __init__(
        self, gamma: Tensor, noise_variance: float, trace: float, trace_W: float, rank: float
    ) -> None:
        super().__init__()
        self.gamma = nn.Parameter(gamma.clone())
        self.noise_variance, self.trace = noise_variance, trace
        self.trace_W, self.rank = trace_W, rank

    # NOTE[DIFF]: the official code computes the clamp of v^2 and drops it, so that v^2 may be
    # negative; and it has no floor from rounding, which float32 reaches in eight layers. The
    # last term, a thousandth of v^2, keeps tau^2 positive where A^+ A = I and gamma = 1.
    def forward(self, x, memory, obs, weights):
        """Return the point, the variance of its error, and ``||b||^2`` to compare with."""
        m, n = obs.A.n_features, obs.A.n_components
        r, update = weights.correction(x, obs)
        energy = r.square().sum(1, keepdim=True)
        memory = energy if memory is None else memory
        # A root, since gradients divide by powers of tau^2.
        tiny = torch.finfo(r.dtype).tiny ** 0.4
        rounding = (4 * torch.finfo(r.dtype).eps) ** 2 * memory + tiny
        v2 = torch.maximum(energy - m * self.noise_variance, rounding) / self.trace
        squared = self.gamma.square()
        tau2 = v2 / n * (n + (squared - 2 * self.gamma) * self.rank)
        tau2 = tau2.clamp_min(0) + squared / n * self.trace_W * self.noise_variance + 1e-3 * v2
        return x + self.gamma * update, Shrink(tau2), memory


def tista(
    A: Dense,
    *,
    sparsity: float,
    variance: float,
    noise_variance: float,
    n_layers: int = 12,
) -> Unrolled:
    """Assemble TISTA: ``A^+`` as weight, one learned step a layer, the conditional mean.

    Ito, Takabe and Wadayama 2019, "Trainable ISTA for sparse signal recovery". Codes are taken
    as independent, zero with probability ``1 - sparsity`` and else normal.

    Parameters
    ----------
    A : Dense
        The operator, one for all samples.
    sparsity : float
        Probability of a nonzero, between 0 and 1.
    variance : float
        Variance of a nonzero, positive.
    noise_variance : float
        Variance of the noise in each feature, nonnegative.
    n_layers : int, default=12
        Number of layers.

    Returns
    -------
    Unrolled
        The network.
    """
    W = pseudo_inverse(A.D)
    weights = CoupledWeights(W, learn=False)
    traces = float(A.D.square().sum()), float(W.square().sum()), float((W * A.D).sum())
    shrinkage, first = ConditionalMean(sparsity, variance), W.new_ones(())
    return Unrolled(
        ProxGradLayer(weights, ErrorVarianceRule(first, noise_variance, *traces), shrinkage)
        for _ in range(n_layers)
    )
