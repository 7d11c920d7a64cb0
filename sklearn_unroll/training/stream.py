"""One pass over a batch of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.training.samples import Loss, Samples
from sklearn_unroll.training.steps import Steps

if TYPE_CHECKING:
    from sklearn_unroll.training.trainer import Trainer

__all__ = ["take_pass"]


def take_pass(
    network: Unrolled,
    samples: Samples,
    trainer: Trainer,
    generator: torch.Generator,
    optimizer_state: dict[str, Any] | None,
) -> dict[str, Any]:
    """Train in place, all layers at once; return the state of the optimiser."""
    if trainer.constraint:
        raise ValueError(
            "A stream of batches has no multipliers: use fit, or a trainer without constraint."
        )
    stage = trainer.schedule.all_at_once(network)
    scale = Loss(trainer.objective, trainer.penalty).unit(samples)
    steps = Steps(network, stage, trainer, scale, generator)
    if optimizer_state is not None:
        steps.take_up(optimizer_state)
    loss = steps.epoch(samples)
    steps.check(loss + steps.largest_parameter(), 1)
    steps.check_sign(loss)
    return steps.optimizer.state_dict()
