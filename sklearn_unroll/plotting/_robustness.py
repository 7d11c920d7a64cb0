"""Descent over the layers, error over disturbances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_unroll.plotting._axes import draw_by_layer, dress, get_axes
from sklearn_unroll.theory import ConvergenceReport, Robustness, convergence_report, robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DescentDisplay", "RobustnessDisplay"]


class DescentDisplay:
    """How far the iterates are from their goal, layer by layer, and how many samples descend.

    Parameters
    ----------
    reports : dict of str to ConvergenceReport
        What :func:`~sklearn_unroll.theory.convergence_report` has found, by name.

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
    >>> from sklearn_unroll.plotting import DescentDisplay
    >>> data = make_sparse_recovery(50, n_features=8, n_components=12, random_state=0)
    >>> model = LISTARegressor(data.dictionary, n_layers=4, trainer=Trainer(max_epochs=2))
    >>> display = DescentDisplay.from_estimator(model.fit(data.X, data.y), data.X, data.y)
    >>> len(display.lines_)
    1
    """

    def __init__(self, *, reports: Mapping[str, ConvergenceReport]) -> None:
        self.reports = reports

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        kind: str = "distance",
        quantity: str = "size",
        operators: Any = None,
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> DescentDisplay:
        """Measure one estimator, or several in a dict by name, and draw.

        Parameters
        ----------
        estimator : estimator or dict of str to estimator
            Fitted estimators.
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes.
        kind : {"distance", "gradient", "objective"}, default="distance"
            What is measured.
        quantity : {"size", "descending"}, default="size"
            What is drawn: the mean size, or the share of samples that descend.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            One for each observation, for estimators that take them.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        DescentDisplay
            The display, drawn.
        """
        told = {"kind": kind} if operators is None else {"kind": kind, "operators": operators}
        named = _named(estimator)
        reports = {name: convergence_report(e, X, y, **told) for name, e in named.items()}
        return cls(reports=reports).plot(quantity=quantity, ax=ax, **line_kw)

    def plot(
        self, quantity: str = "size", ax: Axes | None = None, **line_kw: Any
    ) -> DescentDisplay:
        """Draw one curve for each report.

        Parameters
        ----------
        quantity : {"size", "descending"}, default="size"
            What is drawn.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        DescentDisplay
            This display.

        Raises
        ------
        ValueError
            If quantity is neither.
        """
        if quantity not in ("size", "descending"):
            raise ValueError(f"quantity must be 'size' or 'descending', got {quantity!r}.")
        self.figure_, self.ax_ = get_axes(ax)
        if quantity == "size":
            curves = {name or r.kind: r.sizes[1:] for name, r in self.reports.items()}
            kinds = {report.kind for report in self.reports.values()}
            self.ax_.set(ylabel=f"mean {' or '.join(sorted(kinds))}", yscale="log")
        else:
            curves = {name or r.kind: 100 * r.descending for name, r in self.reports.items()}
            self.ax_.axhline(50, color="0.6", linewidth=1)
            self.ax_.set(ylabel="samples that descend (%)", ylim=(0, 102))
        self.lines_ = draw_by_layer(self.ax_, curves, line_kw)
        self.ax_.set(xlabel="layer")
        return self


class RobustnessDisplay:
    """Error of the codes over the size of a disturbance.

    Parameters
    ----------
    curves : dict of str to Robustness
        What :func:`~sklearn_unroll.theory.robustness` has found, by name.

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
    >>> from sklearn_unroll.plotting import RobustnessDisplay
    >>> data = make_sparse_recovery(50, n_features=8, n_components=12, random_state=0)
    >>> model = LISTARegressor(data.dictionary, n_layers=4, trainer=Trainer(max_epochs=2))
    >>> display = RobustnessDisplay.from_estimator(model.fit(data.X, data.y), data.X, data.y)
    >>> len(display.lines_)
    3
    """

    def __init__(self, *, curves: Mapping[str, Robustness]) -> None:
        self.curves = curves

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        ax: Axes | None = None,
        line_kw: dict | None = None,
        **kwargs: Any,
    ) -> RobustnessDisplay:
        """Measure one estimator, or several in a dict by name, and draw.

        Parameters
        ----------
        estimator : estimator or dict of str to estimator
            Fitted estimators.
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components)
            The codes wanted.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        line_kw : dict, default=None
            Passed to ``Axes.plot`` for every curve.
        **kwargs : dict
            Passed to :func:`~sklearn_unroll.theory.robustness`.

        Returns
        -------
        RobustnessDisplay
            The display, drawn.
        """
        curves = {name: robustness(e, X, y, **kwargs) for name, e in _named(estimator).items()}
        return cls(curves=curves).plot(ax=ax, **(line_kw or {}))

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> RobustnessDisplay:
        """Draw one curve for each estimator and each thing disturbed.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        RobustnessDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = []
        for name, found in self.curves.items():
            for where, error in found.error.items():
                label = where if not name else f"{name}, {where}" if len(found.error) > 1 else name
                options = {"marker": ".", "label": label, **line_kw}
                self.lines_ += self.ax_.plot(found.scales, error, **options)
        scales = np.concatenate([found.scales for found in self.curves.values()])
        positive = scales[scales > 0]
        if len(positive) and (scales == 0).any():
            self.ax_.set_xscale("symlog", linthresh=positive.min())
        elif len(positive):
            self.ax_.set_xscale("log")
        labels = {"xlabel": "scale of the noise", "ylabel": "mean distance of the codes"}
        dress(self.ax_, yscale="log", **labels)
        return self


def _named(estimator: Any) -> dict[str, Any]:
    return dict(estimator) if isinstance(estimator, Mapping) else {"": estimator}
