"""A network at several depths: how its loss falls, and what it learns, over depth-time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_unroll.plotting._axes import NO_HISTORY, dress, get_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DepthLossDisplay", "DepthParameterDisplay"]


def _colour(number: int, total: int) -> Any:
    """Return darker colours for deeper networks."""
    from matplotlib import colormaps

    return colormaps["viridis_r"](0.1 + 0.85 * number / max(total - 1, 1))


class DepthLossDisplay:
    """Training loss over the epochs, one curve for each depth.

    Parameters
    ----------
    curves : dict of int to ndarray of shape (n_epochs + 1,)
        Loss before the first epoch and after each, by number of layers.
    held_out : bool, default=False
        Whether the loss is that of held-out samples.

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
    >>> from sklearn_unroll import FBSNet
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.plotting import DepthLossDisplay
    >>> data = make_sparse_recovery(50, n_features=8, n_components=12, random_state=0)
    >>> models = [
    ...     FBSNet(data.dictionary, n_layers=n_layers, random_state=0)
    ...     .set_params(trainer__max_epochs=2)
    ...     .fit(data.X, data.y)
    ...     for n_layers in (2, 4)
    ... ]
    >>> [line.get_label() for line in DepthLossDisplay.from_estimators(models).lines_]
    ['2 layers', '4 layers']
    """

    def __init__(self, *, curves: Mapping[int, np.ndarray], held_out: bool = False) -> None:
        self.curves = dict(curves)
        self.held_out = held_out

    @classmethod
    def from_estimators(
        cls, estimators: Sequence[Any], *, ax: Axes | None = None, **line_kw: Any
    ) -> DepthLossDisplay:
        """Plot the histories of fitted estimators.

        Parameters
        ----------
        estimators : sequence of estimator
            Fitted unrolled estimators of different depths, such as the ``estimators`` of
            :func:`~sklearn_unroll.theory.depth_limit`.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        DepthLossDisplay
            The display, drawn.
        """
        for estimator in estimators:
            check_is_fitted(estimator, "history_", msg=NO_HISTORY)
        curves = {e.network_.depth: e.history_.column("monitor") for e in estimators}
        held_out = any(e.history_.held_out for e in estimators)
        return cls(curves=curves, held_out=held_out).plot(ax=ax, **line_kw)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> DepthLossDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        DepthLossDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = []
        for number, (depth, values) in enumerate(sorted(self.curves.items())):
            style = {"color": _colour(number, len(self.curves)), "label": f"{depth} layers"}
            self.lines_ += self.ax_.plot(np.arange(len(values)), values, **(style | line_kw))
        samples = "held-out samples" if self.held_out else "training samples"
        dress(self.ax_, xlabel="epoch", ylabel=f"relative loss, {samples}", yscale="log")
        return self


class DepthParameterDisplay:
    """A learned parameter as a function of depth-time, one curve for each network.

    Parameters
    ----------
    curves : dict of int to ndarray of shape (n_layers,)
        Values of every layer, by number of layers; of matrices the Frobenius norm.
    parameter : str
        Name of the parameter.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of these axes.
    lines_ : list of matplotlib artist
        The curves.

    Examples
    --------
    >>> from sklearn_unroll import FBSNet
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.plotting import DepthParameterDisplay
    >>> data = make_sparse_recovery(50, n_features=8, n_components=12, random_state=0)
    >>> model = FBSNet(data.dictionary, n_layers=4, random_state=0)
    >>> model = model.set_params(trainer__max_epochs=2).fit(data.X, data.y)
    >>> display = DepthParameterDisplay.from_estimators([model, model.refine(8)])
    >>> display.curves[8].shape
    (8,)
    """

    def __init__(self, *, curves: Mapping[int, np.ndarray], parameter: str) -> None:
        self.curves = dict(curves)
        self.parameter = parameter

    @classmethod
    def from_estimators(
        cls,
        estimators: Sequence[Any],
        *,
        parameter: str = "tau",
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> DepthParameterDisplay:
        """Plot a parameter of fitted estimators.

        Parameters
        ----------
        estimators : sequence of estimator
            Fitted unrolled estimators of different depths.
        parameter : str, default="tau"
            Its name in a layer; of an :class:`~sklearn_unroll.FBSNet` also ``"lam"``
            or ``"W"``.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.stairs`` for every curve.

        Returns
        -------
        DepthParameterDisplay
            The display, drawn.
        """
        curves = {}
        for estimator in estimators:
            check_is_fitted(estimator)
            values = estimator.network_.over_depth(parameter)
            curves[estimator.network_.depth] = np.array(
                [float(v.detach() if v.ndim == 0 else v.detach().norm()) for v in values]
            )
        return cls(curves=curves, parameter=parameter).plot(ax=ax, **line_kw)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> DepthParameterDisplay:
        """Draw the curves, constant over each layer.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.stairs`` for every curve.

        Returns
        -------
        DepthParameterDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = []
        for number, (depth, values) in enumerate(sorted(self.curves.items())):
            style = {"color": _colour(number, len(self.curves)), "label": f"{depth} layers"}
            edges = np.linspace(0, 1, len(values) + 1)
            self.lines_.append(self.ax_.stairs(values, edges, baseline=None, **(style | line_kw)))
        dress(self.ax_, xlabel="depth-time, layer / number of layers", ylabel=self.parameter)
        return self
