"""What happened during training, epoch by epoch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Epoch", "History"]


class Epoch(NamedTuple):
    """One epoch of training.

    Parameters
    ----------
    stage : str
        Name of the stage.
    epoch : int
        Number within the stage, from 1; 0 is the state before the stage.
    loss : float
        Mean training loss over the epoch, relative (nan for epoch 0).
    monitor : float
        Loss after the epoch on the held-out samples, or on all where none are held out.
    learning_rate : float
        Rate of the epoch.
    seconds : float
        Time since training began.
    multipliers : tuple of float
        Of the constraint, one per layer, or of several, one after the other; empty without.
    excess : tuple of float
        By how much each layer violated the constraint in the mean, where multipliers moved last.
    worst : float
        Of the samples that ``monitor`` was measured on, the largest loss, relative to that of
        its zero code, or of the mean sample's where that is larger: above one the sample is
        worse than zeros.
    """

    stage: str
    epoch: int
    loss: float
    monitor: float
    learning_rate: float
    seconds: float
    multipliers: tuple[float, ...] = ()
    excess: tuple[float, ...] = ()
    worst: float = float("nan")


class History:
    """The epochs of a fit, in order; a read-only sequence of :class:`Epoch`.

    Parameters
    ----------
    epochs : iterable of Epoch, default=()
        Epochs so far.
    held_out : bool, default=False
        Whether ``monitor`` was measured on held-out samples.

    Examples
    --------
    >>> from sklearn_unroll.training import Epoch, History
    >>> history = History([Epoch("end_to_end", 0, float("nan"), 0.5, 1e-3, 0.0)])
    >>> history.column("monitor")
    array([0.5])
    """

    def __init__(self, epochs=(), held_out: bool = False) -> None:
        self.epochs: list[Epoch] = list(epochs)
        self.held_out = held_out

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, index: int) -> Epoch:
        return self.epochs[index]

    def __repr__(self) -> str:
        if not self.epochs:
            return "History()"
        best = min(e.monitor for e in self.epochs)
        return (
            f"History({self.n_epochs} epochs, {self.epochs[-1].seconds:.1f} s, "
            f"monitor {self.epochs[0].monitor:.3g} -> {best:.3g})"
        )

    @property
    def n_epochs(self) -> int:
        """Number of epochs trained."""
        return sum(e.epoch > 0 for e in self.epochs)

    def column(self, name: str) -> np.ndarray:
        """Return one field of all epochs.

        Parameters
        ----------
        name : {"stage", "epoch", "loss", "monitor", "learning_rate", "seconds", \
                "multipliers", "excess", "worst"}
            Which field.

        Returns
        -------
        ndarray of shape (n_records,) or (n_records, n_layers)
            Its values; where the first of several layers were trained alone, and before the
            first epoch, nan stands for layers without a multiplier.
        """
        if name in ("multipliers", "excess"):
            width = max((len(getattr(e, name)) for e in self.epochs), default=0)
            rows = [getattr(e, name) for e in self.epochs]
            return np.array([[*row, *[np.nan] * (width - len(row))] for row in rows])
        return np.array([getattr(e, name) for e in self.epochs])
