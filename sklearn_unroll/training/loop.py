"""The one training loop of the package.

It knows a network only through ``iterates``, ``parameters`` and ``project_``; objective,
schedule and reporting are given to it. Data stay on their device, no worker processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Observation
from sklearn_unroll.nn.base import Perturb, Unrolled
from sklearn_unroll.training.constraints import Constraint
from sklearn_unroll.training.dual import Multipliers
from sklearn_unroll.training.history import Epoch, History
from sklearn_unroll.training.objectives import Objective
from sklearn_unroll.training.perturbations import Perturbation
from sklearn_unroll.training.schedules import Stage

__all__ = ["DivergenceError", "LoopOptions", "Report", "Samples", "train"]


class Report:
    """Hears of stages and epochs as they begin and end; this one does nothing."""

    def stage_begins(self, stage: Stage) -> None:
        """Hear that a stage begins.

        Parameters
        ----------
        stage : Stage
            What will be trained.
        """

    def epoch_begins(self) -> None:
        """Hear that an epoch begins."""

    def epoch_ends(self) -> bool:
        """Hear that an epoch has ended.

        Returns
        -------
        bool
            Whether to end the stage.
        """
        return False

    def stage_ends(self) -> None:
        """Hear that a stage has ended, in its best state."""


class DivergenceError(FloatingPointError):
    """The training loss became infinite or NaN."""


class Samples(NamedTuple):
    """Training data on their device: observations, codes or None, weights."""

    obs: Observation
    y: Tensor | None
    weight: Tensor

    def __len__(self) -> int:  # rows, not fields
        return len(self.weight)

    def take(self, rows: Tensor | slice) -> Samples:
        """Return a subset of the samples."""
        y = None if self.y is None else self.y[rows]
        return Samples(self.obs.take(rows), y, self.weight[rows])


class LoopOptions(NamedTuple):
    """What the loop needs of a :class:`Trainer`."""

    learning_rate: float
    decay: str
    max_epochs: int
    batch_size: int | None
    patience: int | None
    tol: float
    max_grad_norm: float | None
    loss: str
    optimizer: str
    momentum: float
    betas: tuple[float, float]
    truncate: int | None
    penalty: Any
    constraints: tuple[Constraint, ...]
    perturbation: Perturbation | None


def train(
    network: Unrolled,
    training: Samples,
    monitor: Samples,
    objective: Objective,
    stages: list[Stage],
    options: LoopOptions,
    generator: torch.Generator,
    report: Report,
) -> History:
    """Train in place, stage by stage; every stage ends with the best state it has seen."""
    history = History(held_out=monitor is not training)
    start = time.perf_counter()
    for stage in stages:
        report.stage_begins(stage)
        if stage.new_layer:
            network.continue_(stage.depth)
        optimizer = make_optimizer(stage, options)
        decay = _rate_decay(optimizer, options)
        best = best_loss = evaluate(network, monitor, objective, stage.depth, options.penalty)
        check_finite(best, stage, 0, options)
        # Relative to where the stage begins, so that Adam's eps and the clipping mean the same
        # at -10 and at -70 dB. (A smaller eps instead would blow up rounding errors.)
        first = abs(best) or 1.0
        scale = mean_scale(objective, training) * first
        best_state = _snapshot(network)
        stale = 0
        factor = 1 / first if options.loss == "relative" else scale / first
        duals = [
            Multipliers(constraint, stage.depth, training.weight, factor)
            for constraint in options.constraints
        ]
        best += sum(dual.violation(network, monitor) for dual in duals)
        seconds = time.perf_counter() - start
        history.epochs.append(
            Epoch(stage.name, 0, math.nan, best_loss, options.learning_rate, seconds)
        )
        for epoch in range(1, options.max_epochs + 1):
            report.epoch_begins()
            rate = max(group["lr"] for group in optimizer.param_groups)
            loss = first * run_epoch(
                network, training, objective, stage, optimizer, options, generator, scale, duals
            )
            check_finite(loss + largest_parameter(network), stage, epoch, options)
            value = evaluate(network, monitor, objective, stage.depth, options.penalty)
            check_finite(value, stage, epoch, options)
            record = Epoch(stage.name, epoch, loss, value, rate, time.perf_counter() - start)
            for dual in duals:
                if dual.constraint.update == "epoch":
                    perturb = perturb_with(options.perturbation, generator)
                    dual.ascend(dual.mean_excess(network, training, perturb))
                record = record._replace(
                    multipliers=(*record.multipliers, *dual.values.tolist()),
                    excess=(*record.excess, *dual.excess.tolist()),
                )
                # Of two states with one loss that is better which violates constraints less.
                value += dual.violation(network, monitor)
            history.epochs.append(record)
            decay(value)
            stale = 0 if value < best * (1 - options.tol) else stale + 1
            if value < best:
                best, best_state = value, _snapshot(network)
            stop = report.epoch_ends()
            if stop or (options.patience is not None and stale >= options.patience):
                break
        network.load_state_dict(best_state)
        report.stage_ends()
    return history


def run_epoch(
    network: Unrolled,
    training: Samples,
    objective: Objective,
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    options: LoopOptions,
    generator: torch.Generator,
    scale: float,
    duals: Sequence[Multipliers] = (),
) -> float:
    """Take a step per minibatch, or segment of it, and return the mean loss over scale seen."""
    total = torch.zeros((), dtype=torch.float64, device=training.weight.device)
    moving = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in network.parameters():
        parameter.requires_grad_(False)  # no graph below the first layer that moves
    for parameter in moving:
        parameter.requires_grad_(True)
    length = options.truncate or max(stage.depth, 1)
    n_segments = math.ceil(max(stage.depth, 1) / length)
    perturb = perturb_with(options.perturbation, generator)
    for batch in _minibatches(training, options.batch_size, generator):
        for iterates in network.segments(batch.obs, length, stage.depth, perturb):
            # Mean weight one in every batch on average: the mean over the epoch is the full loss.
            loss = (batch.weight * _values(objective, iterates, batch)).mean() / scale
            if options.penalty is not None:
                loss = loss + _penalty(options.penalty, network) / scale
            goal = _goal(loss, scale, options)
            for dual in duals:
                goal = goal + dual.weigh(iterates, batch, network)
            gradients = torch.autograd.grad(goal, moving, allow_unused=True)
            for parameter, gradient in zip(moving, gradients, strict=True):
                parameter.grad = gradient
            if options.max_grad_norm is not None:
                nn.utils.clip_grad_norm_(moving, options.max_grad_norm)
            optimizer.step()
            network.project_()
            for dual in duals:
                if dual.constraint.update == "batch":
                    dual.ascend(dual.excess)
            total += loss.detach() * (len(batch) / n_segments)
    optimizer.zero_grad()
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return float(total / len(training))


@torch.no_grad()
def evaluate(
    network: Unrolled, samples: Samples, objective: Objective, depth: int, penalty: Any = None
) -> float:
    """Return ``sum(w value) / sum(w scale)`` over all samples, in chunks; with the penalty."""
    value = torch.zeros((), dtype=torch.float64, device=samples.weight.device)
    scale = torch.zeros_like(value)
    for rows, obs in samples.obs.chunks():
        chunk = samples.take(rows)
        iterates = network.iterates(obs, depth)
        value += (chunk.weight * _values(objective, iterates, chunk)).sum()
        scale += (chunk.weight * objective.scale(obs, chunk.y)).sum()
    if penalty is not None:
        value += _penalty(penalty, network) * len(samples)
    return float(value / scale) if scale > 0 else float(value)


def largest_parameter(network: Unrolled) -> float:
    """Return the largest magnitude of a parameter; the last step may have broken one."""
    return max(float(p.detach().abs().max()) for p in network.parameters())


def mean_scale(objective: Objective, samples: Samples) -> float:
    """Return the mean weighted scale of the objective, one where it is zero."""
    scale = float((samples.weight * objective.scale(samples.obs, samples.y)).mean())
    return scale if scale > 0 else 1.0


def make_optimizer(stage: Stage, options: LoopOptions) -> torch.optim.Optimizer:
    """Return the optimiser of the groups of a stage."""
    groups = []
    for group in stage.groups:
        rate = options.learning_rate * group.rate
        if group.relative:
            groups += [{"params": [p], "lr": rate * (_size(p) or 1.0)} for p in group.parameters]
        else:
            groups.append({"params": group.parameters, "lr": rate})
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=options.momentum)
    return torch.optim.Adam(groups, betas=options.betas)


def _goal(loss: Tensor, scale: float, options: LoopOptions) -> Tensor:
    """Return what the gradient is taken of."""
    if options.loss == "log":
        return loss.clamp_min(torch.finfo(loss.dtype).tiny).log()
    return loss if options.loss == "relative" else loss * scale


def perturb_with(perturbation: Perturbation | None, generator: torch.Generator) -> Perturb | None:
    """Return what disturbs iterates, bound to a source of randomness."""
    if perturbation is None:
        return None
    return lambda number, x, obs: perturbation.perturb(number, x, obs, generator)


def _penalty(penalty: Any, network: Unrolled) -> Tensor:
    value = penalty.value(network)
    if not isinstance(value, Tensor) or value.ndim:
        raise ValueError(
            f"{type(penalty).__name__}.value must return one number, a tensor of shape (); got "
            f"{value!r}."
        )
    return value


def _values(objective: Objective, iterates: list[Tensor], samples: Samples) -> Tensor:
    values = objective.value(iterates, samples.obs, samples.y)
    if values.shape != samples.weight.shape:
        raise ValueError(
            f"{type(objective).__name__}.value must return one number per sample, of shape "
            f"{tuple(samples.weight.shape)}; got shape {tuple(values.shape)}."
        )
    return values


def _size(parameter: Tensor) -> float:
    return float(parameter.detach().square().mean().sqrt())


def _rate_decay(optimizer: torch.optim.Optimizer, options: LoopOptions) -> Callable[[float], None]:
    schedulers = torch.optim.lr_scheduler
    if options.decay == "constant":
        return lambda value: None
    if options.decay == "cosine":
        cosine = schedulers.CosineAnnealingLR(optimizer, options.max_epochs)
        return lambda value: cosine.step()
    patience = 5 if options.patience is None else max(options.patience // 3, 1)
    plateau = schedulers.ReduceLROnPlateau(optimizer, factor=0.3, patience=patience)
    return plateau.step


def _minibatches(
    samples: Samples, batch_size: int | None, generator: torch.Generator
) -> Iterator[Samples]:
    n = len(samples)
    if batch_size is None or batch_size >= n:
        yield samples
        return
    order = torch.randperm(n, generator=generator, device=samples.weight.device)
    # Equal parts instead of a small last batch, whose step would be noisier than the others.
    for rows in order.tensor_split(math.ceil(n / batch_size)):
        yield samples.take(rows)


def _snapshot(network: Unrolled) -> dict[str, Tensor]:
    return deepcopy(network.state_dict())


def check_finite(value: float, stage: Stage, epoch: int, options: LoopOptions) -> None:
    if not math.isfinite(value):
        raise DivergenceError(
            f"Training diverged in stage {stage.name!r}, epoch {epoch}: the loss is {value}. "
            f"Lower the learning rate (now {options.learning_rate:g}), set max_grad_norm "
            f"(now {options.max_grad_norm}), or rescale X so that its values are of order one."
        )
