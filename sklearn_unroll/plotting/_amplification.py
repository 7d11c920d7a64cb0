"""How much every layer can enlarge an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_unroll.plotting._axes import draw_by_layer, get_axes
from sklearn_unroll.theory import amplification

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AmplificationDisplay"]


class AmplificationDisplay:
    """Factors on an error, layer by layer: at the data, and whatever the data.

    Make one with :meth:`from_estimator`; see :func:`~sklearn_unroll.theory.amplification`. A
    curve far above one that the data do not show is what a network does to data unlike them.

    Parameters
    ----------
    curves : dict of str to ndarray of shape (n_layers,)
        Factors of every layer, by name.

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
    >>> from sklearn_unroll.plotting import AmplificationDisplay
    >>> data = make_sparse_recovery(50, n_features=8, n_components=12, random_state=0)
    >>> model = LISTARegressor(
    ...     data.dictionary, n_layers=4, trainer=Trainer(max_epochs=2), random_state=0
    ... ).fit(data.X)
    >>> display = AmplificationDisplay.from_estimator(model, data.X)
    >>> [line.get_label() for line in display.lines_]
    ['mean at the data', 'largest at the data', 'whatever the data']
    """

    def __init__(self, *, curves: Mapping[str, np.ndarray]) -> None:
        self.curves = dict(curves)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, ax: Axes | None = None, **options: Any
    ) -> AmplificationDisplay:
        """Compute the factors and draw them.

        Parameters
        ----------
        estimator : estimator or Unrolled
            A fitted estimator with a network, or a network.
        X : array-like of shape (n_samples, n_features) or Observation
            Observations, as for :func:`~sklearn_unroll.theory.amplification`.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **options : Any
            Passed to ``amplification``.

        Returns
        -------
        AmplificationDisplay
            The display, drawn.
        """
        found = amplification(estimator, X, **options)
        curves = {
            "mean at the data": found.at_data.mean(0),
            "largest at the data": found.at_data.max(0),
            "whatever the data": found.worst,
        }
        return cls(curves=curves).plot(ax=ax)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> AmplificationDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        AmplificationDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = draw_by_layer(self.ax_, self.curves, line_kw)
        self.ax_.axhline(1.0, color="0.6", linewidth=0.8, zorder=0)
        self.ax_.set(xlabel="layer", ylabel="largest factor on an error")
        self.ax_.set_ylim(bottom=0, auto=None)
        return self
