"""How long a stage of training may take: epochs, steps, seconds, and what is left of them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sklearn_unroll.training.trainer import Trainer

__all__ = ["Budget", "Plan"]

_PARTS = 10  # epochs that max_steps are at least divided into
_TIMED = 8  # steps after which their time is known


class Plan(NamedTuple):
    """A stage in numbers.

    Parameters
    ----------
    n_epochs : int
        Largest number of epochs.
    n_steps : int
        Minibatches in each.
    """

    n_epochs: int
    n_steps: int

    @classmethod
    def of(cls, trainer: Trainer, n_samples: int) -> Plan:
        """Return what a trainer does with so many samples in a stage."""
        a_pass = 1 if trainer.batch_size is None else math.ceil(n_samples / trainer.batch_size)
        if trainer.max_steps is None:
            return cls(trainer.max_epochs, a_pass)
        # Rates and the best state move from epoch to epoch, and a pass over many samples is long.
        n_steps = min(a_pass, math.ceil(trainer.max_steps / _PARTS))
        n_passes = math.ceil(trainer.max_epochs * a_pass / n_steps)
        return cls(min(n_passes, trainer.max_steps // n_steps), n_steps)


class Budget:
    """What is left of a stage.

    Parameters
    ----------
    name : str
        That of the stage, for what is printed.
    plan : Plan
        Its epochs and steps.
    max_seconds : float or None
        From now on.
    verbose : bool
        Whether to say how long it will take.
    """

    def __init__(self, name: str, plan: Plan, max_seconds: float | None, verbose: bool) -> None:
        self.name, self.plan, self.max_seconds, self.verbose = name, plan, max_seconds, verbose
        self.began = time.perf_counter()
        self.n_taken, self.first_ended, self.overhead = 0, self.began, 0.0

    def measured(self) -> None:
        """Hear that a monitored loss was measured, once, since the stage began."""
        self.overhead = time.perf_counter() - self.began

    def step_taken(self) -> None:
        """Hear of a step; after a few, say how long all of them will take."""
        self.n_taken += 1
        now = time.perf_counter()
        if self.n_taken == 1:
            self.first_ended = now  # the first also warms up
        n_epochs, n_steps = self.plan
        if not self.verbose or self.n_taken != min(_TIMED, n_steps):
            return
        per_step = (now - self.first_ended) / (self.n_taken - 1) if self.n_taken > 1 else 0.0
        seconds = n_epochs * (n_steps * per_step + self.overhead)
        at_most = "" if self.max_seconds is None else f", stopped after {self.max_seconds:.3g} s"
        print(
            f"{self.name}: at most {n_epochs} epochs of {n_steps} steps, about {seconds:.2g} s"
            f"{at_most}",
            flush=True,
        )

    @property
    def is_over(self) -> bool:
        """Whether the seconds are spent."""
        return self.max_seconds is not None and self._elapsed() >= self.max_seconds

    def share(self, epoch: int) -> float:
        """Return the share that is spent after an epoch, from 0 to 1."""
        spent = epoch / self.plan.n_epochs
        if self.max_seconds is not None:
            spent = max(spent, self._elapsed() / self.max_seconds)
        return min(spent, 1.0)

    def _elapsed(self) -> float:
        return time.perf_counter() - self.began
