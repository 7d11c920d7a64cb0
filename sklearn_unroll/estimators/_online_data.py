"""Signals a batch at a time, and the passes over them that a learner makes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import _safe_indexing
from torch import Tensor

from sklearn_unroll.estimators._arrays import to_tensor
from sklearn_unroll.estimators._online import OnlineLearner
from sklearn_unroll.estimators._progress import CallbackReport
from sklearn_unroll.estimators._validation import check_weight
from sklearn_unroll.training import Epoch, History, Stage

_STAGE = Stage("online", 0, [])
_MOST_MONITORED = 1000
_PER_RECORD = 8  # times as many samples to learn from as to measure on, at least
_FEW = 100  # samples that a coder is fitted to where it is not trained
_HELD_OUT_FROM = 1000  # samples, from which on "auto" holds some out


class Signals:
    """Rows of an array, which is read where they are taken, and their weights.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Validated.
    rows : ndarray of shape (n_rows,)
        Which rows.
    weight : Tensor of shape (n_samples,)
        Of all rows.
    """

    def __init__(self, X: Any, rows: np.ndarray, weight: Tensor) -> None:
        self.X, self.rows, self.weight = X, rows, weight

    @classmethod
    def of(cls, X: Any, sample_weight: Any) -> Signals:
        """Return the rows that count; weights are scaled to mean one."""
        rows = np.arange(X.shape[0])
        weight = check_weight(sample_weight, X, torch.empty(0, dtype=torch.float64))
        if weight is None:
            return cls(X, rows, torch.ones(len(rows), dtype=torch.float64))
        rows = rows[weight.numpy() > 0]
        return cls(X, rows, weight / weight[rows].mean())

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, some: Any) -> tuple[Tensor, Tensor]:
        """Return rows in float64, on the CPU, with their weights."""
        rows = self.rows[some]
        plain = isinstance(self.X, np.ndarray)  # what _safe_indexing takes long to find out
        taken = self.X[rows] if plain else _safe_indexing(self.X, rows)
        b = to_tensor(taken, dtype=torch.float64, device=torch.device("cpu"))
        return b, self.weight[torch.from_numpy(rows)]

    def few(self) -> Any:
        """Return some of the rows, as they were given: what a coder is fitted to."""
        return _safe_indexing(self.X, self.rows[:_FEW])

    @property
    def own_weight(self) -> np.ndarray:
        """The weights of these rows."""
        return self.weight.numpy()[self.rows]

    def some(self, n: int, rng: np.random.RandomState) -> Signals:
        """Return n rows at random, or all of them, without reading them."""
        if len(self) <= n:
            return self
        return Signals(self.X, self.rows[spread(len(self), n, rng)], self.weight)

    def sample(self, n: int, rng: np.random.RandomState) -> tuple[Tensor, Tensor]:
        """Return n rows at random, or all of them as they are."""
        return self.take(slice(None) if len(self) <= n else spread(len(self), n, rng))

    def split(self, fraction: float, rng: np.random.RandomState) -> tuple[Signals, Signals]:
        """Return what is left to learn from, and a share that is held out."""
        n = min(_MOST_MONITORED, max(1, round(fraction * len(self))))
        if n >= len(self):
            raise ValueError(
                f"validation_fraction={fraction} of {len(self)} samples leaves none to learn "
                f"from. Lower it, or set early_stopping=False."
            )
        left_out = np.zeros(len(self), bool)
        left_out[spread(len(self), n, rng)] = True
        parts = self.rows[~left_out], self.rows[left_out]
        left, held_out = (Signals(self.X, part, self.weight) for part in parts)
        return left, held_out

    def batches(self, n_batches: int, rng: np.random.RandomState) -> Iterator[tuple]:
        """Yield all rows in so many equal batches, shuffled anew for each pass, without end."""
        edges = np.arange(n_batches + 1) * len(self) // n_batches
        while True:
            order = rng.permutation(len(self)) if n_batches > 1 else np.arange(len(self))
            for first, last in pairwise(edges):
                yield self.take(np.sort(order[first:last]))


def spread(n: int, k: int, rng: np.random.RandomState) -> np.ndarray:
    """Return k of n places at random, sorted: one of each of k stretches, from a random one on.

    Each place is as likely as another, and to draw some of many takes no shuffle of all.
    """
    edges = np.arange(k + 1) * n // k
    places = edges[:-1] + rng.randint(np.diff(edges))
    return np.sort((places + rng.randint(n)) % n)


def divided(
    signals: Signals, est: Any, rng: np.random.RandomState
) -> tuple[Signals, Signals | None]:
    """Return what to learn from, and what is held out, if anything."""
    hold_out = est.early_stopping
    if hold_out == "auto":
        hold_out = len(signals) >= _HELD_OUT_FROM
    return signals.split(est.validation_fraction, rng) if hold_out else (signals, None)


class Course(NamedTuple):
    """How long to learn, and what to look at meanwhile."""

    n_batches: int  # of a pass
    steps: list[int]  # after which to measure
    tol: float
    monitored: tuple[Tensor, Tensor]
    held_out: bool

    @classmethod
    def of(
        cls, signals: Signals, held_out: Signals | None, est: Any, rng: np.random.RandomState
    ) -> Course:
        """Return what an estimator's parameters say."""
        n_batches = -(-len(signals) // est.batch_size)
        monitored = (held_out or signals).sample(_MOST_MONITORED, rng)
        least = -(-_PER_RECORD * len(monitored[0]) * n_batches // len(signals))
        steps = records(n_batches * est.max_iter, least)
        return cls(n_batches, steps, est.tol, monitored, held_out is not None)

    def follow(
        self,
        learner: OnlineLearner,
        signals: Signals,
        report: CallbackReport,
        rng: np.random.RandomState,
        began: float,
    ) -> History:
        """Let a learner learn, and leave it with its best dictionary; return what happened."""
        history = History(held_out=self.held_out)
        best, first, batches = learner.D, learner.n_steps, signals.batches(self.n_batches, rng)

        def record(number: int, loss: float, share: float) -> float:
            monitor = learner.measure(*self.monitored)
            seconds = perf_counter() - began
            history.epochs.append(Epoch(_STAGE.name, number, loss, monitor, share, seconds))
            return monitor

        lowest = record(0, float("nan"), 0.0)
        report.stage_begins(_STAGE, len(self.steps))
        for number, last in enumerate(self.steps, 1):
            report.epoch_begins()
            while learner.n_steps - first < last:
                share = learner.learn(*next(batches))
            monitor = record(number, learner.last_loss(), share)
            if monitor < lowest:
                best, lowest = learner.D, monitor
            done = settled(history.column("monitor"), self.steps[:number], self.tol)
            if report.epoch_ends() or done:
                break
        report.stage_ends()
        learner.D = best
        return history


def records(n_steps: int, least: int) -> list[int]:
    """Return after which steps to measure: so many at least between, then ever more, and last."""
    steps, step = [], least
    while step < n_steps:
        steps.append(step)
        step = max(step + least, step * 13 // 10)
    return [*steps, n_steps]


def settled(monitored: np.ndarray, steps: list[int], tol: float) -> bool:
    """Return whether twice as many steps have lowered the monitored objective by too little."""
    earlier = [m for m, s in zip(monitored, [0, *steps], strict=True) if 2 * s <= steps[-1]]
    return min(earlier) - min(monitored) < tol * min(monitored)
