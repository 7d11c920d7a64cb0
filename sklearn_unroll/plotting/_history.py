"""How the loss fell during training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_unroll.plotting._axes import get_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HistoryDisplay"]


class HistoryDisplay:
    """Training and monitored loss over time, as recorded by ``fit``.

    Parameters
    ----------
    history : History
        The ``history_`` of a fitted estimator.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of these axes.
    lines_ : list of matplotlib Line2D
        The curves.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor, Trainer
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.plotting import HistoryDisplay
    >>> data = make_sparse_recovery(50, n_features=8, n_components=12, random_state=0)
    >>> model = LISTARegressor(
    ...     data.dictionary, n_layers=4, trainer=Trainer(max_epochs=2), random_state=0
    ... ).fit(data.X, data.y)
    >>> display = HistoryDisplay.from_estimator(model)
    >>> len(display.lines_)
    2
    """

    def __init__(self, *, history: Any) -> None:
        self.history = history

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Axes | None = None, **line_kw: Any
    ) -> HistoryDisplay:
        """Plot the history of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted unrolled estimator.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        HistoryDisplay
            The display, drawn.
        """
        check_is_fitted(estimator, "history_")
        return cls(history=estimator.history_).plot(ax=ax, **line_kw)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> HistoryDisplay:
        """Draw the losses over the seconds since training began.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        HistoryDisplay
            This display.
        """
        self.ax_ = get_axes(ax)
        self.figure_ = self.ax_.figure
        seconds = self.history.column("seconds")
        monitored = "held-out samples" if self.history.held_out else "training samples"
        self.lines_ = [
            *self.ax_.plot(seconds, self.history.column("loss"), label="minibatches", **line_kw),
            *self.ax_.plot(seconds, self.history.column("monitor"), label=monitored, **line_kw),
        ]
        # Losses that are logarithms already, as of ProblemObjective("log"), are negative.
        losses = np.concatenate([self.history.column(name) for name in ("loss", "monitor")])
        scale = "log" if np.nanmin(losses) > 0 else "linear"
        self.ax_.set(xlabel="seconds of training", ylabel="relative loss", yscale=scale)
        self.ax_.grid(alpha=0.3)
        self.ax_.legend()
        return self
