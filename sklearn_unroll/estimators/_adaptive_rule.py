"""What HyperLISTA's rule looks through: a weight, leverages, a coherence, of a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sklearn_unroll.estimators._alista import (
    WEIGHTS,
    convolutional,
    from_cache,
    weight_operator,
)
from sklearn_unroll.functional import (
    Convolution,
    Dense,
    Observation,
    Operator,
    mutual_coherence,
    pseudo_inverse,
)

__all__ = ["largest_waking_c1", "prepare"]


def prepare(weights: str, A: Dense | Convolution, memory: Any) -> Sequence:
    """Return the weight, what the rule takes for the pseudo-inverse, and the coherence.

    Parameters
    ----------
    weights : str
        Which analytic weight.
    A : Dense or Convolution
        The operator.
    memory : str, object or None
        The cache of a matrix's weight.
    """
    if not isinstance(A, Convolution):
        return from_cache(memory, prepare_rule, weights, A.D)
    if A.boundary != "circular":
        raise ValueError(
            f"HyperLISTARegressor takes thresholds and momentum from the pseudo-inverse, whose "
            f"closed form is known for boundary='circular'; got a Convolution with "
            f"boundary={A.boundary!r}. Use ALISTARegressor, which learns them."
        )
    return prepare_shifting(convolutional(weights, A), A)


def prepare_rule(weight: str, D: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return the weight, what the rule takes for the pseudo-inverse, and the coherence."""
    W = WEIGHTS[weight](D)
    mu = float(mutual_coherence(W, D)) if len(D) > 1 else 0.0
    if weight != "analytic":
        return W, pseudo_inverse(D), mu
    # The leverages: w_i = A^+_i / h_i, and so ||w_i^T A||^2 = 1 / h_i.
    inverse = (W @ D.T).square().sum(1)
    # An estimated atom that no sample uses is zero, and takes no part.
    return W, torch.where(inverse > 0, 1 / inverse, torch.zeros_like(inverse)), mu


@torch.no_grad()
def prepare_shifting(W: Convolution, A: Convolution) -> tuple[Convolution, Tensor, float]:
    """Return what :func:`prepare_rule` does, from ``w_i^T A`` of each kernel's first shift."""
    first = torch.zeros(len(A.kernels), A.n_components).to(A.like)
    first[:, :: A.n_positions].fill_diagonal_(1)
    cross = A.adjoint(W(first))
    leverages = (1 / cross.square().sum(1)).repeat_interleave(A.n_positions)
    return W, leverages, float((cross.abs() * (first == 0)).max())


def largest_waking_c1(obs: Observation, W: Tensor | Operator, pinv: Tensor, mu: float) -> Tensor:
    """Return, per sample, the c1 from which on the zero code is a fixed point.

    The first layer leaves zero where ``c1 mu ||A^+ b||_1 < ||W b||_inf``.
    """
    b = obs.b[:5000]
    b = b[b.any(1)]
    update = weight_operator(W).adjoint(b).abs_()
    reach = update.amax(1)
    error = mu * (update @ pinv if pinv.ndim == 1 else (b @ pinv.T).abs().sum(1))
    # With a coherence or observations of zero there is nothing to wake up from.
    return torch.cat([reach / error, b.new_tensor([float("inf")])])
