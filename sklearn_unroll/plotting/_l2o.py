"""Learning rate and expansion of learned gradient descent: where training works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_unroll.plotting._axes import get_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ExpansionDisplay"]


class ExpansionDisplay:
    """Relative improvement over gradient descent, by learning rate and expansion e.

    Dashed lines are those of equal control parameter ``lr e^(2 (L - 1))``, along which runs start
    alike (see :func:`sklearn_unroll.theory.training_control`).

    Parameters
    ----------
    improvement : ndarray of shape (n_expansions, n_learning_rates)
        ``1 - F / F_GD``; below zero, or not finite, where training failed.
    learning_rates : ndarray of shape (n_learning_rates,)
        Positive, increasing.
    expansions : ndarray of shape (n_expansions,)
        Positive, increasing.
    n_layers : int
        The number L of layers that compute a step.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the map.
    figure_ : matplotlib Figure
        Figure of these axes.
    mesh_ : matplotlib QuadMesh
        The map.
    lines_ : list of matplotlib Line2D
        The lines.

    Examples
    --------
    >>> from sklearn_unroll.plotting import ExpansionDisplay
    >>> improvement = [[0.0, 0.3], [0.4, -0.02]]
    >>> display = ExpansionDisplay.from_predictions(improvement, [1e-6, 1e-4], [10, 100])
    >>> display.mesh_.get_array().shape
    (2, 2)
    """

    def __init__(
        self,
        *,
        improvement: np.ndarray,
        learning_rates: np.ndarray,
        expansions: np.ndarray,
        n_layers: int,
    ) -> None:
        self.improvement = improvement
        self.learning_rates = learning_rates
        self.expansions = expansions
        self.n_layers = n_layers

    @classmethod
    def from_predictions(
        cls,
        improvement: Any,
        learning_rates: Any,
        expansions: Any,
        *,
        n_layers: int = 3,
        ax: Axes | None = None,
        **mesh_kw: Any,
    ) -> ExpansionDisplay:
        """Plot the improvements of a study.

        Parameters
        ----------
        improvement : array-like of shape (n_expansions, n_learning_rates)
            ``1 - F / F_GD`` of every run.
        learning_rates : array-like of shape (n_learning_rates,)
            Positive, increasing.
        expansions : array-like of shape (n_expansions,)
            Positive, increasing.
        n_layers : int, default=3
            The number L of layers.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **mesh_kw : dict
            Passed to ``Axes.pcolormesh``.

        Returns
        -------
        ExpansionDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If shapes do not fit, or a grid is not positive and increasing.
        """
        improvement = np.asarray(improvement, dtype=np.float64)
        rates, sizes = (np.asarray(v, dtype=np.float64) for v in (learning_rates, expansions))
        for name, grid in (("learning_rates", rates), ("expansions", sizes)):
            if grid.ndim != 1 or not len(grid) or np.any(grid <= 0) or np.any(np.diff(grid) <= 0):
                raise ValueError(f"{name} must be positive and increasing, got {grid.tolist()}.")
        if improvement.shape != (len(sizes), len(rates)):
            raise ValueError(
                f"improvement must have shape (n_expansions, n_learning_rates) = "
                f"{(len(sizes), len(rates))}, got {improvement.shape}."
            )
        display = cls(
            improvement=improvement, learning_rates=rates, expansions=sizes, n_layers=n_layers
        )
        return display.plot(ax=ax, **mesh_kw)

    def plot(self, ax: Axes | None = None, **mesh_kw: Any) -> ExpansionDisplay:
        """Draw the map and the lines of equal control parameter.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **mesh_kw : dict
            Passed to ``Axes.pcolormesh``.

        Returns
        -------
        ExpansionDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.ax_.set(
            xlabel="learning rate", ylabel="expansion e", xscale="log", yscale="log",
            xlim=_edges(self.learning_rates)[[0, -1]], ylim=_edges(self.expansions)[[0, -1]],
        )  # fmt: skip
        # Failures are all the same colour, however bad.
        shown = np.where(np.isfinite(self.improvement), self.improvement.clip(-0.05), -0.05)
        self.mesh_ = self.ax_.pcolormesh(
            _edges(self.learning_rates), _edges(self.expansions), shown,
            **{"cmap": "viridis", **mesh_kw},
        )  # fmt: skip
        self.figure_.colorbar(self.mesh_, ax=self.ax_, label="improvement over gradient descent")
        power = 2 * (self.n_layers - 1)
        ends = _edges(self.learning_rates)[[0, -1]]
        self.lines_ = []
        for control in (0.1, 1.0, 10.0, 100.0, 1000.0):
            self.lines_ += self.ax_.plot(
                ends, (control / ends) ** (1 / power), "w--", linewidth=0.8, label=f"{control:g}"
            )
        return self


def _edges(grid: np.ndarray) -> np.ndarray:
    """Return the edges of cells around a grid, even on a logarithmic axis."""
    logs = np.log(grid)
    if len(grid) == 1:
        return np.exp([logs[0] - 0.5, logs[0] + 0.5])
    middle = (logs[1:] + logs[:-1]) / 2
    first, last = 2 * logs[0] - middle[0], 2 * logs[-1] - middle[-1]
    return np.exp(np.concatenate([[first], middle, [last]]))
