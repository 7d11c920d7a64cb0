"""How many pairs a network learns by heart, and what it makes of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import ShuffleSplit, learning_curve
from sklearn.utils import check_scalar
from sklearn.utils.validation import _num_samples

from sklearn_unroll.metrics import nmse_db_scorer
from sklearn_unroll.plotting._axes import draw_range, dress, geometric_mean, get_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SampleSizeDisplay"]

LABELS = {
    "training": "training loss, relative",
    "test": "error on other samples, relative",
}


class SampleSizeDisplay:
    """Loss on the training pairs, or error on others, over the number of training pairs.

    Networks with more parameters than numbers to fit learn their pairs by heart up to some
    number of them: the threshold that optimisation guarantees are about. Make one with
    :meth:`from_estimators`; draw the other quantity with :meth:`plot`.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,)
        Numbers of training pairs.
    training : dict of str to ndarray of shape (n_sizes, n_repeats)
        ``||predicted - y||^2 / ||y||^2`` on the training pairs, by name.
    test : dict of str to ndarray of shape (n_sizes, n_repeats)
        The same on other pairs.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of these axes.
    lines_ : list of matplotlib Line2D
        Geometric means over the repeats.

    Examples
    --------
    >>> from sklearn_unroll import FeedForwardRegressor, Trainer
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.plotting import SampleSizeDisplay
    >>> data = make_sparse_recovery(60, 4, 20, sparsity=2, random_state=0)
    >>> model = FeedForwardRegressor(
    ...     n_layers=2, trainer=Trainer(learning_rate=0.03, max_epochs=100), random_state=0
    ... )
    >>> display = SampleSizeDisplay.from_estimators(
    ...     {"plain": model}, data.X, data.y, sizes=[2, 40], random_state=0
    ... )
    >>> bool(display.training["plain"][0, 0] < 0.1 * display.training["plain"][1, 0])
    True
    """

    def __init__(
        self,
        *,
        sizes: np.ndarray,
        training: Mapping[str, np.ndarray],
        test: Mapping[str, np.ndarray],
    ) -> None:
        self.sizes = sizes
        self.training = dict(training)
        self.test = dict(test)

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any],
        X: Any,
        y: Any,
        *,
        sizes: Sequence[int],
        n_repeats: int = 1,
        random_state: Any = None,
        n_jobs: int | None = None,
        quantity: str = "training",
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> SampleSizeDisplay:
        """Fit estimators on more and more pairs, and draw their losses.

        By :func:`sklearn.model_selection.learning_curve`; smaller sets of pairs are parts of
        larger ones, and the same for all estimators.

        Parameters
        ----------
        estimators : dict of str to estimator
            What to fit, by name; they are cloned.
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components)
            True codes.
        sizes : sequence of int
            Numbers of training pairs, increasing; the largest leaves some samples to test on.
        n_repeats : int, default=1
            How often to draw training pairs.
        random_state : int, RandomState instance or None, default=None
            Seed of these draws; estimators have their own.
        n_jobs : int or None, default=None
            Fits to run at the same time, through joblib.
        quantity : {"training", "test"}, default="training"
            What to draw.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        SampleSizeDisplay
            The display, drawn.
        """
        grid = np.asarray(sizes)
        valid = grid.ndim == 1 and len(grid) > 0 and grid.dtype.kind in "iu"
        if not (valid and grid[0] > 0 and np.all(np.diff(grid) > 0)):
            raise ValueError(f"sizes must hold increasing positive integers, got {sizes!r}.")
        if grid[-1] >= _num_samples(X):
            raise ValueError(
                f"sizes goes up to {grid[-1]}, which leaves none of {_num_samples(X)} samples to "
                f"test on."
            )
        check_scalar(n_repeats, "n_repeats", Integral, min_val=1)
        splits = ShuffleSplit(n_repeats, train_size=int(grid[-1]), random_state=random_state)
        splits = list(splits.split(X))
        training, test = {}, {}
        for name, estimator in estimators.items():
            _, *scores = learning_curve(
                estimator,
                X,
                y,
                train_sizes=grid,
                cv=splits,
                scoring=nmse_db_scorer,
                n_jobs=n_jobs,
                error_score="raise",
            )
            training[name], test[name] = (10 ** (-decibels / 10) for decibels in scores)
        display = cls(sizes=grid, training=training, test=test)
        return display.plot(quantity, ax=ax, **line_kw)

    def threshold(self, level: float = 1e-2) -> dict[str, int]:
        """Return up to how many pairs each estimator learned by heart.

        Parameters
        ----------
        level : float, default=1e-2
            The training loss, a geometric mean over the repeats, that counts as learned.

        Returns
        -------
        dict of str to int
            The largest size with a loss below that level there and at all smaller sizes; zero
            if there is none.
        """
        found = {}
        for name, values in self.training.items():
            below = geometric_mean(values, axis=1) < level
            count = len(below) if below.all() else int(np.argmin(below))
            found[name] = int(self.sizes[count - 1]) if count else 0
        return found

    def plot(
        self, quantity: str = "training", ax: Axes | None = None, **line_kw: Any
    ) -> SampleSizeDisplay:
        """Draw geometric means over the repeats, and their range.

        Parameters
        ----------
        quantity : {"training", "test"}, default="training"
            What to draw.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        SampleSizeDisplay
            This display.
        """
        if quantity not in LABELS:
            raise ValueError(f"quantity must be one of {sorted(LABELS)}, got {quantity!r}.")
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = []
        curves = self.training if quantity == "training" else self.test
        for name, values in curves.items():
            line = draw_range(self.ax_, self.sizes, values, {"label": name, **line_kw})
            self.lines_.append(line)
        labels = {"xlabel": "training pairs", "ylabel": LABELS[quantity]}
        dress(self.ax_, xscale="log", yscale="log", **labels)
        return self
