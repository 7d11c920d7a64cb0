"""The steps of a stage: gradient, clipping, optimiser, projection, multipliers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sklearn_unroll.nn.base import Perturb, Unrolled
from sklearn_unroll.training.budget import Budget
from sklearn_unroll.training.dual import Multipliers
from sklearn_unroll.training.samples import Loss, Samples
from sklearn_unroll.training.schedules import Stage

if TYPE_CHECKING:
    from sklearn_unroll.training.trainer import Trainer

__all__ = ["DivergenceError", "Steps"]


class DivergenceError(FloatingPointError):
    """The training loss became infinite or NaN."""


class Steps:
    """What moves the parameters of a stage.

    Parameters
    ----------
    network : Unrolled
        Trained in place.
    stage : Stage
        What moves, and up to which layer.
    trainer : Trainer
        Its parts are objects.
    scale : float
        What a loss is divided by before anything else.
    generator : torch.Generator
        Source of shuffles and perturbations.
    duals : sequence of Multipliers, default=()
        Of the constraints.
    """

    def __init__(
        self,
        network: Unrolled,
        stage: Stage,
        trainer: Trainer,
        scale: float,
        generator: torch.Generator,
        duals: Sequence[Multipliers] = (),
    ) -> None:
        self.network, self.stage, self.trainer = network, stage, trainer
        self.scale, self.generator, self.duals = scale, generator, duals
        self.loss = Loss(trainer.objective, trainer.penalty)
        self.optimizer = trainer.optimizer.over(groups_of(stage, trainer.learning_rate))
        self.moving = [p for group in self.optimizer.param_groups for p in group["params"]]

    def epoch(self, samples: Samples, budget: Budget | None = None) -> float:
        """Take a step per minibatch, or segment of it; return the mean loss over scale seen."""
        with self._only_moving():
            return self._epoch(samples, budget)

    def _epoch(self, samples: Samples, budget: Budget | None) -> float:
        depth = max(self.stage.depth, 1)
        length = self.trainer.truncate or depth
        n_segments = math.ceil(depth / length)
        total = torch.zeros((), dtype=torch.float64, device=samples.weight.device)
        augment, n_seen = self.trainer.augmentation, 0
        batches = samples.batches(self.trainer.batch_size, self.generator)
        for batch in islice(batches, None if budget is None else budget.plan.n_steps):
            if augment is not None:
                batch = augment(batch, self.generator)
            segments = self.network.segments(batch.obs, length, self.stage.depth, self.perturb)
            for iterates in segments:
                loss = self.loss.of(iterates, batch, self.network) / self.scale
                self._step(loss, iterates, batch)
                total += loss.detach() * (len(batch) / n_segments)
            n_seen += len(batch)
            if budget is not None:
                budget.step_taken()
                if budget.is_over:
                    break
        return float(total / n_seen)

    @contextmanager
    def _only_moving(self) -> Iterator[None]:
        """Build no graph below the first layer that moves, and leave no gradients behind."""
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        for parameter in self.moving:
            parameter.requires_grad_(True)
        try:
            yield
        finally:
            self.optimizer.zero_grad()
            for parameter in self.network.parameters():
                parameter.requires_grad_(True)

    @property
    def perturb(self) -> Perturb | None:
        """What disturbs iterates, bound to the source of randomness."""
        perturbation = self.trainer.perturbation
        if perturbation is None:
            return None
        return lambda number, x, obs: perturbation.perturb(number, x, obs, self.generator)

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on from a state of this optimiser; that of another, or of other groups, is left."""
        groups = self.optimizer.state_dict()["param_groups"]
        kinds = [(group.keys(), group["params"]) for group in groups]
        if kinds == [(group.keys(), group["params"]) for group in state["param_groups"]]:
            # Today's settings; a copy, as steps are taken in place.
            moments = deepcopy(state["state"])
            self.optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def check(self, loss: float, epoch: int) -> None:
        """Raise DivergenceError if a loss is not finite."""
        if not math.isfinite(loss):
            raise DivergenceError(
                f"Training diverged in stage {self.stage.name!r}, epoch {epoch}: the loss is "
                f"{loss}. Lower the learning rate (now {self.trainer.learning_rate:g}), set "
                f"max_grad_norm (now {self.trainer.max_grad_norm}), or rescale X so that its "
                f"values are of order one."
            )

    def check_sign(self, loss: float) -> None:
        """Refuse the logarithm of a negative loss, which has no gradient."""
        if self.trainer.loss == "log" and loss < 0:
            raise ValueError(
                f"loss='log' is for losses above zero, and that of "
                f"{type(self.trainer.objective).__name__} is {loss:.3g}: use loss='relative'."
            )

    def largest_parameter(self) -> float:
        """Return the largest magnitude of a parameter; the last step may have broken one."""
        largest = [p.detach().abs().max() for p in self.network.parameters()]
        return float(torch.stack(largest).max())  # NaN wins, unlike with Python's max

    def _step(self, loss: Tensor, iterates: list[Tensor], batch: Samples) -> None:
        goal = self._goal(loss)
        for dual in self.duals:
            goal = goal + dual.weigh(iterates, batch, self.network)
        gradients = torch.autograd.grad(goal, self.moving, allow_unused=True)
        for parameter, gradient in zip(self.moving, gradients, strict=True):
            parameter.grad = gradient
        if self.trainer.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.moving, self.trainer.max_grad_norm)
        self.optimizer.step()
        self.network.project_()
        for dual in self.duals:
            if dual.constraint.update == "batch":
                dual.ascend(dual.excess)

    def _goal(self, loss: Tensor) -> Tensor:
        """Return what the gradient is taken of."""
        if self.trainer.loss == "log":
            return loss.clamp_min(torch.finfo(loss.dtype).tiny).log()
        return loss if self.trainer.loss == "relative" else loss * self.scale


def groups_of(stage: Stage, learning_rate: float) -> list[dict[str, Any]]:
    """Return the parameter groups of a stage, as torch wants them."""
    groups = []
    for group in stage.groups:
        rate = learning_rate * group.rate
        if group.relative:
            sizes = [float(p.detach().square().mean().sqrt()) for p in group.parameters]
            groups += [
                {"params": [p], "lr": rate * (size or 1.0)}
                for p, size in zip(group.parameters, sizes, strict=True)
            ]
        else:
            groups.append({"params": group.parameters, "lr": rate})
    return groups
