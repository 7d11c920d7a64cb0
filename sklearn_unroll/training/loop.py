"""The one training loop of the package.

It knows a network only through ``iterates``, ``parameters`` and ``project_``; the parts of the
trainer say what is done. Data stay on their device, no worker processes.
"""

from __future__ import annotations

import math
import time
import warnings
from copy import deepcopy
from typing import TYPE_CHECKING

import torch

from sklearn_unroll.exceptions import TrainingWarning
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.training.budget import Budget, Plan
from sklearn_unroll.training.dual import Multipliers
from sklearn_unroll.training.history import Epoch, History
from sklearn_unroll.training.samples import Loss, Samples
from sklearn_unroll.training.schedules import Stage
from sklearn_unroll.training.steps import Steps

if TYPE_CHECKING:
    from sklearn_unroll.training.trainer import Trainer

__all__ = ["Report", "train"]

# From this many samples on, "auto" holds some of them out to stop early.
EARLY_STOPPING_FROM = 1000
MONITORED = 10_000  # samples at most: more would cost more than the steps between them
_WORSE = 2.0  # factor on the loss of zeros from which on a sample counts against a state
_JUMP = 5.0  # and on that, from which on it is said to have jumped


class Report:
    """Hears of stages and epochs as they begin and end; this one does nothing."""

    def stage_begins(self, stage: Stage, n_epochs: int) -> None:
        """Hear that a stage begins.

        Parameters
        ----------
        stage : Stage
            What will be trained.
        n_epochs : int
            Largest number of epochs.
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


def train(
    network: Unrolled,
    samples: Samples,
    trainer: Trainer,
    generator: torch.Generator,
    report: Report,
) -> History:
    """Train in place, stage by stage; every stage ends with the best state it has seen."""
    training, monitor, held_out = _divided(samples, trainer, generator)
    history = History(held_out=held_out)
    # The first optimiser of a process makes torch import its compiler: seconds, and no training.
    trainer.optimizer.over([{"params": [torch.zeros(1)], "lr": 1.0}])
    began = time.perf_counter()

    def note(epoch: Epoch) -> None:
        history.epochs.append(epoch._replace(seconds=time.perf_counter() - began))

    stages = trainer.stages(network)
    for left, stage in zip(range(len(stages), 0, -1), stages, strict=True):
        plan = Plan.of(trainer, len(training))
        report.stage_begins(stage, plan.n_epochs)
        seconds = trainer.max_seconds
        if seconds is not None:  # what earlier stages have left is shared out again
            seconds = max(seconds + began - time.perf_counter(), 0.0) / left
        budget = Budget(stage.name, plan, seconds, trainer.verbose)
        run = StageRun(network, stage, training, monitor, trainer, generator, held_out, budget)
        note(run.start())
        try:
            for number in range(1, plan.n_epochs + 1):
                report.epoch_begins()
                note(run.epoch(number))
                if report.epoch_ends() or run.is_over():
                    break
        except KeyboardInterrupt:
            if not trainer.keep_on_interrupt:
                raise
            network.load_state_dict(run.best_state)
            run.warn_of_interrupt(len(stages) - left)
            report.stage_ends()
            break
        network.load_state_dict(run.best_state)
        run.warn_of_jumps()
        report.stage_ends()
    return history


def _divided(
    samples: Samples, trainer: Trainer, generator: torch.Generator
) -> tuple[Samples, Samples, bool]:
    """Return what to train on and what to monitor, and whether the latter is held out."""
    training = monitor = samples
    hold_out = trainer.early_stopping
    if hold_out == "auto":
        hold_out = len(samples.counted()) >= EARLY_STOPPING_FROM
    if hold_out:
        training, monitor = samples.split(trainer.validation_fraction, MONITORED, generator)
    elif len(samples.counted()) > MONITORED:
        monitor = samples.some(MONITORED, generator)
    if trainer.augmentation is not None:
        monitor = trainer.augmentation.show(monitor, generator)
    return training, monitor, bool(hold_out)


class StageRun:
    """A stage under way: its steps, its rate, its multipliers and the best state so far."""

    def __init__(
        self,
        network: Unrolled,
        stage: Stage,
        training: Samples,
        monitor: Samples,
        trainer: Trainer,
        generator: torch.Generator,
        held_out: bool,
        budget: Budget,
    ) -> None:
        # Without epochs the network is to be the untrained one, layer by layer.
        if stage.new_layer and trainer.max_epochs:
            network.continue_(stage.depth)
        self.network, self.stage, self.trainer = network, stage, trainer
        self.training, self.monitor, self.budget = training, monitor, budget
        self.loss = Loss(trainer.objective, trainer.penalty)
        self.first, worst = self.loss.measure(network, monitor, stage.depth)
        budget.measured()
        # Beyond this a sample is far worse than zeros, and than any was: it exploded.
        limit = _WORSE * max(worst, 1.0)
        self.limit = limit if trainer.objective.relative_to_zero else math.inf
        self.worst, self.jumps = worst, []
        # Relative to where the stage begins, so that Adam's eps and the clipping mean the same
        # at -10 and at -70 dB. (A smaller eps instead would blow up rounding errors.)
        self.size = abs(self.first) or 1.0
        unit = self.loss.unit(training)
        factor = 1 / self.size if trainer.loss == "relative" else unit
        self.duals = [
            Multipliers(constraint, stage.depth, training.weight, factor)
            for constraint in trainer.constraint
        ]
        self.steps = Steps(network, stage, trainer, unit * self.size, generator, self.duals)
        self.steps.check(self.first, 0)
        self.steps.check_sign(self.first)
        self.rates = [group["lr"] for group in self.steps.optimizer.param_groups]
        self.factor = 1.0
        self.best, self.best_state = self.first + self._violation(), self._state()
        self.stale = 0
        self.patience = trainer.n_iter_no_change if held_out else None
        self.best_epoch = 0

    def start(self) -> Epoch:
        """Return the record of the state before the stage."""
        rate = self.trainer.learning_rate
        return Epoch(self.stage.name, 0, math.nan, self.first, rate, 0.0, worst=self.worst)

    def epoch(self, number: int) -> Epoch:
        """Train for an epoch and return its record."""
        rate = self.factor * max(self.rates)
        loss = self.size * self.steps.epoch(self.training, self.budget)
        self.steps.check(loss + self.steps.largest_parameter(), number)
        value, worst = self.loss.measure(self.network, self.monitor, self.stage.depth)
        self.steps.check(value, number)
        if worst > _JUMP * self.limit:
            self.jumps.append((worst, number))
        for dual in self.duals:
            if dual.constraint.update == "epoch":
                excess = dual.mean_excess(self.network, self.training, self.steps.perturb)
                dual.ascend(excess)
        # Of two states with one loss that is better which violates constraints less.
        self._compare(value + max(worst - self.limit, 0.0) + self._violation(), number)
        self._decay(number)
        multipliers = tuple(nu for dual in self.duals for nu in dual.values.tolist())
        excess = tuple(c for dual in self.duals for c in dual.excess.tolist())
        return Epoch(self.stage.name, number, loss, value, rate, 0.0, multipliers, excess, worst)

    def is_over(self) -> bool:
        """Return whether time is up, or held-out samples have seen no progress for too long."""
        return self.budget.is_over or (self.patience is not None and self.stale >= self.patience)

    def warn_of_interrupt(self, n_stages: int) -> None:
        """Say where training was interrupted."""
        warnings.warn(
            f"Training was interrupted in stage {self.stage.name!r}, after {n_stages} whole "
            f"stages. The weights of epoch {self.best_epoch} of this stage are kept, its best, as "
            f"keep_on_interrupt=True asks for; later stages were not begun.",
            TrainingWarning,
            stacklevel=2,
        )

    def warn_of_jumps(self) -> None:
        """Say when samples were coded far worse than zeros would, though not in the end."""
        if not self.jumps:
            return
        worst, epoch = max(self.jumps)
        trainer = self.trainer
        advice = (
            ", or show training more than these samples, "
            "Trainer(augmentation=Augmentation())" * (trainer.augmentation is None)
        )
        warnings.warn(
            f"In {len(self.jumps)} epochs of stage {self.stage.name!r} the monitored loss jumped: "
            f"in epoch {epoch} a sample's was {worst:.2g} times that of its zero code. Layers "
            f"then amplify what few samples have shown them, and unseen samples may meet the "
            f"same. The weights of epoch {self.best_epoch} are kept, for which no monitored "
            f"sample did. Lower the learning rate (now {trainer.learning_rate:g}){advice}.",
            TrainingWarning,
            stacklevel=2,
        )

    def _compare(self, value: float, number: int) -> None:
        # Relative to the size of the best, whatever its sign; nearer to zero any decrease counts.
        progress = value < self.best - self.trainer.tol * abs(self.best)
        self.stale = 0 if progress else self.stale + 1
        if value < self.best:
            self.best, self.best_state, self.best_epoch = value, self._state(), number

    def _decay(self, number: int) -> None:
        """Set the rates of the epoch after this one."""
        if self.trainer.decay == "cosine":
            self.factor = (1 + math.cos(math.pi * self.budget.share(number))) / 2
        elif self.trainer.decay == "plateau":
            patience = 5 if self.patience is None else max(self.patience // 3, 1)
            if self.stale and self.stale % (patience + 1) == 0:
                self.factor *= 0.3
        for group, rate in zip(self.steps.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = self.factor * rate

    def _violation(self) -> float:
        return sum(dual.violation(self.network, self.monitor) for dual in self.duals)

    def _state(self) -> dict[str, torch.Tensor]:
        return deepcopy(self.network.state_dict())
