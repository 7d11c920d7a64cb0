"""How the loss fell during training, and what multipliers of constraints did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_unroll.plotting._axes import NO_HISTORY, dress, get_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HistoryDisplay", "MultiplierDisplay"]


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
        check_is_fitted(estimator, "history_", msg=NO_HISTORY)
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
        self.figure_, self.ax_ = get_axes(ax)
        seconds = self.history.column("seconds")
        monitored = "held-out samples" if self.history.held_out else "training samples"
        self.lines_ = [
            *self.ax_.plot(seconds, self.history.column("loss"), label="minibatches", **line_kw),
            *self.ax_.plot(seconds, self.history.column("monitor"), label=monitored, **line_kw),
        ]
        # Losses that are logarithms already, as of ProblemObjective("log"), are negative.
        losses = np.concatenate([self.history.column(name) for name in ("loss", "monitor")])
        scale = "log" if np.nanmin(losses) > 0 else "linear"
        dress(self.ax_, xlabel="seconds of training", ylabel="relative loss", yscale=scale)
        return self


class MultiplierDisplay:
    """Multipliers of a constraint, or its excess, over the epochs of a fit.

    Parameters
    ----------
    history : History
        The ``history_`` of an estimator that was trained under a constraint.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of these axes.
    lines_ : list of matplotlib Line2D
        One curve for each layer.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor, Trainer
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.plotting import MultiplierDisplay
    >>> from sklearn_unroll.training import Descent
    >>> data = make_sparse_recovery(50, n_features=8, n_components=12, random_state=0)
    >>> trainer = Trainer(max_epochs=2, constraint=Descent())
    >>> model = LISTARegressor(data.dictionary, n_layers=4, trainer=trainer)
    >>> len(MultiplierDisplay.from_estimator(model.fit(data.X, data.y)).lines_)
    4
    """

    def __init__(self, *, history: Any) -> None:
        self.history = history

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        quantity: str = "multipliers",
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> MultiplierDisplay:
        """Draw what was recorded by a fit.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator.
        quantity : {"multipliers", "excess"}, default="multipliers"
            What is drawn.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        MultiplierDisplay
            The display, drawn.
        """
        check_is_fitted(estimator, "history_", msg=NO_HISTORY)
        return cls(history=estimator.history_).plot(quantity=quantity, ax=ax, **line_kw)

    def plot(
        self, quantity: str = "multipliers", ax: Axes | None = None, **line_kw: Any
    ) -> MultiplierDisplay:
        """Draw one curve for each layer.

        Parameters
        ----------
        quantity : {"multipliers", "excess"}, default="multipliers"
            What is drawn.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        MultiplierDisplay
            This display.

        Raises
        ------
        ValueError
            If quantity is neither, or there was no constraint.
        """
        if quantity not in ("multipliers", "excess"):
            raise ValueError(f"quantity must be 'multipliers' or 'excess', got {quantity!r}.")
        values = self.history.column(quantity)
        if not values.shape[1]:
            raise ValueError(
                "The fit had no constraint, so there are no multipliers: train with "
                "Trainer(constraint=Descent())."
            )
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = [
            line
            for number, column in enumerate(values.T, 1)
            for line in self.ax_.plot(column, **{"label": f"layer {number}", **line_kw})
        ]
        dress(self.ax_, {"ncols": 2, "fontsize": "small"}, xlabel="epoch", ylabel=quantity)
        return self
