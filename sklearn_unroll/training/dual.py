"""The multipliers of a constraint while a network is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sklearn_unroll.nn.base import Perturb, Unrolled
from sklearn_unroll.training.constraints import Constraint


class Multipliers:
    """One nonnegative number per layer, zero at first, that ascends with the violation.

    Own lines instead of a primal-dual library: those want to own the loss and both optimisers,
    and the dual step is one line.
    """

    def __init__(self, constraint: Constraint, depth: int, like: Tensor, factor: float) -> None:
        self.constraint = constraint
        self.values = torch.zeros(depth, dtype=like.dtype, device=like.device)
        self.excess = torch.zeros_like(self.values)  # where they moved last
        self.factor = factor

    def weigh(self, iterates: list[Tensor], samples: Any, network: Unrolled) -> Tensor:
        """Return what the violation of a batch adds to the loss."""
        mean = self._sum(iterates, samples, network) / len(samples)
        self.excess = mean.detach()
        return self.factor * (self.values @ mean)

    def ascend(self, excess: Tensor) -> None:
        """Move along a mean excess."""
        self.excess = excess
        self.values = (self.values + self.constraint.dual_learning_rate * excess).clamp_min(0)

    @torch.no_grad()
    def mean_excess(
        self, network: Unrolled, samples: Any, perturb: Perturb | None = None
    ) -> Tensor:
        """Return the weighted mean excess of every layer over all samples, in chunks."""
        total = torch.zeros_like(self.values)
        for _, chunk in samples.chunks():
            iterates = network.iterates(chunk.obs, len(self.values), perturb)
            total += self._sum(iterates, chunk, network)
        return total / samples.weight.sum()

    def violation(self, network: Unrolled, samples: Any) -> float:
        """Return the mean over the layers of the excess above zero, without perturbation."""
        return float(self.mean_excess(network, samples).clamp_min(0).mean())

    def _sum(self, iterates: list[Tensor], samples: Any, network: Unrolled) -> Tensor:
        excess = self.constraint.excess(iterates, samples.obs, samples.y, network)
        expected = (len(samples), len(self.values))
        if excess.shape != expected:
            raise ValueError(
                f"{type(self.constraint).__name__}.excess must have one number per sample and "
                f"layer, shape {expected}; got shape {tuple(excess.shape)}."
            )
        return samples.weight @ excess
