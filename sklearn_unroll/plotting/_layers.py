"""What theory says about the weights, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_unroll.functional import Dense
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.plotting._axes import draw_by_layer, get_axes
from sklearn_unroll.theory import coherence, weight_coupling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["WeightDisplay"]

QUANTITIES = {"coherence": coherence, "coupling": weight_coupling}
LABELS = {
    "coherence": r"coherence $\max_{i \neq j} |w_i^\top a_j|$",
    "coupling": r"$\|W_2 + W_1 A - I\|\; / \;\|I\|$",
}


class WeightDisplay:
    """Coherence or coupling of the weights of every layer.

    Make one with :meth:`from_estimator`, which draws several estimators into the same axes
    where it is given those of the first. Small is good: see
    :func:`~sklearn_unroll.theory.coherence` and :func:`~sklearn_unroll.theory.weight_coupling`.

    Parameters
    ----------
    curves : dict of str to ndarray of shape (n_layers,)
        Values of every layer, by name.
    quantity : {"coherence", "coupling"}
        What the values are.

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
    >>> from sklearn_unroll import HyperLISTARegressor, LISTARegressor, Trainer
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.plotting import WeightDisplay
    >>> data = make_sparse_recovery(50, n_features=8, n_components=12, random_state=0)
    >>> learned = LISTARegressor(
    ...     data.dictionary, n_layers=4, trainer=Trainer(max_epochs=2), random_state=0
    ... ).fit(data.X, data.y)
    >>> computed = HyperLISTARegressor(data.dictionary, n_layers=4).fit(data.X)
    >>> display = WeightDisplay.from_estimator(learned)
    >>> display = WeightDisplay.from_estimator(computed, ax=display.ax_)
    >>> [line.get_label() for line in display.ax_.get_lines()]
    ['LISTARegressor', 'HyperLISTARegressor']
    """

    def __init__(self, *, curves: Mapping[str, np.ndarray], quantity: str) -> None:
        self.curves = dict(curves)
        self.quantity = quantity

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        A: Dense | None = None,
        *,
        quantity: str = "coherence",
        name: str | None = None,
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> WeightDisplay:
        """Plot coherence or coupling of a fitted estimator's weights.

        Parameters
        ----------
        estimator : estimator or Unrolled
            A fitted unrolled estimator, or a network.
        A : Dense, default=None
            The operator, in the network's units; that of the estimator by default.
        quantity : {"coherence", "coupling"}, default="coherence"
            What to show, from :mod:`sklearn_unroll.theory`.
        name : str, default=None
            Label of the curve; the estimator's class name by default.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        WeightDisplay
            The display, drawn.
        """
        if quantity not in QUANTITIES:
            raise ValueError(f"quantity must be one of {sorted(QUANTITIES)}, got {quantity!r}.")
        if not isinstance(estimator, Unrolled):
            check_is_fitted(estimator)
        name = type(estimator).__name__ if name is None else name
        curves = {name: QUANTITIES[quantity](estimator, A)}
        return cls(curves=curves, quantity=quantity).plot(ax=ax, **line_kw)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> WeightDisplay:
        """Draw the curves; infinite values leave a gap.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        WeightDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = draw_by_layer(self.ax_, self.curves, line_kw)
        self.ax_.set(xlabel="layer", ylabel=LABELS[self.quantity])
        # Still autoscaled: the next display in these axes may need more room.
        self.ax_.set_ylim(bottom=0, auto=None)
        return self
