"""Training data on their device, and the loss that is pooled over them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Observation
from sklearn_unroll.functional.rows import Rows
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.training.objectives import Objective

__all__ = ["Loss", "Samples"]


class Samples(NamedTuple):
    """Observations, codes or None, weights; which rows of the former two, None for all."""

    obs: Observation
    y: Tensor | Rows | None
    weight: Tensor
    rows: Tensor | None = None

    @classmethod
    def of(cls, obs: Observation, y: Tensor | None, weight: Tensor | None) -> Samples:
        """Bundle the data; weights are scaled to mean one, so that only their ratios matter."""
        if weight is None:
            weight = obs.b.new_empty(len(obs.b)).fill_(1)
        return cls(obs, y, weight / weight.mean())

    def __len__(self) -> int:  # rows, not fields
        return len(self.weight)

    def take(self, rows: Tensor | slice) -> Samples:
        """Return a subset of the samples, as tensors."""
        places = rows if self.rows is None else self.rows[rows]
        y = None if self.y is None else self.y[places]
        return Samples(self.obs.take(places), y, self.weight[rows])

    def share(self, rows: Tensor) -> Samples:
        """Return a subset of the samples, of which nothing is copied but the weights."""
        places = rows if self.rows is None else self.rows[rows]
        return Samples(self.obs, self.y, self.weight[rows], places)

    def chunks(self) -> Iterator[tuple[slice, Samples]]:
        """Yield the samples in the chunks of observations, as tensors."""
        for rows, _ in Observation(self.weight[:, None], self.obs.A).chunks():
            yield rows, self.take(rows)

    def batches(self, size: int | None, generator: torch.Generator) -> Iterator[Samples]:
        """Yield all samples, shuffled, in batches of equal size."""
        n = len(self)
        if size is None or size >= n:
            yield self.take(slice(None))
            return
        order = torch.randperm(n, generator=generator, device=self.weight.device)
        # Equal parts instead of a small last batch, whose step would be noisier than the others.
        for rows in order.tensor_split(math.ceil(n / size)):
            yield self.take(rows)

    def counted(self) -> Tensor:
        """Return the rows that count: a weight of zero takes a sample out."""
        return self.weight.nonzero()[:, 0]

    def some(self, count: int, generator: torch.Generator) -> Samples:
        """Return so many samples that count, at random."""
        return self.share(self._shuffled(generator)[:count])

    def _shuffled(self, generator: torch.Generator) -> Tensor:
        counted = self.counted()
        return counted[torch.randperm(len(counted), generator=generator, device=counted.device)]

    def split(
        self, fraction: float, most: int, generator: torch.Generator
    ) -> tuple[Samples, Samples]:
        """Return what is left to train on, and a share that is held out, of so many at most."""
        order = self._shuffled(generator)
        n = len(order)
        held_out = min(max(1, round(fraction * n)), most)
        if held_out >= n:
            raise ValueError(
                f"validation_fraction={fraction} of {n} samples leaves none to train on. Lower "
                f"it, or set early_stopping=False."
            )
        return self.share(order[held_out:]), self.share(order[:held_out])


class Measure(NamedTuple):
    """What is monitored: the relative loss, and that of the worst sample."""

    mean: float
    worst: float


class Loss(NamedTuple):
    """``mean(w value) + penalty``: the objective, pooled over samples, and the penalty."""

    objective: Objective
    penalty: Any

    def unit(self, samples: Samples) -> float:
        """Return what the loss is relative to: the mean weighted scale, one where it is zero."""
        parts = [self.objective.scale(part.obs, part.y) for _, part in samples.chunks()]
        scale = float((samples.weight * torch.cat(parts)).mean())
        return scale if scale > 0 else 1.0

    def of(self, iterates: list[Tensor], samples: Samples, network: Unrolled) -> Tensor:
        """Return the loss of a batch: mean weight one in every batch on average."""
        loss = (samples.weight * self._values(iterates, samples)).mean()
        return loss if self.penalty is None else loss + self._penalty(network)

    @torch.no_grad()
    def measure(self, network: Unrolled, samples: Samples, depth: int) -> Measure:
        """Return ``sum(w value) / sum(w scale)`` over all samples, in chunks, with the penalty,
        and the largest value of a sample that counts, relative to its own scale, or to the mean
        where that is larger: a signal that is nearly zero decides nothing.
        """
        weight = samples.weight
        parts = []
        for _, chunk in samples.chunks():
            value = self._values(network.iterates(chunk.obs, depth), chunk)
            parts.append(torch.stack([value, self.objective.scale(chunk.obs, chunk.y)]))
        values, scales = torch.cat(parts, 1)
        total, scale = ((weight * part).double().sum() for part in (values, scales))
        if self.penalty is not None:
            total += self._penalty(network) * len(samples)
        mean = total / scale if scale > 0 else total
        sizes = scales.clamp_min(float(scale) / len(samples))
        sizes = torch.where(sizes > 0, sizes, torch.ones_like(sizes))
        worst = (values / sizes)[weight > 0].max()
        return Measure(float(mean), float(worst))

    def _values(self, iterates: list[Tensor], samples: Samples) -> Tensor:
        values = self.objective.value(iterates, samples.obs, samples.y)
        if values.shape != samples.weight.shape:
            raise ValueError(
                f"{type(self.objective).__name__}.value must return one number per sample, of "
                f"shape {tuple(samples.weight.shape)}; got shape {tuple(values.shape)}."
            )
        return values

    def _penalty(self, network: Unrolled) -> Tensor:
        value = self.penalty.value(network)
        if not isinstance(value, Tensor) or value.ndim:
            raise ValueError(
                f"{type(self.penalty).__name__}.value must return one number, a tensor of shape "
                f"(); got {value!r}."
            )
        return value
